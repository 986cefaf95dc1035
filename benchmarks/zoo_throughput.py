"""How fast is each model of the zoo, and how much memory does it take? Forward pass and training step, every model.

Each registered model is built with 11 generators and random weights and given random faces of 256 pixels, as a loader
does, with every view and prompt that it asks for. Measured are (1) faces a second of the forward pass and (2) of the
training step of its last stage, both on a whole batch, with the memory that they need beside the weights, and (3) the
naive loop, one face at a time, for both. On a CPU one thread is used and processor time counted, so that other work
on the machine does not count; on a GPU it is the clock. Each model has a process of its own, so that memory is its
alone; one that does not fit, or takes longer than --minutes, says so. With --out each row is kept at once, and a
command that is given the same file again goes on where it was.

Example: python benchmarks/zoo_throughput.py --size tiny --out benchmarks/results/zoo_throughput.json
At the papers' size: --size paper --batch 4 --turns 1 --minutes 10 --out benchmarks/results/zoo_throughput_paper.json
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from dfad_bench.core.contract import Batch, DFADModel, Inputs, Size
from dfad_bench.core.files import read_json, write_json
from dfad_bench.core.recipe import load_recipe
from dfad_bench.core.registry import model_class, model_names
from dfad_bench.core.stage_plan import plan_stage
from dfad_bench.engine.devices import Place, place
from dfad_bench.engine.distributed import Team
from dfad_bench.engine.memory import peak_bytes
from dfad_bench.engine.optimisers import OptimiserSet, parameter_groups
from dfad_bench.engine.step import Stepper
from dfad_bench.report.table import Column, Table, render
from dfad_bench.views.registry import example_views

SIDE, GENERATORS = 256, 11
KINDS, FAILED = ("forward", "step"), "all"
PROMPTS = tuple((f"a photo of a face of class {label}",) * 4 for label in range(GENERATORS))


@dataclass(frozen=True)
class Scale:
    """`size` of the models, faces of a `batch`, and how often each is timed after a warm-up."""

    size: Size
    batch: int
    turns: int


def faces(model: DFADModel, count: int, device: torch.device) -> Batch:
    """Random faces, their classes in turn, as a training batch."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % GENERATORS

    def views(names: Sequence[str]) -> dict[str, Any]:
        return example_views(names, count, SIDE, generator, device, settings=model.view_settings)

    images = torch.rand(count, 3, SIDE, SIDE, generator=generator).to(device)
    inputs = Inputs(images, views(model.needs))
    unlabelled = inputs if model.stages[-1].unlabelled else None
    share = model.stages[-1].hidden_labels
    hidden = torch.arange(count) < min(round(share * count), count - 1) if share else None
    prompts = [PROMPTS[label] for label in labels.tolist()]
    labels = labels.to(device)
    detection, more = (labels > 0).long(), views(model.needs_training)
    return Batch(inputs, labels, detection, prompts, more, unlabelled, hidden=hidden)


def stepper_of(model: DFADModel, where: Place, *, compiled: bool = False) -> Stepper | None:
    """The step of the last stage; None where nothing learns."""
    recipe = load_recipe("default")
    plan = plan_stage(model.stages[-1], recipe)
    groups = parameter_groups(model, plan.name)
    if not groups:
        return None
    scaler = torch.amp.GradScaler(enabled=where.precision == "fp16")
    return Stepper(
        model, plan.name, OptimiserSet(groups, plan.optimiser), recipe, place=where, team=Team(), scaler=scaler,
        compiled=compiled,
    )  # fmt: skip


def seconds(call: Callable[[], object], where: Place, turns: int) -> float:
    """Median seconds of a call after a warm-up: of the processor on a CPU, else of the clock."""
    clock = time.process_time if where.device.type == "cpu" else time.perf_counter
    taken = []
    for _ in range(turns + 1):
        began = clock()
        call()
        if where.device.type == "cuda":
            torch.cuda.synchronize(where.device)
        taken.append(clock() - began)
    return statistics.median(taken[1:])


