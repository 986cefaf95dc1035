"""How much faster is GazeCLIP than the computation as the paper writes it, in a training step and in inference?

Two models with the same weights take turns on the same batches in one process: the literal one (`shortcuts` and
`gi_fast` off, Adam as torch runs it by default, images as they come) and ours. A step is divided into the forward and
the backward pass of text, VPE and GIE, the losses and the rest, and the optimiser. Ratios are medians over the turns,
so that other work on the machine counts for both alike. Losses of the first batch are compared, and the largest memory
of the process is given. Inference on stored gaze (VPE + GIE, as `dfad evaluate` does) takes turns with the pipeline
that runs the gaze estimator in each pass; making the normalised faces it reads is not counted. With `--checkpointing`
our step alone is measured, with gradient checkpointing and without, each in a process of its own, for its memory.

Example: python benchmarks/gazeclip_speed.py --batch 8 --turns 3 --out benchmarks/results/gazeclip_speed.json
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import resource
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dfad_bench.core.contract import Batch, Inputs, weighted_losses
from dfad_bench.core.files import write_json
from dfad_bench.core.labels import REAL
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.recipe import Optimiser
from dfad_bench.data.prompts import class_prompts
from dfad_bench.engine.devices import Place, place
from dfad_bench.engine.gradient_checkpointing import blocks_of, checkpoint_blocks
from dfad_bench.engine.optimisers import OptimiserSet, parameter_groups
from dfad_bench.engine.shares import OPTIMISER, REST, ModuleClock, timed_step
from dfad_bench.views.registry import example_views
from gazeclip.model import GazeCLIP

MODULES = ("text", "VPE", "GIE")
LITERAL = {"shortcuts": False, "gi_fast": False}
ONLINE = {"gaze_encoder": "frozen", "use_lre": False}  # no text at test time
Seconds = dict[tuple[str, str], float]


@dataclass
class Contender:
    """A model with its optimiser, and the seconds of each of its steps by (phase, part)."""

    model: GazeCLIP
    optimisers: OptimiserSet
    where: Place
    steps: list[Seconds] = field(default_factory=list)
    first_losses: dict[str, float] = field(default_factory=dict)

    def step(self, batch: Batch) -> None:
        """One training step."""

        def forward() -> Tensor:
            laid_out = Batch(
                self.where.lay_out(batch.inputs), batch.attribution, batch.detection, batch.prompts, batch.views
            )
            with self.where.autocast():
                losses = weighted_losses(self.model.losses(laid_out))
            kept.update(losses)
            return torch.stack(list(losses.values())).sum()

        kept: dict[str, Tensor] = {}
        with ModuleClock(parts_of(self.model), self.where.device) as clock:
            timed_step(clock, forward, self.optimisers)
            self.steps.append(clock.end())
        if not self.first_losses:
            self.first_losses = {name: float(value.detach()) for name, value in kept.items()}


def parts_of(model: GazeCLIP) -> dict[nn.Module, str]:
    """The part that each module of the model is charged to."""
    estimator = model.vpe.ge.estimator if model.vpe.ge is not None else None
    named = {"text": model.lre, "VPE": model.vpe, "GIE": model.gie, "estimator": estimator}
    rest = dict.fromkeys((module for module in (model.experts, model.W_ig, model.W_ag) if module is not None), REST)
    return {**{module: part for part, module in named.items() if module is not None}, **rest}


def contender(size: str, classes: int, where: Place, *, literal: bool) -> Contender:
    """A model with the random weights of seed 0."""
    torch.manual_seed(0)
    model = GazeCLIP.build(classes, size="tiny" if size == "tiny" else "paper", options=LITERAL if literal else {})
    where.move(model)
    optimisers = OptimiserSet(parameter_groups(model.train(), "main"), Optimiser("adam", lr=1e-4, weight_decay=1e-3))
    if literal:
        for optimiser in optimisers.optimisers:
            for group in optimiser.param_groups:
                group["fused"] = None
    return Contender(model, optimisers, where)


def batches(count: int, size: int, side: int, prompts: Sequence[Sequence[str]], where: Place) -> list[Batch]:
    """Noise with labels in turn; the same for both."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(size) % len(prompts)
    return [
        Batch(
            Inputs(
                torch.rand(size, 3, side, side, generator=generator),
                {"gaze": 0.3 * torch.randn(size, 2, generator=generator)},
            ),
            labels,
            (labels != REAL).long(),
            [tuple(prompts[label]) for label in labels.tolist()],
        ).to(where.device)
        for _ in range(count)
    ]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Both contenders, in turns, then inference."""
    prompts = class_prompts(load_protocol("gazeclip-df40"))
    ours_at = place(options.device, options.precision)
    literal_at = place(options.device, options.literal_precision or options.precision, channels_last=False)
    literal = contender(options.size, len(prompts), literal_at, literal=True)
    ours = contender(options.size, len(prompts), ours_at, literal=False)
    for batch in batches(options.turns + 1, options.batch, 256, prompts, ours_at):
        for model in (literal, ours):
            model.step(batch)
    difference = max(abs(value - ours.first_losses[name]) for name, value in literal.first_losses.items())
    return {
        "question": "a training step of GazeCLIP, literal against with shortcuts and a fused optimiser; its inference",
        "size": options.size,
        "batch": options.batch,
        "precision": {"literal": literal_at.precision, "ours": ours_at.precision},
        "largest_loss_difference": difference,
        "peak_memory_mib": peak_mib(ours_at),
        "rows": step_rows(literal.steps[1:], ours.steps[1:]),  # the first step warms up
        "inference": inference(ours.model, options, ours_at),
        "hardware": {
            "device": ours_at.name,
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


def step_rows(literal: Sequence[Seconds], ours: Sequence[Seconds]) -> list[dict[str, Any]]:
    """A row a part of a step, sums of parts, and the step."""
    phases: dict[str, list[tuple[str, str]]] = {}
    for phase in ("forward", "backward"):
        phases |= {f"{part}, {phase}": [(phase, part)] for part in (*MODULES, REST)}
    phases |= {phase: [(phase, part) for part in (*MODULES, REST)] for phase in ("forward", "backward")}
    phases["optimiser"] = [(OPTIMISER, REST)]
    phases["step"] = [key for name in ("forward", "backward", "optimiser") for key in phases[name]]
    return [_row(name, keys, phases["step"], literal, ours) for name, keys in phases.items()]


def _row(
    name: str,
    keys: Sequence[tuple[str, str]],
    whole: Sequence[tuple[str, str]],
    literal: Sequence[Seconds],
    ours: Sequence[Seconds],
) -> dict[str, Any]:
    theirs, mine = (_sums(steps, keys) for steps in (literal, ours))
    ratios = [a / b for a, b in zip(theirs, mine, strict=True) if b]
    shares = [statistics.median(_shares(steps, keys, whole)) for steps in (literal, ours)]
    return {
        "part": name,
        "literal_s": round(statistics.median(theirs), 4),
        "literal_share": round(shares[0], 4),
        "ours_s": round(statistics.median(mine), 4),
        "ours_share": round(shares[1], 4),
        "ratio": round(statistics.median(ratios), 2) if ratios else None,
        "ratios": [round(ratio, 2) for ratio in ratios],
    }


def _sums(steps: Sequence[Seconds], keys: Sequence[tuple[str, str]]) -> list[float]:
    return [sum(step.get(key, 0.0) for key in keys) for step in steps]


def _shares(steps: Sequence[Seconds], keys: Sequence[tuple[str, str]], whole: Sequence[tuple[str, str]]) -> list[float]:
    return [part / all_ for part, all_ in zip(_sums(steps, keys), _sums(steps, whole), strict=True)]


def inference(stored: GazeCLIP, options: argparse.Namespace, where: Place) -> dict[str, Any]:
    """Seconds a batch on stored gaze and with the estimator run in the pass, in turns, and the share of each part."""
    torch.manual_seed(0)
    size: Any = "tiny" if options.size == "tiny" else "paper"
    online = GazeCLIP.build(stored.num_generators, size=size, options=ONLINE)
    where.move(online)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(options.batch, 3, 256, 256, generator=generator).to(where.device)
    found: dict[str, list[Seconds]] = {"stored": [], "online": []}
    for _ in range(options.turns + 1):
        for name, model in (("stored", stored.eval()), ("online", online.eval())):
            views = example_views(
                model.needs, options.batch, 256, device=where.device, settings=model.view_settings, generator=generator
            )
            found[name].append(_pass_seconds(model, where.lay_out(Inputs(images, views)), where))
    passes = {name: taken[1:] for name, taken in found.items()}
    parts = ("estimator", "VPE", "GIE", REST)
    keys = {name: [("forward", part) for part in parts] for name in passes}
    whole = {name: _sums(taken, keys[name]) for name, taken in passes.items()}
    ratios = [a / b for a, b in zip(whole["online"], whole["stored"], strict=True)]
    return {
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
        **{name: _pass_row(passes[name], parts, whole[name]) for name in passes},
    }


def _pass_seconds(model: GazeCLIP, inputs: Inputs, where: Place) -> Seconds:
    with ModuleClock(parts_of(model), where.device) as clock, torch.inference_mode(), where.autocast():
        clock.begin("forward")
        model(inputs)
        return clock.end()


def _pass_row(passes: Sequence[Seconds], parts: Sequence[str], whole: Sequence[float]) -> dict[str, Any]:
    seconds = {part: _sums(passes, [("forward", part)]) for part in parts}
    shares = {part: [a / b for a, b in zip(taken, whole, strict=True)] for part, taken in seconds.items()}
    return {
        "seconds": round(statistics.median(whole), 4),
        "shares": {part: round(statistics.median(values), 4) for part, values in shares.items() if any(values)},
    }


def compare_checkpointing(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds and peak memory of our step without and with gradient checkpointing."""
    rows = []
    for checkpointing in (False, True):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            rows.append(pool.submit(_step_alone, options, checkpointing, torch.get_num_threads()).result())
    plain, again = rows
    return {
        "question": "a training step of GazeCLIP without and with gradient checkpointing, each in its own process",
        "size": options.size,
        "batch": options.batch,
        "precision": options.precision,
        "largest_loss_difference": max(abs(a - b) for a, b in zip(plain["losses"], again["losses"], strict=True)),
        "seconds_ratio": round(again["seconds"] / plain["seconds"], 3),
        "memory_ratio": round(again["peak_mib"] / plain["peak_mib"], 3),
        "rows": rows,
    }


