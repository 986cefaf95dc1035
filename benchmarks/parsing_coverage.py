"""Do the numbers of a parsing study mean what they say, in as many dimensions as a face has parts?

Maps are drawn as shares of ten parts: a source has shares of its own, and may lack ears, cloth, neck or hair; its
frames scatter around them. Counted are how
often real faces exceed "floor 95 %" against more real faces (5 in 100 at most), how often the interval of a distance
holds the truth (95 in 100), and how often the test of GAN against diffusion decides anything, right or wrong, where no
family differs (5 in 100 at most): with one frame a source, with 16, and where families differ in just that. The study
sums distances of single parts; "with_covariances" is what the distance in all ten dimensions at once would do.

Example: OMP_NUM_THREADS=1 python benchmarks/parsing_coverage.py --out benchmarks/results/parsing_coverage.json
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from gaze_coverage import GOAL, share

from dfad_bench.core.files import write_json
from dfad_bench.gaze.backends import Distance, any_dimension, separate_dimensions
from dfad_bench.gaze.claims import check_claims
from dfad_bench.gaze.fid import Measured, RealSide, Side, measure_distance
from dfad_bench.metrics.frechet import gaussian
from dfad_bench.parsing.analysis import CLAIMS, GeneratorParsing

# background, skin, brows, eyes, ears, nose, mouth, neck, cloth, hair: percent of the pixels; who has it
MEAN = np.array([24, 27, 1.4, 1.0, 1.2, 3.0, 1.6, 5.0, 9.0, 27.0])
PRESENT = np.array([1, 1, 1, 1, 0.6, 1, 1, 0.9, 0.8, 0.97])
BETWEEN, WITHIN = 0.4, 0.12  # deviations of log shares, of sources and of their frames
MOVED = np.where(np.isin(np.arange(10), (2, 3)), 0.6, 1.0)  # brows and eyes get lost
GENERATORS = 16


def draw(rng: np.random.Generator, sources: int, frames: int, name: str, mean: np.ndarray = MEAN) -> Side:
    """Square roots of shares of the frames of some sources."""
    own = mean * np.exp(BETWEEN * rng.normal(size=(sources, 10))) * (rng.random((sources, 10)) < PRESENT)
    shares = np.repeat(own, frames, axis=0) * np.exp(WITHIN * rng.normal(size=(sources * frames, 10)))
    names = np.repeat([f"{name}{k}" for k in range(sources)], frames)
    return Side(np.sqrt(shares / shares.sum(axis=1, keepdims=True)), names)


def measured(real: RealSide, chosen: Side, fake: Side, distance: Distance, *, floor: bool = True) -> Measured:
    """A distance as a study measures it."""
    drawn = real.distances(chosen, fake)
    return measure_distance(
        chosen, fake, real.floor(chosen.shape, fake.shape) if floor else None, drawn, distance=distance
    )


@cache
def truth(distance: Distance) -> float:
    """The distance of moved from real maps, of 200,000 sources each."""
    rng = np.random.default_rng(1)
    sides = [gaussian(draw(rng, 200_000, 1, "t", mean).vectors) for mean in (MEAN, MEAN * MOVED)]
    return float(distance(*sides[0], *sides[1]))


def distances(
    sources: int, frames: int, times: int, resamples: int, seed: int, distance: Distance = separate_dimensions
) -> dict[str, Any]:
    """Share of real against real above the floor, and of intervals that hold the truth."""
    found: Counter[str] = Counter()
    widths = []
    for turn in range(times):
        rng = np.random.default_rng([seed, sources, frames, turn])
        real = draw(rng, sources, frames, "r")
        side = RealSide("all", real, seed=turn, resamples=resamples, distance=distance)
        null = measured(side, real, draw(rng, sources, frames, "n"), distance)
        assert null.value is not None
        if null.floor_high is not None:
            found["floors"] += 1
            found["above"] += null.value > null.floor_high
        moved = measured(side, real, draw(rng, sources, frames, "f", MEAN * MOVED), distance, floor=False)
        if moved.low is not None and moved.high is not None:
            found["intervals"] += 1
            found["held"] += moved.low <= truth(distance) <= moved.high
            widths.append(moved.high - moved.low)
    return {
        "above_floor": share(found["above"], found["floors"]),
        "interval_covers": share(found["held"], found["intervals"]),
        "median_width": round(float(np.median(widths)), 5) if widths else None,
    }


def claims(
    gan: tuple[int, int],
    diffusion: tuple[int, int],
    times: int,
    resamples: int,
    seed: int,
    distance: Distance = separate_dimensions,
) -> dict[str, Any]:
    """Verdicts where no family differs; `gan` and `diffusion` are sources and frames of each of their generators."""
    verdicts: Counter[str] = Counter()
    decided = 0
    for turn in range(times):
        rng = np.random.default_rng([seed, 4, *gan, *diffusion, turn])
        real = draw(rng, 96, 1, "r")
        side = RealSide("all", real, seed=turn, resamples=resamples, distance=distance)
        rows = []
        for place in range(GENERATORS):
            family, forgery = ("gan", "diffusion")[place % 2], ("EFS", "FS")[place // (GENERATORS // 2)]
            kept = 1 - (1 - MOVED) * rng.uniform(0, 1)  # a generator's own loss of brows and eyes
            size = gan if family == "gan" else diffusion
            found = measured(side, real, draw(rng, *size, f"{place}-", MEAN * kept), distance, floor=False)
            rows.append(GeneratorParsing("a", f"g{place}", forgery, family, "a", found.n, 0, found))
        tests = check_claims(rows, claims=CLAIMS, seed=turn)
        verdicts[tests[0].verdict] += 1
        decided += any(test.verdict.endswith("as claimed") for test in tests)
    return {
        "all_generators": {verdict: share(count, times) for verdict, count in sorted(verdicts.items())},
        "a_verdict_in_some_scope": share(decided, times),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200, help="simulated studies of each kind")
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    options = parser.parse_args()
    asked = (options.times, options.resamples, options.seed)
    few = (options.times, options.resamples // 4, options.seed)  # the test reads the bias alone
    sizes = ((10, 16), (20, 16), (60, 16), (60, 1), (300, 1))
    result = {
        "question": "How often do floors, intervals and the test of a parsing study err, frames being of few sources?",
        "settings": {"times": options.times, "resamples": options.resamples, "seed": options.seed},
        "monte_carlo_error_at_0.95": round(float(np.sqrt(0.95 * 0.05 / options.times)), 4),
        "goal": GOAL,
        "distances": {f"{count} sources of {frames}": distances(count, frames, *asked) for count, frames in sizes},
        "claims": {
            "96 sources of 1": claims((96, 1), (96, 1), *few),
            "24 sources of 16": claims((24, 16), (24, 16), *few),
            "GAN 12 sources of 16, diffusion 96 of 1": claims((12, 16), (96, 1), *few),
        },
        "with_covariances": {
            "distances": {"60 sources of 16": distances(60, 16, *asked, distance=any_dimension)},
            "claims": {
                "GAN 12 sources of 16, diffusion 96 of 1": claims((12, 16), (96, 1), *few, distance=any_dimension)
            },
        },
        "versions": {"numpy": np.__version__, "python": platform.python_version()},
    }  # fmt: skip
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
