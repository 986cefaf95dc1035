"""How much faster are the distances of a gaze study than one call of pytorch-fid's function each?

20 generators of 10,000 gaze vectors a side and 1,000 bootstrap draws give 20,000 pairs of Gaussians. Timed in turns,
in one run: the distances alone, of the very same Gaussians (closed form over all at once, and pytorch-fid's function
pair by pair); the resampling with its moments, ours and as one would write it around pytorch-fid; both together.
pytorch-fid's side runs on every `--every`-th draw, since it is the slow one. CPU time, on one thread. Prints JSON.

Example: OMP_NUM_THREADS=1 python benchmarks/gaze_fid_speed.py --out benchmarks/results/gaze_fid_speed.json
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import scipy

from dfad_bench.core.cores import usable_cores
from dfad_bench.core.files import write_json
from dfad_bench.gaze.backends import pytorch_fid_function
from dfad_bench.gaze.resample import resampled_gaussians
from dfad_bench.metrics.frechet import gaussian_frechet_2d

CLOSED_RUNS = 100  # one takes a millisecond, too short to time
Gaussians = tuple[np.ndarray, np.ndarray]  # means (..., 2) and covariances (..., 2, 2)


def vectors(generators: int, faces: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaze of real (faces, 2) and forged faces (generators, faces, 2), radians, spread as gaze is."""
    rng = np.random.default_rng(seed)
    spread = np.array([0.12, 0.18])
    shifts = rng.normal(0, 0.05, (generators, 1, 2))
    scales = rng.uniform(0.7, 1.3, (generators, 1, 2))
    real = rng.standard_normal((faces, 2)) * spread
    return real, rng.standard_normal((generators, faces, 2)) * spread * scales + shifts


def resample(real: np.ndarray, fakes: np.ndarray, draws: int, seed: int) -> tuple[Gaussians, Gaussians]:
    """As the study does it, every face a source of its own; the draws of the real faces are shared by all."""
    names = np.arange(len(real))
    each = [resampled_gaussians(fake, names + (1 + place) * len(real), draws, seed) for place, fake in enumerate(fakes)]
    forged = (np.stack([mean for mean, _ in each]), np.stack([cov for _, cov in each]))
    return resampled_gaussians(real, names, draws, seed), forged


def resample_plainly(
    real: np.ndarray, fakes: np.ndarray, draws: int, seed: int
) -> list[list[tuple[Gaussians, Gaussians]]]:
    """As one would write it around pytorch-fid: draw faces, then `np.mean` and `np.cov` as that package has them."""
    rng = np.random.default_rng(seed)
    n = len(real)

    def sum_one_run(rows: np.ndarray) -> Gaussians:
        drawn = rows[rng.integers(0, n, n)]
        return np.mean(drawn, axis=0), np.cov(drawn, rowvar=False)

    return [[(sum_one_run(real), sum_one_run(fake)) for _ in range(draws)] for fake in fakes]


def timed(work: Callable[[], Any], times: int = 1) -> tuple[float, Any]:
    """CPU seconds of one run (mean over `times`) and the last result.

    Not wall time: on a busy machine a short run escapes the waiting that a long one suffers, which would flatter the
    closed form.
    """
    began = time.process_time()
    for _ in range(times):
        result = work()
    return (time.process_time() - began) / times, result


def peak_mebibytes(work: Callable[[], Any]) -> float:
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def one_by_one(real: Gaussians, forged: Gaussians, every: int) -> np.ndarray:
    """pytorch-fid's function on every `every`-th draw of each generator, as (generators, draws)."""
    distance = pytorch_fid_function()
    real_means, real_covs = real[0][::every], real[1][::every]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.array(
            [
                [distance(*pair) for pair in zip(real_means, real_covs, means[::every], covs[::every], strict=True)]
                for means, covs in zip(*forged, strict=True)
            ]
        )


def measure(generators: int, faces: int, draws: int, every: int, rounds: int) -> dict[str, Any]:
    """Microseconds an evaluation and ratios, medians over rounds in which the two sides take turns."""
    real, fakes = vectors(generators, faces, seed=0)
    evaluations, called = generators * draws, generators * len(range(0, draws, every))
    plain_draws = max(1, draws // (every * 10))
    pytorch_fid_function()  # its import is not counted
    times: dict[str, list[float]] = {key: [] for key in ("closed", "pytorch", "resample", "resample_plain")}
    differences = []
    for turn in range(rounds):
        seconds, (real_side, forged_side) = timed(lambda turn=turn: resample(real, fakes, draws, turn))
        times["resample"].append(seconds / evaluations)
        seconds, _ = timed(lambda turn=turn: resample_plainly(real, fakes, plain_draws, turn))
        times["resample_plain"].append(seconds / (generators * plain_draws))
        arguments = (*real_side, *forged_side)
        seconds, found = timed(lambda arguments=arguments: gaussian_frechet_2d(*arguments), CLOSED_RUNS)
        times["closed"].append(seconds / evaluations)
        seconds, theirs = timed(lambda sides=(real_side, forged_side): one_by_one(*sides, every))
        times["pytorch"].append(seconds / called)
        differences.append(float(np.abs(found[:, ::every] - theirs).max()))
    peaks = (
        peak_mebibytes(lambda: gaussian_frechet_2d(*real_side, *forged_side)),
        peak_mebibytes(lambda: resample(real, fakes, draws, 0)),
    )
    facts = {"evaluations": evaluations, "called_one_by_one": called, "largest_difference": max(differences)}
    return {**facts, **summary(times, evaluations, peaks)}


def summary(times: dict[str, list[float]], evaluations: int, peaks: tuple[float, float]) -> dict[str, Any]:
    """Medians over rounds of seconds an evaluation, as microseconds and ratios."""
    middle = {key: median(values) * 1e6 for key, values in times.items()}
    ours, whole = (np.array(times[a]) + times[b] for a, b in (("resample", "closed"), ("resample_plain", "pytorch")))
    distances = np.array(times["pytorch"]) / times["closed"]
    return {
        "distance_alone": {
            "closed_form_us": round(middle["closed"], 4),
            "pytorch_fid_us": round(middle["pytorch"], 3),
            "ratio": round(float(np.median(distances)), 1),
            "ratio_of_each_round": [round(float(value), 1) for value in distances],
            "peak_mib": round(peaks[0], 1),
        },
        "with_resampling": {
            "ours_us": round(middle["resample"] + middle["closed"], 2),
            "plain_us": round(middle["resample_plain"] + middle["pytorch"], 2),
            "ratio": round(float(np.median(whole / ours)), 1),
            "ours_seconds_in_all": round((middle["resample"] + middle["closed"]) * evaluations / 1e6, 2),
            "peak_mib": round(peaks[1], 1),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generators", type=int, default=20)
    parser.add_argument("--faces", type=int, default=10_000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--every", type=int, default=10, help="pytorch-fid runs on every so many draws")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    options = parser.parse_args()
    facts = measure(options.generators, options.faces, options.draws, options.every, options.rounds)
    result = {
        "question": "FID with bootstrap of a gaze study, against one call of pytorch-fid's function an evaluation",
        "settings": {key: value for key, value in vars(options).items() if key != "out"},
        **facts,
        "versions": {"numpy": np.__version__, "scipy": scipy.__version__, "python": platform.python_version()},
        "hardware": {"machine": platform.machine(), "cores": usable_cores()},
        "process_peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 0),
    }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