def _step_alone(options: argparse.Namespace, checkpointing: bool, threads: int) -> dict[str, Any]:
    """A step of our model in this process: median seconds, peak memory, that of model and optimiser, losses.

    Seconds are of the processor on a CPU, since the two processes do not take turns, and of the clock on a GPU.
    """
    torch.set_num_threads(threads)
    prompts = class_prompts(load_protocol("gazeclip-df40"))
    where = place(options.device, options.precision)
    ours = contender(options.size, len(prompts), where, literal=False)
    checkpoint_blocks(blocks_of(ours.model) if checkpointing else ())
    at_rest = peak_mib(where)
    seconds, clock = [], time.perf_counter if where.device.type == "cuda" else time.process_time
    for batch in batches(options.turns + 1, options.batch, 256, prompts, where):
        began = clock()
        ours.step(batch)
        seconds.append(clock() - began)
    return {
        "checkpointing": checkpointing,
        "seconds": round(statistics.median(seconds[1:]), 4),
        "peak_mib": peak_mib(where),
        "before_steps_mib": at_rest,
        "losses": list(ours.first_losses.values()),
    }


def show_checkpointing(result: Mapping[str, Any]) -> None:
    """The result for people."""
    for row in result["rows"]:
        name = "with checkpointing" if row["checkpointing"] else "without"
        print(
            f"{name:20} {row['seconds']:8.3f} s a step, {row['peak_mib']:6} MiB ({row['before_steps_mib']} before it)"
        )
    print(f"{result['seconds_ratio']:.2f} times the time, {result['memory_ratio']:.2f} times the memory")


