"""Numbers that must agree: bf16 with fp32, a killed run with one that was not, GazeCLIP's two ways."""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gazeclip_speed
import torch
from safetensors.torch import load_file

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.engine.precision import REFUSED, measured_slowness
from dfad_bench.report.table import Column
from gpu_items.faces import PROTOCOL, Training, drawn_manifests, mapped_store
from gpu_items.item import Bench, DisagreementError, Item, Kind, NotMeasuredError, Rows

TOLERANCE = 1e-4  # of a weight after a kill, on a GPU, whose sums have no fixed order everywhere
AGREEMENT = Kind(
    "agreement",
    "Losses in other formats after the same steps",
    (
        Column("model", "Model", "text"),
        Column("format", "format", "text"),
        Column("steps", "steps", "count"),
        Column("first", "loss at first", digits=4),
        Column("fp32", "last steps, fp32", digits=4),
        Column("other", "last steps, in the format", digits=4),
        Column("relative", "relative difference, %", "percent", 2),
        Column("note", "", "text"),
    ),
    "The same weights, faces and order; the mean loss of the last tenth of the steps.",
)
RESUME = Kind(
    "resume",
    "A run killed and gone on with",
    (
        Column("model", "Model", "text"),
        Column("killed_after", "killed after the checkpoint of step", "count"),
        Column("weights", "weights compared", "count"),
        Column("largest", "largest difference", "text"),
        Column("verdict", "", "text"),
    ),
    f"`dfad train`, SIGKILL, the same command again, against a run that nothing happened to. On a GPU {TOLERANCE:g} is"
    " allowed; on a CPU nothing.",
)
LITERAL = Kind(
    "literal",
    "GazeCLIP as the paper writes it against ours",
    (
        Column("size", "size", "text"),
        Column("batch", "batch", "count"),
        Column("formats", "literal / ours in", "text"),
        Column("literal_s", "literal step, s", digits=3),
        Column("ours_s", "our step, s", digits=3),
        Column("ratio", "times", digits=2),
        Column("loss_difference", "losses differ by", "text"),
    ),
)


def agreement_item(name: str) -> Item:
    """A model's losses in fp32 and in other formats."""
    return Item(f"agreement/{name}", (45.0, 12.0), lambda bench: measure_agreement(name, bench))


def resume_item() -> Item:
    """A run that is killed."""
    return Item("resume", (70.0, 60.0), measure_resume)


def literal_item(precision: str) -> Item:
    """GazeCLIP's two ways in a number format."""
    return Item(f"literal/{precision}", (25.0, 12.0), lambda bench: measure_literal(precision, bench))


def measure_agreement(name: str, bench: Bench) -> Rows:
    """A row a format beside fp32."""
    steps, batch = bench.choose(100, 10), bench.choose(32, 4)
    curves: dict[str, list[float]] = {}
    rows: Rows = []
    for number_format in ("fp32", "bf16", "fp16"):
        row: dict[str, Any] = {"model": name, "format": number_format, "steps": steps}
        try:
            slow = number_format != "fp32" and measured_slowness(bench.device, number_format).worst > REFUSED
            training = Training(name, bench, number_format, steps * batch, batch)
        except ConfigError as error:
            rows.append(row | {"note": f"not measured: {error}"})
            continue
        if slow:
            rows.append(row | {"note": "not measured: far slower than fp32 here"})
            continue
        dataset = training.dataset(mapped_store(bench, steps * batch))
        curves[number_format] = training.take_steps(training.coming_batches(dataset), rate=0.1)[1]
        if number_format != "fp32":
            rows.append(row | _agreement(curves["fp32"], curves[number_format]))
    return rows