def row_of(name: str, scale: Scale, where: Place) -> dict[str, Any]:
    """What a model was measured at; numbers that there are none of are None, with the reason beside."""
    torch.manual_seed(0)
    model = model_class(name).build(GENERATORS, size=scale.size, class_prompts=PROMPTS)
    where.move(model)
    whole, single = (faces(model, count, where.device) for count in (scale.batch, 1))
    stepper = stepper_of(model, where)

    def forward(batch: Batch, times: int) -> Callable[[], object]:
        def call() -> None:
            with torch.no_grad(), where.autocast():
                for _ in range(times):
                    model(where.lay_out(batch.inputs))

        return call

    def step(batch: Batch, times: int) -> Callable[[], object]:
        def call() -> None:
            assert stepper is not None
            for _ in range(times):
                stepper.run(batch, stepper.share(torch.arange(len(batch)).numpy()), 1e-6, [])

        return call

    row: dict[str, Any] = {"model": name, "display": model.card.display}
    few = max(1, scale.batch // 4)
    for kind, calls in zip(KINDS, (forward, step), strict=True):
        model.train(kind == "step")
        row |= dict.fromkeys((f"{kind}_faces_s", f"{kind}_naive_faces_s", f"{kind}_speedup", f"{kind}_mib"))
        if kind == "step" and stepper is None:
            row[f"{kind}_note"] = "nothing learns"
            continue
        fast = scale.batch / seconds(calls(whole, 1), where, scale.turns)
        peak = peak_bytes(calls(whole, 1), where.device)
        row |= {f"{kind}_faces_s": fast, f"{kind}_mib": None if peak is None else peak / 2**20}
        try:
            slow = few / seconds(calls(single, few), where, scale.turns)
        except (ValueError, RuntimeError) as error:  # batch norm of one value, say
            row[f"{kind}_note"] = f"one face at a time is impossible: {str(error).splitlines()[0][:80]}"
            continue
        row |= {f"{kind}_naive_faces_s": slow, f"{kind}_speedup": fast / slow}
    return row


def measure(
    names: Sequence[str], scale: Scale, where: Place, minutes: float | None = None, out: Path | None = None
) -> dict[str, Any]:
    """Every model's row, and on what it was measured; those that `out` has under the same settings stay."""
    found = {
        "question": "faces a second and memory of every model, beside the naive loop of one face at a time",
        "size": scale.size, "batch": scale.batch, "turns": scale.turns, "side": SIDE,
        "hardware": {
            "device": where.name, "precision": where.precision,
            "clock": "processor time of one thread" if where.device.type == "cpu" else "clock",
            "python": platform.python_version(), "torch": torch.__version__,
        },
    }  # fmt: skip
    before = read_json(out) if out is not None and out.is_file() else {}
    kept = {row["model"]: row for row in before.get("rows", ()) if {**before, "rows": None} == {**found, "rows": None}}
    for name in names:
        if name not in kept or f"{FAILED}_note" in kept[name]:
            sys.stderr.write(f"{name}\n")
            kept[name] = row_apart(name, scale, where, minutes)
            if out is not None:
                write_json(out, {**found, "rows": [kept[each] for each in names if each in kept]})
    return {**found, "rows": [kept[name] for name in names]}


def row_apart(name: str, scale: Scale, where: Place, minutes: float | None) -> dict[str, Any]:
    """A model's row, measured in a process of its own; where that ends early, why."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_row, args=(sender, name, scale, where), daemon=True)
    process.start()
    sender.close()
    why = "not done within the minutes given"
    try:
        if receiver.poll(None if minutes is None else 60 * minutes):
            return dict(receiver.recv())
    except EOFError:
        why = "its process ended, as where memory ends"
    finally:
        process.kill()
        process.join()
    empty = dict.fromkeys(f"{kind}_{what}" for kind in KINDS for what in ("faces_s", "naive_faces_s", "speedup", "mib"))
    return {"model": name, "display": model_class(name).card.display, **empty, f"{FAILED}_note": why}


def _send_row(sender: Connection, name: str, scale: Scale, where: Place) -> None:
    if where.device.type == "cpu":
        torch.set_num_threads(1)
    sender.send(row_of(name, scale, where))


def table(found: dict[str, Any]) -> Table:
    """The result for people."""
    columns = [Column("display", "Model", "text")]
    for kind, title in (("forward", "Forward"), ("step", "Step")):
        columns += [
            Column(f"{kind}_faces_s", f"{title}: faces/s", digits=1),
            Column(f"{kind}_naive_faces_s", "one by one", digits=1),
            Column(f"{kind}_speedup", "times", digits=1),
            Column(f"{kind}_mib", "MiB", digits=0),
        ]
    said = [(row, kind) for row in found["rows"] for kind in (*KINDS, FAILED) if f"{kind}_note" in row]
    notes = [f"{row['display']}, {kind}: {row[f'{kind}_note']}." for row, kind in said]
    hardware = found["hardware"]
    notes.append(f"Batch {found['batch']} of {SIDE} pixels, {hardware['device']}, {hardware['clock']}.")
    return Table(f"The zoo, {found['size']}", tuple(columns), found["rows"], tuple(notes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", dest="models", help="default: every registered model")
    parser.add_argument("--size", choices=("paper", "tiny"), default="paper")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--minutes", type=float, help="at most, of each model")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    options = parser.parse_args()
    scale = Scale(options.size, options.batch, options.turns)
    where = place(options.device, options.precision)
    found = measure(options.models or model_names(), scale, where, options.minutes, options.out)
    sys.stdout.write(render(table(found), "rich") + "\n")


if __name__ == "__main__":
    main()