def peak_mib(where: Place) -> int:
    """The largest memory so far, of the GPU or of this process."""
    if where.device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(where.device) / 2**20)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def show(result: Mapping[str, Any]) -> None:
    """The result for people."""
    for row in result["rows"]:
        times = [f"{who} {row[f'{who}_s']:8.3f} s {row[f'{who}_share']:6.1%}" for who in ("literal", "ours")]
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f} times"
        print(f"{row['part']:30} {'   '.join(times)}   {ratio}")
    formats, device = result["precision"], result["hardware"]["device"]
    print(
        f"literal in {formats['literal']}, ours in {formats['ours']}, on {device}; losses differ by at most"
        f" {result['largest_loss_difference']:.1e}; memory of both {result['peak_memory_mib']} MiB"
    )
    passes = result["inference"]
    for name in ("stored", "online"):
        shares = ", ".join(f"{part} {share:.1%}" for part, share in passes[name]["shares"].items())
        print(f"inference, gaze {name:7} {passes[name]['seconds']:8.3f} s: {shares}")
    print(f"inference with the estimator takes {passes['ratio']:.2f} times as long as on stored gaze")


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("paper", "tiny"), default="paper")
    parser.add_argument("--batch", type=int, default=8, help="faces a step")
    parser.add_argument("--turns", type=int, default=3, help="timed steps of each, after one that warms up")
    parser.add_argument("--device", default="cpu", help="auto, cpu or cuda")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of both")
    parser.add_argument("--literal-precision", choices=("fp32", "bf16"), help="of the literal one, where it differs")
    parser.add_argument("--checkpointing", action="store_true", help="compare our step with and without it instead")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    result = compare_checkpointing(options) if options.checkpointing else measure(options)
    (show_checkpointing if options.checkpointing else show)(result)
    if options.out:
        write_json(options.out, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