def _agreement(plain: list[float], other: list[float]) -> dict[str, float]:
    last = max(1, len(plain) // 10)
    ends = [statistics.fmean(curve[-last:]) for curve in (plain, other)]
    found = {"first": plain[0], "fp32": ends[0], "other": ends[1], "relative": abs(ends[1] - ends[0]) / abs(ends[0])}
    return {key: float(f"{value:.6g}") for key, value in found.items()}


def measure_literal(precision: str, bench: Bench) -> Rows:
    """What `gazeclip_speed.py` measures, in short."""
    if precision != "fp32" and measured_slowness(bench.device, "bf16").worst > REFUSED:
        raise NotMeasuredError(f"{precision} is far slower than fp32 here")
    batch, turns = bench.choose(32, 4), bench.choose(5, 1)
    options = argparse.Namespace(
        size=bench.size, batch=batch, turns=turns, device=str(bench.device), precision=precision, literal_precision=None
    )
    found = gazeclip_speed.measure(options)
    step = next(row for row in found["rows"] if row["part"] == "step")
    formats = f"{found['precision']['literal']} / {found['precision']['ours']}"
    row = {"size": bench.size, "batch": batch, "formats": formats, "ratio": step["ratio"]}
    row |= {"literal_s": step["literal_s"], "ours_s": step["ours_s"]}
    return [row | {"loss_difference": f"{found['largest_loss_difference']:.1e}"}]


def measure_resume(bench: Bench) -> Rows:
    """One row; DisagreementError where the weights differ by more than is allowed."""
    whole, killed = (bench.scratch / name for name in ("run-whole", "run-killed"))
    with contextlib.closing(_Run(bench, killed)) as first:
        step = first.kill_after_a_checkpoint()
    for folder in (killed, whole):
        with contextlib.closing(_Run(bench, folder)) as run:
            run.wait()
    weights = [load_file(_weights(folder)) for folder in (whole, killed)]
    if weights[0].keys() != weights[1].keys():
        raise DisagreementError("the two runs have other weights")
    pairs = [(value, weights[1][name]) for name, value in weights[0].items()]
    largest = max(float((a.double() - b.double()).abs().max()) for a, b in pairs if a.numel())
    equal = all(torch.equal(a, b) for a, b in pairs)
    if not equal and (not bench.on_gpu or not largest <= TOLERANCE):
        raise DisagreementError(f"weights differ by up to {largest:.2g} after a kill")
    row = {"model": "xception, tiny", "killed_after": step, "weights": len(pairs), "largest": f"{largest:.1e}"}
    return [row | {"verdict": "equal to the bit" if equal else f"within {TOLERANCE:g}"}]


def _weights(folder: Path) -> Path:
    found = sorted(RunFolder(folder).checkpoint.path.glob("step-*/model.safetensors"))
    if not found:
        raise DisagreementError(f"{folder.name}: the run left no weights")
    return found[-1]


class _Run:
    """`dfad train` in a process of its own."""

    def __init__(self, bench: Bench, out: Path) -> None:
        self.out, self.printed = out, bench.scratch / f"{out.name}.txt"
        words = [sys.executable, "-m", "dfad_bench", "train", "--model", "xception", "--size", "tiny"]
        words += ["--recipe", "quick", "--epochs", "2", "--protocol", PROTOCOL, "--device", str(bench.device)]
        words += ["--no-leak-check", "--allow-partial", "--quiet", "--out", str(out)]
        for manifest in drawn_manifests(bench):
            words += ["--manifest", str(manifest)]
        with self.printed.open("w") as handle:
            self.process = subprocess.Popen(words, stdout=handle, stderr=handle)

    def kill_after_a_checkpoint(self) -> int:
        """SIGKILL once a checkpoint is whole; its step."""
        while self.process.poll() is None:
            if found := sorted(RunFolder(self.out).checkpoint.path.glob("step-*/state.json")):
                self.process.kill()
                self.process.wait()
                return int(found[-1].parent.name.partition("-")[2])
            time.sleep(0.02)
        raise DisagreementError(f"the run ended before it was killed: {self._last_line()}")

    def wait(self) -> None:
        """Wait for its end, which must be a good one."""
        if self.process.wait() != 0:
            raise DisagreementError(f"exit code {self.process.returncode}: {self._last_line()}")

    def close(self) -> None:
        """End it, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _last_line(self) -> str:
        return (self.printed.read_text(errors="replace").strip().splitlines() or ["nothing printed"])[-1]
