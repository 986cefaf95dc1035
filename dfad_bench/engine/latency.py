"""Seconds and memory of forward passes at the model's own side, in this process or in one of its own, within a time."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

import torch

from dfad_bench.core.children import follow_parent, interrupts_blocked
from dfad_bench.core.contract import DFADModel, Inputs, Size
from dfad_bench.core.errors import DFADError
from dfad_bench.core.registry import model_class
from dfad_bench.core.settings import AskedPrecision
from dfad_bench.engine.devices import Place, place, wait_for
from dfad_bench.engine.memory import peak_bytes
from dfad_bench.engine.precision import choose_precision
from dfad_bench.views.registry import example_views

BATCHES: Mapping[int, tuple[int, int]] = {1: (3, 10), 32: (1, 3)}  # images -> passes to warm up, and timed ones
ENOUGH_S = 60.0  # passes of a batch end here; one that takes longer counts as it is
_Message = tuple[Literal["began", "cost", "refused", "memory"], Any]


@dataclass(frozen=True)
class BatchCost:
    """A forward pass of `batch` images: its median seconds, and `memory` at most.

    `memory` is bytes of weights, images and all that the pass needs; None where the system does not say.
    `processor_seconds` are those of all threads, on a CPU, which other work on the machine does not lengthen; `passes`
    is of how many the medians are.
    """

    batch: int
    seconds: float
    memory: int | None
    processor_seconds: float | None = None
    passes: int = 0


@dataclass(frozen=True)
class TimingRequest:
    """A model with random weights, as `profile` counts it, and where its passes are to be timed."""

    model: str
    generators: int
    class_prompts: tuple[tuple[str, ...], ...]
    size: Size
    options: Mapping[str, Any]
    device: str = "auto"
    precision: AskedPrecision = "fp32"
    force_precision: bool = False

    def build(self) -> DFADModel:
        """The model, in evaluation mode."""
        kind, options = model_class(self.model), dict(self.options)
        return kind.build(self.generators, size=self.size, class_prompts=self.class_prompts, options=options).eval()


@dataclass(frozen=True)
class Timing:
    """What was measured on `device` in `precision`, and why what is missing is."""

    costs: tuple[BatchCost, ...]
    device: str | None = None
    precision: str | None = None
    precision_why: str | None = None
    missing: tuple[str, ...] = ()


def random_images(model: DFADModel, device: torch.device | str, count: int = 1, texts: int = 0) -> Inputs:
    """Random images at the model's own side, with every view it needs.

    Args:
        model: decides side and views.
        device: where they are made.
        count: of images.
        texts: how many different ones views of texts hold; 0: as many as images.
    """
    views = example_views(model.needs, count, model.side, device=device, settings=model.view_settings)
    for name, values in views.items():
        if isinstance(values, tuple) and texts:
            views[name] = tuple(values[row % texts] for row in range(count))
    return Inputs(torch.rand(count, 3, model.side, model.side, device=device), views)


def batch_costs(model: DFADModel, where: Place, enough_s: float = ENOUGH_S) -> Iterator[BatchCost]:
    """Seconds and memory of forward passes on one image and on a batch, each after a warm-up.

    Passes of a batch end after `enough_s` seconds; where the first alone takes longer, it is what counts.
    """
    where.move(model)
    held = sum(value.numel() * value.element_size() for value in (*model.parameters(), *model.buffers()))
    for count, (warm_up, timed) in BATCHES.items():
        inputs = where.lay_out(random_images(model, where.device, count))

        def forward(inputs: Inputs = inputs) -> None:
            with torch.no_grad(), where.autocast():
                model(inputs)
            wait_for(where.device)

        began, taken, peak = time.perf_counter(), list[tuple[float, float]](), None
        while len(taken) < warm_up + timed and (not taken or time.perf_counter() - began < enough_s):
            clocks = time.perf_counter(), time.process_time()
            if taken:
                forward()
            else:
                peak = peak_bytes(forward, where.device)  # the first: of what follows memory is held already
            taken.append((time.perf_counter() - clocks[0], time.process_time() - clocks[1]))
        counted = taken[min(warm_up, len(taken) - 1) :]
        images = inputs.images.numel() * inputs.images.element_size()
        wall, processor = (statistics.median(column) for column in zip(*counted, strict=True))
        yield BatchCost(
            count,
            wall,
            None if peak is None else held + images + peak,
            processor if where.device.type == "cpu" else None,
            len(counted),
        )


def timing_here(asked: TimingRequest) -> Timing:
    """Measured in this process.

    Raises:
        ConfigError: a bad device, or a number format that is far slower than fp32.
    """
    where, why = _place_of(asked)
    return Timing(tuple(batch_costs(asked.build(), where)), where.name, where.precision, why)


def timing_apart(asked: TimingRequest, *, minutes: float | None = None) -> Timing:
    """Measured in a new process, whose memory is this model's alone, and which is ended after `minutes`.

    What was measured until then counts; where memory or time ended, `missing` says so.

    Raises:
        DFADError: what building the model or choosing device and number format raises.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(sender, asked, torch.get_num_threads()), daemon=True)
    with interrupts_blocked():
        process.start()
    sender.close()
    try:
        return _received(receiver, asked, minutes)
    finally:
        process.kill()
        process.join()
        receiver.close()


def _received(receiver: Connection, asked: TimingRequest, minutes: float | None) -> Timing:
    until = None if minutes is None else time.monotonic() + 60 * minutes
    about: tuple[str | None, str | None, str | None] = (None, None, None)
    costs: list[BatchCost] = []
    while len(costs) < len(BATCHES):
        left = f"batch {', '.join(str(count) for count in list(BATCHES)[len(costs) :])}"
        if not receiver.poll(None if until is None else max(0.0, until - time.monotonic())):
            return Timing(tuple(costs), *about, (f"{left}: not done within {minutes:g} minutes",))
        try:
            kind, value = receiver.recv()
        except EOFError:
            return Timing(tuple(costs), *about, (f"{left}: its process ended, as where memory ends",))
        if kind == "refused":
            raise DFADError(f"{asked.model}: {value}")
        if kind == "memory":
            return Timing(tuple(costs), *about, (f"{left}: does not fit into memory ({value})",))
        if kind == "began":
            about = value
        else:
            costs.append(value)
    return Timing(tuple(costs), *about)


def _place_of(asked: TimingRequest) -> tuple[Place, str]:
    chosen = choose_precision(asked.precision, place(asked.device).device, forced=asked.force_precision)
    return place(asked.device, chosen.precision), chosen.why


def _measure(sender: Connection, asked: TimingRequest, threads: int) -> None:
    """Send what is measured, as it comes, to the process that asked."""
    follow_parent()
    torch.set_num_threads(threads)

    def send(*message: Any) -> None:
        sender.send(message)

    try:
        where, why = _place_of(asked)
        send("began", (where.name, where.precision, why))
        for cost in batch_costs(asked.build(), where):
            send("cost", cost)
    except DFADError as error:
        send("refused", str(error))
    except (MemoryError, torch.OutOfMemoryError) as error:
        send("memory", _first_line(error))
    except RuntimeError as error:
        if "memory" not in str(error):
            raise
        send("memory", _first_line(error))  # torch's allocator of the CPU raises no class of its own


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
