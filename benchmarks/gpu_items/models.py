"""Every model: the verdict of the fake GPU on the real device, a step in each number format, and compiled."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
import zoo_throughput as zoo
from torch import Tensor

from dfad_bench.core.contract import Batch, DFADModel, Output, loss_terms
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.registry import model_class
from dfad_bench.engine.compiling import works
from dfad_bench.engine.contract_checks.subject import Subject
from dfad_bench.engine.devices import Place, wait_for
from dfad_bench.engine.fake_gpu import CUDA, FakeGPU, GPUError
from dfad_bench.engine.memory import peak_bytes
from dfad_bench.engine.precision import REFUSED, measured_slowness
from dfad_bench.report.table import Column
from gpu_items.item import Bench, DisagreementError, Item, Kind, NotMeasuredError, Rows, error_line

FORMATS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
VERDICT = Kind(
    "verdict",
    "What the fake GPU says, on the device",
    (
        Column("model", "Model", "text"),
        Column("formats", "formats", "text"),
        Column("tensors", "tensors compared", "count"),
        Column("waits", "stages whose card says that they wait", "text"),
        Column("waits_seen", "waits seen in others", "text"),
    ),
    "Each model at toy size: losses of every stage and the outputs have the number formats and shapes that the fake GPU"
    " says, and a training step runs. On a GPU torch tells where other stages make the host wait.",
)
STEP = Kind(
    "step",
    "Each model in each number format",
    (
        Column("model", "Model", "text"),
        Column("format", "format", "text"),
        Column("batch", "batch", "count"),
        Column("forward_faces_s", "forward, faces/s", digits=1),
        Column("step_faces_s", "step, faces/s", digits=1),
        Column("step_mib", "step, MiB", digits=0),
        Column("note", "", "text"),
    ),
    "Random weights and faces, the training step of the last stage; memory beside the weights. On a CPU processor time"
    " of one thread counts.",
)
COMPILED = Kind(
    "compiled",
    "Steps with torch.compile",
    (
        Column("model", "Model", "text"),
        Column("format", "format", "text"),
        Column("plain_faces_s", "plain, faces/s", digits=1),
        Column("compiled_faces_s", "compiled, faces/s", digits=1),
        Column("first_s", "first step, s", digits=1),
    ),
)


def verdict_item(name: str) -> Item:
    """Both devices say the same of a model."""
    return Item(f"verdict/{name}", (4.0, 3.0), lambda bench: measure_verdict(name, bench))


def step_item(name: str) -> Item:
    """A model's step in fp32, bf16, fp16."""
    return Item(f"step/{name}", (8.0, 5.0), lambda bench: measure_steps(name, bench))


def compiled_item(name: str) -> Item:
    """A model's step with torch.compile."""
    return Item(f"compiled/{name}", (60.0, 150.0), lambda bench: measure_compiled(name, bench))


def measure_verdict(name: str, bench: Bench) -> Rows:
    """One row; DisagreementError where number formats or shapes differ."""
    subject, compared, seen = Subject(name), 0, list[str]()
    formats = list(FORMATS) if bench.on_gpu else ["fp32"]  # autocast of a CPU has other rules
    for number_format in formats:
        fake = fake_facts(subject, FORMATS[number_format])
        real, waits_there = real_facts(subject, bench.place(number_format))
        seen += [line for line in waits_there if line not in seen]
        different = [f"{key}: {fake[key]}, here {real[key]}" for key in fake if fake[key] != real[key]]
        if different or not fake:
            raise DisagreementError(f"{number_format}: the fake GPU says of {'; '.join(different[:3]) or 'nothing'}")
        compared += len(fake)
        _train_once(subject, bench.place(number_format))
    waits = ", ".join(subject.cls.card.waits) or "none"
    row = {"model": name, "formats": ", ".join(formats), "tensors": compared, "waits": waits}
    return [row | {"waits_seen": (", ".join(seen[:4]) or "none") if bench.on_gpu else "not measured, no GPU"}]


def fake_facts(subject: Subject, autocast: torch.dtype | None) -> dict[str, str]:
    """Number format and shape of losses and outputs on the fake GPU, without stages that wait."""
    model, batch, gpu, found = subject.build(), subject.batch(), FakeGPU(autocast), dict[str, str]()
    with gpu:
        there = batch.to(CUDA)
        gpu.take(model)
        for stage in model.train().stages:
            with contextlib.suppress(*([GPUError] if stage.name in model.card.waits else [])):
                found |= _loss_facts(model, there, stage.name)
        found |= _output_facts(model.eval()(there.inputs))
    return found


