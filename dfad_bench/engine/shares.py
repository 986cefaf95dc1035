"""Which share of a training step each module of a model takes, with its backward pass, and the optimiser."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.utils._pytree import tree_leaves

from dfad_bench.core.batch import Batch, loss_terms, weighted_losses
from dfad_bench.core.contract import DFADModel
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.recipe import Optimiser
from dfad_bench.core.registry import model_class
from dfad_bench.core.settings import AskedPrecision, Size
from dfad_bench.data.prompts import class_prompts
from dfad_bench.engine.devices import Place, place, wait_for
from dfad_bench.engine.optimisers import OptimiserSet, parameter_groups
from dfad_bench.engine.precision import choose_precision
from dfad_bench.engine.step_cost import random_batch

REST = "losses and the rest"
OPTIMISER = "optimiser"
_PROTOCOL = "gazeclip-df40"  # whose classes, prompts and side of images a step is timed with
_TURNS = 3


@dataclass(frozen=True)
class PartShare:
    """Seconds of a part of a step, medians over steps, and its share of the sum over parts.

    `backward` of a module runs from the moment the gradient of its result is there until that of another's is; None
    of the optimiser.
    """

    part: str
    forward: float
    backward: float | None
    share: float


class ModuleClock:
    """Charges time to the module that computes; while it is entered.

    A module within another is charged by itself where both are named. The device is waited for at each change, so that
    what is charged was done: on a GPU a step takes longer under it.

    Args:
        modules: by module, the part that it is charged to; several may be one part.
        device: that computes.
    """

    def __init__(self, modules: Mapping[nn.Module, str], device: torch.device) -> None:
        self.modules, self.device = dict(modules), device
        self.seconds: dict[tuple[str, str], float] = {}  # of (phase, part), since it was last emptied
        self._phase, self._entered_parts, self._current_part, self._since_s = "", [REST], REST, 0.0
        self._handles: list[Any] = []

    def begin(self, phase: str) -> None:
        """What follows belongs to `phase`, and to no module yet."""
        self._charge_to(REST)
        self._phase, self._entered_parts = phase, [REST]

    def end(self) -> dict[tuple[str, str], float]:
        """Seconds of (phase, part) since the last end."""
        self._charge_to(REST)
        found, self.seconds, self._phase = self.seconds, {}, ""
        return found

    def __enter__(self) -> ModuleClock:
        for module in self.modules:
            self._handles += [
                module.register_forward_pre_hook(self._enter_module),
                module.register_forward_hook(self._leave_module),
            ]
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _charge_to(self, following: str) -> None:
        """Charge what has passed to the part that was computing; `following` computes now."""
        wait_for(self.device)
        now, key = time.perf_counter(), (self._phase, self._current_part)
        if self._phase:
            self.seconds[key] = self.seconds.get(key, 0.0) + now - self._since_s
        self._current_part, self._since_s = following, now

    def _enter_module(self, module: nn.Module, arguments: object) -> None:
        self._entered_parts.append(self.modules[module])
        self._charge_to(self._entered_parts[-1])

    def _leave_module(self, module: nn.Module, arguments: object, result: object) -> None:
        part, given = self._entered_parts.pop(), tree_leaves(arguments)
        self._charge_to(self._entered_parts[-1])
        for value in _tensors(result):
            if value.requires_grad and not any(value is other for other in given):  # experts hand on the embedding
                value.register_hook(lambda gradient: self._charge_to(part))


def outermost_parts(model: nn.Module, call: Callable[[], object]) -> dict[nn.Module, str]:
    """The modules below `model` that `call` calls, outside of each other, by name; numbers in names are left out."""
    names = {module: name for name, module in model.named_modules() if name}
    with _outermost_modules(names) as found:
        call()
    return {module: _part(names[module]) for module in found}


def model_shares(
    name: str,
    *,
    size: Size,
    options: Mapping[str, Any] | None = None,
    batch: int,
    device: str = "auto",
    precision: AskedPrecision = "fp32",
    force_precision: bool = False,
) -> list[PartShare]:
    """The parts of a registered model's training step; none where nothing learns.

    Raises:
        UnknownNameError: no such model.
        ConfigError: bad options or device, or a number format that is far slower than fp32.
    """
    protocol = load_protocol(_PROTOCOL)
    prompts = class_prompts(protocol)
    chosen = choose_precision(precision, place(device).device, forced=force_precision)
    where = place(device, chosen.precision)
    model = model_class(name).build(len(prompts), size=size, class_prompts=prompts, options=dict(options or {}))
    where.move(model).train()
    groups = parameter_groups(model, model.stages[-1].name)
    if not groups:
        return []
    faces = random_batch(model, prompts, batch, protocol.image_size, where)
    return step_shares(model, faces, where, OptimiserSet(groups, Optimiser()), _TURNS)


def step_shares(model: DFADModel, batch: Batch, where: Place, optimisers: OptimiserSet, turns: int) -> list[PartShare]:
    """The parts of training steps of a model's last stage, the first of them left out; modules in the order of calls.

    Args:
        model: on its device, in training mode.
        batch: what each step is made of, on that device.
        where: device and precision.
        optimisers: of what learns.
        turns: steps that count.
    """

    def forward() -> Tensor:
        with where.autocast():
            terms = loss_terms(model.terms(batch, model.stages[-1].name))
            return torch.stack(list(weighted_losses(terms).values())).sum()

    modules = outermost_parts(model, forward)
    steps = []
    with ModuleClock(modules, where.device) as clock:
        for _ in range(turns + 1):
            timed_step(clock, forward, optimisers)
            steps.append(clock.end())
    return part_shares(steps[1:], dict.fromkeys(modules.values()))


def timed_step(clock: ModuleClock, forward: Callable[[], Tensor], optimisers: OptimiserSet) -> None:
    """One step under a clock: `forward` gives the loss."""
    clock.begin("forward")
    loss = forward()
    clock.begin("backward")
    optimisers.zero_grad()
    loss.backward()
    clock.begin(OPTIMISER)
    for optimiser in optimisers.optimisers:
        optimiser.step()


def part_shares(steps: list[dict[tuple[str, str], float]], parts: Mapping[str, object]) -> list[PartShare]:
    """Medians over steps of what a clock charged, part by part, and their shares."""

    def median(phase: str, part: str) -> float:
        return statistics.median(step.get((phase, part), 0.0) for step in steps)

    found = [(part, median("forward", part), median("backward", part)) for part in (*parts, REST)]
    optimiser = statistics.median(sum(s for (phase, _), s in step.items() if phase == OPTIMISER) for step in steps)
    whole = sum(forward + backward for _, forward, backward in found) + optimiser
    shares = [PartShare(part, forward, backward, (forward + backward) / whole) for part, forward, backward in found]
    return [*shares, PartShare(OPTIMISER, optimiser, None, optimiser / whole)]


def _part(name: str) -> str:
    return ".".join(word for word in name.split(".") if not word.isdigit())


def _tensors(result: object) -> Iterator[Tensor]:
    leaves = [getattr(result, f.name) for f in fields(result)] if is_dataclass(result) else tree_leaves(result)
    return (leaf for leaf in leaves if isinstance(leaf, Tensor))


@contextmanager
def _outermost_modules(known: Mapping[nn.Module, str]) -> Iterator[list[nn.Module]]:
    """Collects known modules that are called, unless from within another one."""
    found: list[nn.Module] = []
    inside: list[nn.Module] = []

    def begin(module: nn.Module, arguments: object) -> None:
        if module in known:
            if not inside and module not in found:
                found.append(module)
            inside.append(module)

    def end(module: nn.Module, arguments: object, result: object) -> None:
        if inside and inside[-1] is module:
            inside.pop()

    handles = hooks.register_module_forward_pre_hook(begin), hooks.register_module_forward_hook(end)
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
