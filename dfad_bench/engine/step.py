"""One training step of one stage: losses, backward pass, optimiser; the same on every process of a team.

Steps may be issued many at a time: what they came to stays on the device until it is read, and a step that is not
finite is left out there, as gradient scaling does with fp16.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dfad_bench.core.contract import Batch, DFADModel, Label, loss_terms, weighted_losses
from dfad_bench.core.errors import ConfigError, DFADError, listed
from dfad_bench.core.files import write_json
from dfad_bench.core.parallel import split_batch
from dfad_bench.core.recipe import Recipe
from dfad_bench.engine.compiling import compile_called, restore
from dfad_bench.engine.devices import Place
from dfad_bench.engine.distributed import Share, Team
from dfad_bench.engine.gradient_checkpointing import blocks_of, checkpoint_blocks, restore_blocks
from dfad_bench.engine.interrupts import one_line
from dfad_bench.engine.optimisers import OptimiserSet, step_unless

_NEVER = 1 << 30  # steps between statistics that nobody reads
BOTH: frozenset[Label] = frozenset({"attribution", "detection"})
# every loss of the whole batch by name, with `gradient_norm`; and for each flag whether any process has it
StepValues = tuple[dict[str, float], list[bool]]


class NotFiniteError(ArithmeticError):
    """A loss or the gradient of a step is NaN or inf.

    `values` holds every term of it, `before` what the steps before it, since the last reading, came to.
    """

    def __init__(self, values: Mapping[str, float], before: Sequence[StepValues] = ()) -> None:
        super().__init__(", ".join(f"{name} {value:.4g}" for name, value in values.items()))
        self.values, self.before = values, before

    def write(self, path: Path, *, step: int, stage: str, sample_ids: list[str]) -> None:
        """Keep the step, its terms and its faces in a JSON file."""
        terms = {name: repr(value) for name, value in self.values.items()}
        write_json(path, {"step": step, "stage": stage, "terms": terms, "sample_ids": sample_ids})

    def refusal(self, path: Path, *, step: int, sample_ids: list[str], precision: str) -> DFADError:
        """One line with the step, the terms, its faces, and what may help; `path` is where all of them are kept."""
        where = f", all in {path}" if len(sample_ids) > 4 else ""
        ways = "lower the learning rate or clip gradients (recipe: lr, clip_norm)"
        ways += ", or use --precision fp32" if precision != "fp32" else ""
        faces = listed(sample_ids, 4)
        return DFADError(f"step {step}: a loss or gradient is not finite ({self}); faces {faces}{where}; {ways}")


class Objective(nn.Module):
    """A model's losses in one stage as a forward pass: the weighted sum that is trained on, and every term.

    Args:
        model: whose losses.
        stage: name of the stage.
        weights: of the losses, instead of the model's own.
        labels: those of the experts that learn; a term that uses others is left out of the sum.
        learns: whether anything is learnt from the sum; the model only counts otherwise.
    """

    def __init__(
        self,
        model: DFADModel,
        stage: str,
        weights: Mapping[str, float],
        labels: frozenset[Label] = BOTH,
        *,
        learns: bool = True,
    ) -> None:
        super().__init__()
        self.model, self.stage, self.weights, self.labels, self.learns = model, stage, weights, labels, learns
        self.names: list[str] = []

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The sum, with its gradient, and (1 + terms,) numbers: the sum and each term, named by `names`.

        Raises:
            ConfigError: no term may be trained on, or the weight of each is 0.
        """
        terms = loss_terms(self.model.terms(batch, self.stage))
        used = weighted_losses(terms, self.weights, self.labels)
        if not used:
            raise ConfigError(
                f"{self.model.card.display}: stage {self.stage!r} has no loss without the labels of the expert that"
                " is left out; use --heads both"
            )
        weights = {name: self.weights.get(name, terms[name].weight) for name in used}
        if self.learns and all(isinstance(weight, int | float) and weight == 0 for weight in weights.values()):
            raise ConfigError(
                f"{self.model.card.display}: stage {self.stage!r} learns nothing: the weight of each of its losses"
                f" ({', '.join(used)}) is 0; raise one (recipe: loss_weights)"
            )
        loss = torch.stack(list(used.values())).sum()
        self.names = ["loss", *terms]
        return loss, torch.stack([loss, *(term.value.float() for term in terms.values())]).detach()


