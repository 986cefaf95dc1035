"""What a training step costs on this device: seconds and memory, measured in a process of its own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dfad_bench.core.batch import Batch, Inputs, loss_terms, weighted_losses
from dfad_bench.core.contract import DFADModel
from dfad_bench.core.errors import DFADError
from dfad_bench.core.recipe import Optimiser
from dfad_bench.core.registry import model_class
from dfad_bench.core.settings import AskedPrecision, Size
from dfad_bench.engine.devices import Place, place, wait_for
from dfad_bench.engine.optimisers import OptimiserSet, parameter_groups
from dfad_bench.engine.precision import choose_precision
from dfad_bench.views.registry import example_views

_FEW = (2, 4)  # rows of the two batches a processor is timed with; larger ones follow from their difference


@dataclass(frozen=True)
class StepRequest:
    """A model's step: of its last stage, with `rows` faces of `side` pixels, random values and random weights."""

    model: str
    size: Size
    options: Mapping[str, Any]
    class_prompts: Sequence[Sequence[str]]
    rows: int
    side: int
    device: str = "auto"
    precision: AskedPrecision = "fp32"
    force_precision: bool = False


@dataclass(frozen=True)
class StepCost:
    """Seconds of a step and bytes at its peak. `extrapolated`: from steps with fewer faces."""

    seconds: float
    bytes: int
    device: str
    extrapolated: bool


def measure_step(asked: StepRequest) -> StepCost:
    """Measure a step in a new process, whose peak of memory is this step's alone.

    Raises:
        DFADError: the process ended, as it does where memory ends.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(_measured, asked, torch.get_num_threads()).result()
        except BrokenProcessPool as error:
            raise DFADError(f"{asked.model}: a step ended its process; memory may be too small") from error


def _measured(asked: StepRequest, threads: int) -> StepCost:
    torch.set_num_threads(threads)
    device = place(asked.device).device
    where = place(asked.device, choose_precision(asked.precision, device, forced=asked.force_precision).precision)
    kind = model_class(asked.model)
    model = kind.build(
        len(asked.class_prompts), size=asked.size, class_prompts=asked.class_prompts, options=dict(asked.options)
    )
    where.move(model).train()
    steps = _Steps(model, where, asked)
    if where.device.type == "cuda":
        return steps.on_gpu()
    small, large = (min(rows, asked.rows) for rows in _FEW)
    steps.seconds_of(small)  # memory of the optimiser, first use of the libraries
    (first, at_first), (second, at_second) = steps.seconds_of(small), steps.seconds_of(large)
    more = (asked.rows - small) / (large - small) if large > small else 0.0
    seconds, peak = max(first + (second - first) * more, second), at_first + max(0, at_second - at_first) * more
    return StepCost(seconds, int(peak), where.name, asked.rows > large)


class _Steps:
    """Steps of one model on random faces."""

    def __init__(self, model: DFADModel, where: Place, asked: StepRequest) -> None:
        self.model, self.where, self.request, self.stage = model, where, asked, model.stages[-1].name
        self.optimisers = OptimiserSet(parameter_groups(model, self.stage), Optimiser())

    def on_gpu(self) -> StepCost:
        """Two steps to warm up and three that count, at the size asked for."""
        device = self.where.device
        for _ in range(2):
            self.seconds_of(self.request.rows)
        torch.cuda.reset_peak_memory_stats(device)
        seconds = [self.seconds_of(self.request.rows)[0] for _ in range(3)]
        return StepCost(sorted(seconds)[1], torch.cuda.max_memory_allocated(device), self.where.name, False)

    def seconds_of(self, rows: int) -> tuple[float, int]:
        """Seconds of a step with so many faces, and the peak of this process's memory since it began."""
        asked = self.request
        batch = random_batch(self.model, asked.class_prompts, rows, asked.side, self.where)
        began = time.perf_counter()
        self.model.zero_grad(set_to_none=True)
        with self.where.autocast():
            losses = loss_terms(self.model.terms(batch, self.stage))
            total = torch.stack(list(weighted_losses(losses).values())).sum()
        total.backward()
        for optimiser in self.optimisers.optimisers:
            optimiser.step()
        wait_for(self.where.device)
        return time.perf_counter() - began, _peak_bytes()


def random_batch(model: DFADModel, class_prompts: Sequence[Sequence[str]], rows: int, side: int, where: Place) -> Batch:
    """Random faces of `side` pixels, their classes in turn, with all that a model's training asks for."""
    device, labels = where.device, torch.arange(rows) % len(class_prompts)
    images = torch.rand(rows, 3, side, side, device=device)
    more: dict[str, Any] = {"device": device, "settings": model.view_settings}
    inputs = where.lay_out(Inputs(images, example_views(model.needs, rows, side, **more)))
    prompts = [tuple(class_prompts[label]) for label in labels.tolist()]
    views = example_views(model.needs_training, rows, side, **more)
    attribution, detection = labels.to(device), (labels > 0).long().to(device)
    unlabelled = inputs if any(stage.unlabelled for stage in model.stages) else None
    share = model.stages[-1].hidden_labels
    hidden = torch.arange(rows) < min(round(share * rows), rows - 1) if share else None
    return Batch(inputs, attribution, detection, prompts, views, unlabelled, hidden=hidden)


def _peak_bytes() -> int:
    """The most memory this process has had; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    sizes = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(sizes[0]) * 1024 if sizes else 0
