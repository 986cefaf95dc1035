"""How much faster is a training step of GazeCLIP than the computation as the paper writes it?

Two models with the same weights take turns on the same batches in one process: the literal one (`shortcuts` and
`gi_fast` off, Adam as torch runs it by default) and ours. Forward with losses, backward and the optimiser's step are
timed apart; ratios are medians over the turns, so that other work on the machine counts for both alike. Losses of the
first batch are compared, and the largest memory of the process is given.

Example: python benchmarks/gazeclip_speed.py --batch 8 --turns 3 --out benchmarks/results/gazeclip_speed.json
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from dfad_bench.core.contract import Batch, Inputs, weighted_losses
from dfad_bench.core.files import write_json
from dfad_bench.core.labels import REAL
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.recipe import Optimiser
from dfad_bench.data.prompts import class_prompts
from dfad_bench.engine.optimisers import OptimiserSet, parameter_groups
from gazeclip.model import GazeCLIP

PARTS = ("forward", "backward", "optimiser")
LITERAL = {"shortcuts": False, "gi_fast": False}


@dataclass
class Contender:
    """A model with its optimiser, and the seconds of each of its steps, part by part."""

    model: GazeCLIP
    optimisers: OptimiserSet
    seconds: dict[str, list[float]]
    first_losses: dict[str, float]

    def step(self, batch: Batch) -> None:
        """One training step."""
        times = [time.perf_counter()]
        losses = weighted_losses(self.model.losses(batch))
        total = torch.stack(list(losses.values())).sum()
        times.append(time.perf_counter())
        self.optimisers.zero_grad()
        total.backward()
        times.append(time.perf_counter())
        for optimiser in self.optimisers.optimisers:
            optimiser.step()
        times.append(time.perf_counter())
        if not self.first_losses:
            self.first_losses = {name: float(value.detach()) for name, value in losses.items()}
        for part, (began, ended) in zip(PARTS, pairwise(times), strict=True):
            self.seconds[part].append(ended - began)


def contender(size: str, classes: int, *, literal: bool) -> Contender:
    """A model with the random weights of seed 0."""
    torch.manual_seed(0)
    model = GazeCLIP.build(classes, size="tiny" if size == "tiny" else "paper", options=LITERAL if literal else {})
    optimisers = OptimiserSet(parameter_groups(model.train(), "main"), Optimiser("adam", lr=1e-4, weight_decay=1e-3))
    if literal:
        for optimiser in optimisers.optimisers:
            for group in optimiser.param_groups:
                group["fused"] = None
    return Contender(model, optimisers, {part: [] for part in PARTS}, {})


def batches(count: int, size: int, side: int, prompts: Sequence[Sequence[str]]) -> list[Batch]:
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
        )
        for _ in range(count)
    ]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Both contenders, in turns."""
    prompts = class_prompts(load_protocol("gazeclip-df40"))
    literal = contender(options.size, len(prompts), literal=True)
    ours = contender(options.size, len(prompts), literal=False)
    for batch in batches(options.turns + 1, options.batch, 256, prompts):
        for model in (literal, ours):
            model.step(batch)
    difference = max(abs(value - ours.first_losses[name]) for name, value in literal.first_losses.items())
    rows = []
    for part in (*PARTS, "step"):
        theirs, mine = (_steps(model, part)[1:] for model in (literal, ours))  # the first step warms up
        ratios = [a / b for a, b in zip(theirs, mine, strict=True)]
        rows.append(
            {
                "part": part,
                "literal_s": round(statistics.median(theirs), 3),
                "ours_s": round(statistics.median(mine), 3),
                "ratio": round(statistics.median(ratios), 2),
                "ratios": [round(ratio, 2) for ratio in ratios],
            }
        )
    return {
        "question": "a training step of GazeCLIP, literal against with shortcuts and a fused optimiser",
        "size": options.size,
        "batch": options.batch,
        "largest_loss_difference": difference,
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "rows": rows,
        "hardware": {
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


def _steps(model: Contender, part: str) -> list[float]:
    if part != "step":
        return model.seconds[part]
    return [sum(parts) for parts in zip(*(model.seconds[name] for name in PARTS), strict=True)]


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("paper", "tiny"), default="paper")
    parser.add_argument("--batch", type=int, default=8, help="faces a step")
    parser.add_argument("--turns", type=int, default=3, help="timed steps of each, after one that warms up")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    result = measure(options)
    for row in result["rows"]:
        times = f"literal {row['literal_s']:8.3f} s   ours {row['ours_s']:8.3f} s"
        print(f"{row['part']:10} {times}   {row['ratio']:.2f} times")
    print(f"losses differ by at most {result['largest_loss_difference']:.1e}; memory {result['peak_memory_mib']} MiB")
    if options.out:
        write_json(options.out, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