class Stepper:
    """Does the steps of one stage.

    Args:
        model: on its device.
        stage: its name.
        optimisers: of all that learns in it; None where nothing does: the model then only counts, in `losses`.
        recipe: loss weights and clipping.
        place: device and precision.
        team: the processes that share each batch.
        scaler: gradient scaling of fp16.
        labels: those that are trained on.
        compiled: use torch.compile.
        checkpointed: compute inner results of blocks again in the backward pass, until `close`.
    """

    def __init__(
        self,
        model: DFADModel,
        stage: str,
        optimisers: OptimiserSet | None,
        recipe: Recipe,
        *,
        place: Place,
        team: Team,
        scaler: torch.amp.GradScaler,
        labels: frozenset[Label] = BOTH,
        compiled: bool = False,
        checkpointed: bool = False,
    ) -> None:
        self.optimisers, self.recipe = optimisers, recipe
        self.parameters = optimisers.parameters if optimisers is not None else []
        self.place, self.team, self.scaler = place, team, scaler
        self.objective = Objective(model, stage, recipe.loss_weights, labels, learns=bool(self.parameters))
        self._forward: nn.Module = self.objective
        self._to_compile = compiled and bool(self.parameters)
        self._compiled: list[nn.Module] = []
        self.recomputes = False  # whether inner results of a block were left to a backward pass
        blocks = blocks_of(model) if checkpointed and self.parameters else ()
        self._checkpointed = checkpoint_blocks(blocks, self._note_recomputed)
        self._unread: list[tuple[list[str], Tensor]] = []  # of each step names and values, which lie on the device
        self._broken_step: Tensor | None = None  # 1 where a step since the last reading was not finite, else 0
        if team.size > 1 and self.parameters:
            self._forward = _shared_gradients(self.objective, self.parameters)

    def share(self, index: np.ndarray, unlabelled: np.ndarray | None = None) -> Share:
        """This process's part of a batch and of its unlabelled rows; all where nothing is learnt by gradient."""
        return self.team.share(index, whole=not self.parameters, unlabelled=unlabelled)

    def prepare(self, batch: Batch, share: Share) -> None:
        """Compile what this batch calls, the first time; to be called before a step is seeded."""
        if not self._to_compile:
            return
        self._to_compile = False
        batch = self._laid_out(batch)
        with torch.no_grad(), split_batch(share.split), self.place.autocast():
            self._compiled = compile_called(self.objective, lambda: self.objective(batch))

    def _laid_out(self, batch: Batch) -> Batch:
        inputs, hidden = self.place.lay_out(batch.inputs), batch.unlabelled
        return replace(batch, inputs=inputs, unlabelled=None if hidden is None else self.place.lay_out(hidden))

    def _note_recomputed(self) -> None:
        self.recomputes = True

    def close(self) -> None:
        """Undo compilation and checkpointing."""
        restore(self._compiled)
        restore_blocks(self._checkpointed)

    def run(self, batch: Batch, share: Share, factor: float, flags: list[bool]) -> StepValues:
        """One step, read at once: `issue` and `read`."""
        self.issue(batch, share, factor, flags)
        return self.read()[-1]

    def issue(self, batch: Batch, share: Share, factor: float, flags: list[bool]) -> None:
        """One step, then the model's `after_step`; the host waits for nothing that the device computes.

        Where a loss or the gradient is not finite, this step and all that follow until the next reading leave weights,
        the state of the optimisers and what `after_step` keeps in buffers as they are.

        Args:
            batch: this process's faces.
            share: which part of the whole batch they are.
            factor: what the schedule multiplies learning rates by.
            flags: conditions of this process, such as "out of time".

        Raises:
            DFADError: out of memory.
        """
        bf16 = "--precision bf16 or " if self.place.precision == "fp32" else ""
        advice = f"lower batch_size in the recipe, or use {bf16}more processes"
        with one_line(f"with {len(share.index)} faces a step at {self.place.precision}", advice):
            batch = self._laid_out(batch)
            with torch.set_grad_enabled(bool(self.parameters)), split_batch(share.split), self.place.autocast():
                loss, numbers = self._forward(batch)
            mine = self.place.exact(numbers) * share.weight
            said = [mine.new_full((1,), float(flag)) for flag in flags]  # filled there: a copy would wait
            totals = self.team.total(torch.cat([mine, *said]))
            self._note_broken(totals[: len(mine)])
            weighted = loss * (share.weight * self.team.size)
            norm = self._learn(weighted, factor) if self.optimisers else totals.new_zeros(1)
            with torch.no_grad(), split_batch(share.split):
                self._after_step(batch)
        self._unread.append((self.objective.names, torch.cat([totals, self.place.exact(norm.reshape(1))])))

    def read(self) -> list[StepValues]:
        """What the steps since the last reading came to, in their order; one transfer from the device.

        Raises:
            NotFiniteError: a loss or the gradient of one of them is NaN or inf; weights are as before that step, on
                every process.
        """
        unread, self._unread = self._unread, []
        if not unread:
            return []
        numbers = iter(torch.cat([values for _, values in unread]).tolist())
        found: list[StepValues] = []
        for names, values in unread:
            *totals, norm = itertools.islice(numbers, len(values))
            losses = dict(zip(names, totals, strict=False))
            terms = losses if not all(map(math.isfinite, losses.values())) else {**losses, "gradient norm": norm}
            if not all(map(math.isfinite, terms.values())) and (terms is losses or not self.scaler.is_enabled()):
                self._broken_step = None
                raise NotFiniteError(terms, before=found)
            flags = [flag > 0 for flag in totals[len(losses) :]]
            found.append(({**losses, "gradient_norm": norm}, flags))
        return found

    def _note_broken(self, values: Tensor) -> None:
        """Keep, on the device, that one of these values is not finite, or that one was since the last reading."""
        now = 1 - values.isfinite().all().to(torch.float32)  # a scalar, 0 or 1, as torch's fused optimisers take it
        self._broken_step = now if self._broken_step is None else torch.maximum(self._broken_step, now)

    def _learn(self, loss: Tensor, factor: float) -> Tensor:
        """Backward pass and optimiser step; the norm of the gradient, a scalar on the device."""
        assert self.optimisers is not None
        nothing = f"stage {self.objective.stage!r}: no parameter of it is in a loss that is trained on"
        if not loss.requires_grad:
            raise ConfigError(nothing)
        self.optimisers.set_rates(factor)
        self.optimisers.zero_grad()
        try:
            self.scaler.scale(loss).backward()
        except RuntimeError as error:  # a process that has ended shows only as an error of the backward pass
            raise self.team.lost(error) from error
        learning = [o for o in self.optimisers.optimisers if _has_gradient(o)]
        if not learning:
            raise ConfigError(nothing)
        for optimiser in learning:
            self.scaler.unscale_(optimiser)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.recipe.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.recipe.clip_norm, norm)
        assert self._broken_step is not None
        skipped = torch.maximum(self._broken_step, 1 - norm.isfinite().to(self._broken_step.device, torch.float32))
        if not self.scaler.is_enabled():  # fp16: the step is left out, of every optimiser, and the scale falls
            self._broken_step = skipped
        for optimiser in learning:
            step_unless(optimiser, skipped)
        self.scaler.update()
        return norm

    def _after_step(self, batch: Batch) -> None:
        """The model's hook; what it leaves in buffers counts only where nothing was broken."""
        model = self.objective.model
        if getattr(model.after_step, "__func__", None) is DFADModel.after_step:
            return
        before = {name: buffer.clone() for name, buffer in model.named_buffers()}
        model.after_step(self.objective.stage, batch)
        assert self._broken_step is not None
        for name, buffer in model.named_buffers():
            if name in before and before[name].shape == buffer.shape:
                buffer.copy_(torch.where(self._broken_step > 0, before[name], buffer))