def real_facts(subject: Subject, where: Place) -> tuple[dict[str, str], list[str]]:
    """The same on a device, and the lines of code at which a GPU's host waited in stages whose card names no wait."""
    model, batch, found = subject.build().to(where.device), subject.batch().to(where.device), dict[str, str]()
    seen: list[str] = []
    with torch.no_grad(), where.autocast():
        for stage in model.train().stages:
            with _noted_waits(where, [] if stage.name in model.card.waits else seen):
                found |= _loss_facts(model, batch, stage.name)
        found |= _output_facts(model.eval()(batch.inputs))
    return found, seen


@contextlib.contextmanager
def _noted_waits(where: Place, seen: list[str]) -> Iterator[None]:
    """Add "file:line" of each wait in the block to `seen`; copies up that are not pinned are waits, too."""
    if where.device.type != "cuda":
        yield
        return
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)
    seen += [f"{Path(each.filename).name}:{each.lineno}" for each in caught if "synchroniz" in str(each.message)]


def _loss_facts(model: DFADModel, batch: Batch, stage: str) -> dict[str, str]:
    terms = loss_terms(model.terms(batch, stage))
    return {f"{stage}, {name}": _words(term.value) for name, term in terms.items()}


def _output_facts(output: Output) -> dict[str, str]:
    values = {field.name: getattr(output, field.name) for field in fields(Output)}
    return {name: _words(value) for name, value in values.items() if isinstance(value, Tensor)}


def _words(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"


def _train_once(subject: Subject, where: Place) -> None:
    model = subject.build()
    where.move(model.train())
    stepper = zoo.stepper_of(model, where)
    if stepper is not None:
        batch = subject.batch().to(where.device)
        stepper.run(batch, stepper.share(torch.arange(len(batch)).numpy()), 1e-6, [])


def measure_steps(name: str, bench: Bench) -> Rows:
    """A row a number format; where there is none, why."""
    rows: Rows = []
    for number_format in FORMATS:
        row: dict[str, Any] = {"model": name, "format": number_format}
        try:
            rows.append(row | _step_row(name, bench, number_format))
        except (ConfigError, NotMeasuredError, torch.OutOfMemoryError) as error:
            rows.append(row | {"note": f"not measured: {error_line(error).partition(': ')[2]}"})
        bench.free_memory()
    return rows


def _step_row(name: str, bench: Bench, number_format: str) -> dict[str, Any]:
    where, count, turns = bench.place(number_format), bench.choose(32, 4), bench.choose(5, 1)
    if number_format != "fp32" and (slow := measured_slowness(where.device, where.precision)).worst > REFUSED:
        raise NotMeasuredError(f"far slower than fp32 here: {slow}")
    forward, step = _calls(name, bench, where, count)
    row: dict[str, Any] = {"batch": count, "forward_faces_s": round(count / zoo.seconds(forward, where, turns), 2)}
    if step is None:
        return row | {"note": "nothing learns"}
    row["step_faces_s"] = round(count / zoo.seconds(step, where, turns), 2)
    peak = peak_bytes(step, where.device)
    return row | {"step_mib": None if peak is None else round(peak / 2**20)}


def _calls(
    name: str, bench: Bench, where: Place, count: int, *, compiled: bool = False
) -> tuple[Callable[[], object], Callable[[], object] | None]:
    torch.manual_seed(0)
    model = model_class(name).build(zoo.GENERATORS, size=bench.size, class_prompts=zoo.PROMPTS)
    where.move(model.train())
    batch, stepper = zoo.faces(model, count, where.device), zoo.stepper_of(model, where, compiled=compiled)

    def forward() -> None:
        with torch.no_grad(), where.autocast():
            model(where.lay_out(batch.inputs))

    if stepper is None:
        return forward, None
    share = stepper.share(torch.arange(count).numpy())

    def step() -> None:
        stepper.prepare(batch, share)
        stepper.run(batch, share, 1e-6, [])

    return forward, step


def measure_compiled(name: str, bench: Bench) -> Rows:
    """Plain against compiled in the format of runs."""
    where, count, turns = bench.place(bench.fast_format), bench.choose(32, 4), bench.choose(5, 1)
    said: list[str] = []
    if not works(where, said):
        raise NotMeasuredError(said[0])
    speeds, first = [], 0.0
    for compiled in (False, True):
        step = _calls(name, bench, where, count, compiled=compiled)[1]
        if step is None:
            raise NotMeasuredError("nothing learns")
        began = time.perf_counter()
        step()
        wait_for(where.device)
        first = time.perf_counter() - began
        speeds.append(round(count / zoo.seconds(step, where, turns), 2))
    torch.compiler.reset()
    row = {"model": name, "format": where.precision, "plain_faces_s": speeds[0], "compiled_faces_s": speeds[1]}
    return [row | {"first_s": round(first, 1)}]