def _has_gradient(optimiser: torch.optim.Optimizer) -> bool:
    """Whether any of its parameters got a gradient; gradient scaling refuses an optimiser without one."""
    return any(p.grad is not None for group in optimiser.param_groups for p in group["params"])


def _shared_gradients(objective: Objective, learning: Sequence[nn.Parameter]) -> nn.Module:
    """The objective with gradients that are means over the team's processes, of the parameters that learn.

    torch waits once a step where one of them gets no gradient (an expert that is left out), for which it asks whether
    another process has one; those that learn in other stages, or never, are none of its business.
    """
    model, mine = objective.model, set(map(id, learning))
    if model.known_zero_gradient:
        named = model.named_parameters()
        mine -= {id(parameter) for name, parameter in named if name.endswith(model.known_zero_gradient)}
    others = [p for p in objective.parameters() if p.requires_grad and id(p) not in mine]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch 2.15 renames the last argument
            # buffers are equal on all processes
            shared = nn.parallel.DistributedDataParallel(
                objective, find_unused_parameters=True, broadcast_buffers=False
            )
    finally:
        for parameter in others:
            parameter.requires_grad_(True)
    if hasattr(shared, "_set_ddp_runtime_logging_sample_rate"):  # a prototype: its statistics read clocks of the GPU
        shared._set_ddp_runtime_logging_sample_rate(_NEVER)
    return shared
