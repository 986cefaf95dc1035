"""Do the numbers of a gaze study mean what they say where faces are frames of a few videos?

Gaze is drawn with a known truth: a video has a gaze of its own, its frames scatter around it. Four things are counted:
how often real faces exceed "floor 95 %" against more real faces (5 in 100 at most), how often intervals of distances,
of means over generators and of pairs hold the truth (95 in 100), and what the test of diffusion against GAN says
where neither differs. "before" takes every face as independent, as the study did once: intervals from resampled
faces, floors from halves of the real faces, a one-sided test whose every p above 0.05 with the wrong sign was "not as
claimed". `--few` counts coverage by number of sources instead: the constants of `dfad_bench.gaze.sources` are read off
it.

Example: OMP_NUM_THREADS=1 python benchmarks/gaze_coverage.py --out benchmarks/results/gaze_coverage.json
         OMP_NUM_THREADS=1 python benchmarks/gaze_coverage.py --few --out benchmarks/results/gaze_sources.json
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from dfad_bench.core.files import write_json
from dfad_bench.gaze import fid, sources
from dfad_bench.gaze.claims import SIGNIFICANT, check_claims
from dfad_bench.gaze.fid import FidStudy, RealSide, Side, distance_interval, study_fid
from dfad_bench.gaze.pairs import PairStudy, study_pairs
from dfad_bench.gaze.rows import GeneratorGaze
from dfad_bench.metrics.frechet import gaussian, gaussian_frechet_2d

SPREAD_RAD = np.array([0.12, 0.18])  # of gaze in portraits: pitch, yaw
GOAL = 0.93  # coverage that an interval of 95 % must reach, less two Monte Carlo errors
GENERATORS = 4  # in the mean over generators


@dataclass(frozen=True)
class Faces:
    """Real and forged faces: `real` and `fake` are (sources, faces of each).

    `share` of the variance is between sources; `tails` are degrees of freedom of Student's t, 0 for the normal;
    `shared`: forged faces have the sources of the real ones, and their gaze; `unequal`: the first sources have most
    of the faces; `shift_rad` is added to the forged yaw.
    """

    real: tuple[int, int]
    fake: tuple[int, int]
    share: float = 0.9
    tails: int = 0
    shared: bool = False
    unequal: bool = False
    shift_rad: float = 0.0

    def draw(self, rng: np.random.Generator) -> tuple[Side, Side]:
        """One draw of both sides."""
        real_own, fake_own = self._draw_sources(rng, self.real[0]), self._draw_sources(rng, self.fake[0])
        names = [f"r{i}" for i in range(self.real[0])]
        real = self._frames(rng, real_own, names, self.real[1])
        if self.shared:
            fake_own = real_own[: self.fake[0]]
        else:
            names = [f"f{i}" for i in range(self.fake[0])]
        fake = self._frames(rng, fake_own, names, self.fake[1])
        return real, replace(fake, vectors=fake.vectors + [0.0, self.shift_rad])

    def _draw_sources(self, rng: np.random.Generator, count: int) -> np.ndarray:
        if not self.tails:
            return rng.standard_normal((count, 2))
        return rng.standard_t(self.tails, (count, 2)) / np.sqrt(self.tails / (self.tails - 2))

    def _frames(self, rng: np.random.Generator, own: np.ndarray, names: list[str], frames: int) -> Side:
        weights = 0.85 ** np.arange(len(own)) if self.unequal else np.ones(len(own))
        sizes = np.maximum(1, np.round(frames * len(own) * weights / weights.sum())).astype(int)
        noise = rng.standard_normal((sizes.sum(), 2)) * np.sqrt(1 - self.share)
        return Side((np.sqrt(self.share) * np.repeat(own, sizes, axis=0) + noise) * SPREAD_RAD, np.repeat(names, sizes))


def study(real: Side, fake: Side, resamples: int, seed: int, *, floor: bool = True) -> tuple[FidStudy, np.ndarray]:
    """A generator's distance as a study computes it, and its resampled distances."""
    scope = RealSide("all", real, seed=seed, resamples=resamples)
    drawn = scope.distances(real, fake)
    return study_fid(real, fake, scope.floor(real.shape, fake.shape) if floor else None, drawn), drawn


def separate_sources(side: Side, name: str) -> Side:
    """The same faces, each taken for a source of its own."""
    return Side.of_single(side.vectors, name)


def floor_before(real: np.ndarray, n: int, rng: np.random.Generator) -> float:
    """95 % quantile of distances between halves of the real faces, scaled to n faces."""
    size = min(n, len(real) // 2)
    found = []
    for _ in range(200):
        order = rng.permutation(len(real))
        sides = gaussian(real[order[:size]]), gaussian(real[order[size : 2 * size]])
        found.append(float(gaussian_frechet_2d(*sides[0], *sides[1])) * size / n)
    return float(np.quantile(found, 0.95))


def distances(faces: Faces, times: int, resamples: int, seed: int, *, before: bool = True) -> dict[str, Any]:
    """Share of real against real above the floor, and of intervals that hold the truth, before and after."""
    found: Counter[str] = Counter()
    widths: dict[str, list[float]] = {"after": [], "before": []}
    effective = set()
    for turn in range(times):
        rng = np.random.default_rng([seed, turn])
        unshifted = replace(faces, shift_rad=0.0)
        null, _ = study(*unshifted.draw(rng), resamples, turn)
        if null.fid_rad2 is not None and null.floor_high_rad2 is not None:
            found["floors"] += 1
            found["above after"] += null.fid_rad2 > null.floor_high_rad2
        sides = faces.draw(rng)
        results = {"after": study(*sides, resamples, turn, floor=False)[0]}
        effective.add(results["after"].sources_effective)
        if before:
            plain = [separate_sources(side, name) for side, name in zip(unshifted.draw(rng), ("r", "f"), strict=True)]
            distance = float(gaussian_frechet_2d(*gaussian(plain[0].vectors), *gaussian(plain[1].vectors)))
            found["above before"] += distance > floor_before(plain[0].vectors, len(plain[1].vectors), rng)
            results["before"] = study(
                separate_sources(sides[0], "r"), separate_sources(sides[1], "f"), resamples, turn, floor=False
            )[0]
        for when, result in results.items():
            if result.low_rad2 is not None and result.high_rad2 is not None:
                found[f"intervals {when}"] += 1
                found[f"held {when}"] += result.low_rad2 <= faces.shift_rad**2 <= result.high_rad2
                widths[when].append(result.high_rad2 - result.low_rad2)
    facts: dict[str, Any] = {"effective_sources": sorted(effective)}
    for when in ("before", "after") if before else ("after",):
        facts[when] = {
            "above_floor": share(found[f"above {when}"], times if when == "before" else found["floors"]),
            "interval_covers": share(found[f"held {when}"], found[f"intervals {when}"]),
            "median_width_rad2": round(float(np.median(widths[when])), 5) if widths[when] else None,
        }
    return facts


def means(faces: Faces, times: int, resamples: int, seed: int) -> dict[str, Any]:
    """Coverage of the mean distance over generators that forge the same targets."""
    held = held_before = shown = 0
    for turn in range(times):
        rng = np.random.default_rng([seed, 1, turn])
        real, first = faces.draw(rng)
        fakes = [
            replace(first, vectors=first.vectors + rng.normal(0, 0.03, first.vectors.shape)) for _ in range(GENERATORS)
        ]
        truth = _moved_distance(faces.shift_rad)
        for sides in (
            [(real, fake) for fake in fakes],
            [(separate_sources(real, "r"), separate_sources(fake, f"f{i}")) for i, fake in enumerate(fakes)],
        ):
            found = [study(*side, resamples, turn, floor=False) for side in sides]
            value = float(np.mean([result.fid_rad2 for result, _ in found]))
            drawn = np.mean([each for _, each in found], axis=0)
            ends = distance_interval(value, drawn, min(result.sources_effective for result, _ in found))[1]
            if sides[0][0] is real:
                shown += ends is not None
                held += ends is not None and ends[0] <= truth <= ends[1]
            else:
                held_before += ends is not None and ends[0] <= truth <= ends[1]
    return {"before": {"interval_covers": share(held_before, times)}, "after": {"interval_covers": share(held, shown)}}


def _moved_distance(shift_rad: float) -> float:
    noisy = np.diag(SPREAD_RAD**2 + 0.03**2)
    return float(gaussian_frechet_2d([0, 0], np.diag(SPREAD_RAD**2), [0, shift_rad], noisy))


def pairs(count: int, frames: int, times: int, seed: int, *, before: bool = True) -> dict[str, Any]:
    """Coverage of paired means: each video's forgery keeps its gaze up to an error of the video's own."""
    truth = _pairs_truth()
    found: Counter[str] = Counter()
    for turn in range(times):
        for when in ("before", "after") if before else ("after",):
            result = _pairs_once(np.random.default_rng([seed, 3, turn]), count, frames, by_source=when == "after")
            for name in ("cosine_2d", "cosine_3d", "angle_rad"):
                mean, true = getattr(result, name), getattr(truth, name).value
                if mean.low is not None:
                    found[f"{when} {name} shown"] += 1
                    found[f"{when} {name}"] += mean.low <= true <= mean.high
    keys = [key for key in found if key.endswith(" shown")]
    return {key.removesuffix(" shown"): share(found[key.removesuffix(" shown")], found[key]) for key in sorted(keys)}


@cache
def _pairs_truth() -> PairStudy:
    return _pairs_once(np.random.default_rng(2), 100_000, 1, by_source=True)


def _pairs_once(rng: np.random.Generator, count: int, frames: int, *, by_source: bool) -> PairStudy:
    import pandas as pd

    own = rng.standard_normal((count, 1, 2)) * SPREAD_RAD + [0.1, 0.2]
    error = rng.standard_normal((count, 1, 2)) * 0.08
    real = (own + rng.standard_normal((count, frames, 2)) * 0.03).reshape(-1, 2)
    fake = real + (error + rng.standard_normal((count, frames, 2)) * 0.02).reshape(-1, 2)
    ids = [f"{i:06d}" for i in range(len(real))]
    keys = [f"a/{i // frames}" for i in range(len(real))] if by_source else [None] * len(ids)

    def rows(names: list[str], angles: np.ndarray) -> pd.DataFrame:
        facts = {"sample_id": names, "dataset": "a", "forgery": "FS", "source_key": keys}
        return pd.DataFrame({**facts, "pitch_rad": angles[:, 0], "yaw_rad": angles[:, 1]})

    fakes = rows([f"f{name}" for name in ids], fake).assign(target_id=ids)
    return study_pairs(fakes, rows(ids, real), samples=len(ids), seed=0)


def claims(times: int, resamples: int, seed: int) -> dict[str, Any]:
    """Verdicts where no family differs: a GAN has 12 videos of 8 frames, diffusion 96 images."""
    verdicts: dict[str, Counter[str]] = {"before": Counter(), "after": Counter()}
    any_wrong: Counter[str] = Counter()
    for turn in range(times):
        rng = np.random.default_rng([seed, 4, turn])
        rows: dict[str, list[GeneratorGaze]] = {"before": [], "after": []}
        real = Faces((96, 1), (1, 1)).draw(rng)[0]
        for place in range(16):
            family, forgery = ("gan", "diffusion")[place % 2], ("EFS", "FS")[place // 8]
            faces = Faces((1, 1), (12, 8) if family == "gan" else (96, 1), shift_rad=abs(rng.normal(0, 0.06)))
            fake = faces.draw(rng)[1]
            for when, sides in (
                ("after", (real, fake)),
                ("before", (separate_sources(real, "r"), separate_sources(fake, "f"))),
            ):
                fid, _ = study(*sides, resamples, turn, floor=False)
                row = GeneratorGaze("a", f"g{place}", forgery, family, "a", 96, 0, 0.0, 0.0, fid, PairStudy(0))
                rows[when].append(row)
        for when in rows:
            tests = check_claims(rows[when], seed=turn)
            found_verdicts = [
                test.verdict if when == "after" else verdict_before(test.p, test.difference) for test in tests
            ]
            verdicts[when][found_verdicts[0]] += 1
            any_wrong[when] += any(verdict.endswith("as claimed") for verdict in found_verdicts)
    return {
        when: {
            "all_generators": {verdict: share(count, times) for verdict, count in sorted(found.items())},
            "a_verdict_in_some_scope": share(any_wrong[when], times),
        }
        for when, found in verdicts.items()
    }


def verdict_before(p: float | None, difference: float | None) -> str:
    assert p is not None
    assert difference is not None
    if p <= SIGNIFICANT:
        return "as claimed"
    return "undecided" if difference > 0 else "not as claimed"


def share(count: int, of: int) -> float | None:
    return round(count / of, 4) if of else None


def few_sources(times: int, resamples: int, seed: int) -> dict[str, Any]:
    """Coverage and exceeded floors by number of sources, also where a study shows none."""
    sources.LEAST_SOURCES = fid.LEAST_SOURCES = fid.LEAST_FLOOR_SOURCES = 2
    sources.LEAST_PAIR_SOURCES.update(dict.fromkeys(sources.LEAST_PAIR_SOURCES, 2))
    found: dict[str, Any] = {}
    for count in (3, 4, 5, 6, 8, 10, 12, 16, 20):
        sized = Faces((count, 16), (count, 16), shift_rad=0.12)
        kinds = {
            "videos": sized,
            "heavy tails": replace(sized, tails=5),
            "half within": replace(sized, share=0.5),
            "shared targets": replace(sized, shared=True),
            "many real": replace(sized, real=(20 * count, 1)),
        }
        found[str(count)] = {
            kind: distances(faces, times, resamples, seed, before=False)["after"] for kind, faces in kinds.items()
        }
    of_pairs = {str(count): pairs(count, 16, times, seed, before=False) for count in (5, 8, 10, 20, 30, 50)}
    return {"distances": found, "pairs": of_pairs}


def measure(times: int, resamples: int, seed: int) -> dict[str, Any]:
    """Before and after, by what the faces are."""
    kinds = {
        "20 videos of 16 frames": Faces((20, 16), (20, 16), shift_rad=0.08),
        "20 videos of 4 frames": Faces((20, 4), (20, 4), shift_rad=0.08),
        "20 videos of 1 frame": Faces((20, 1), (20, 1), shift_rad=0.08),
        "320 images": Faces((320, 1), (320, 1), shift_rad=0.08),
        "60 videos of 1 to 40 frames": Faces((60, 5), (60, 5), unequal=True, shift_rad=0.08),
        "30 videos of 10 frames, the targets'": Faces((30, 10), (30, 10), shared=True, shift_rad=0.08),
    }
    return {
        "distances": {kind: distances(faces, times, resamples, seed) for kind, faces in kinds.items()},
        "means_over_generators": means(Faces((20, 16), (20, 16), shared=True, shift_rad=0.08), times, resamples, seed),
        "pairs": {f"40 videos of {n} frames": pairs(40, n, times, seed) for n in (16, 1)},
        "claims": claims(times, resamples, seed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=300, help="simulated studies of each kind")
    parser.add_argument("--resamples", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--few", action="store_true", help="coverage by number of sources instead")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    options = parser.parse_args()
    asked = (options.times, options.resamples, options.seed)
    result = {
        "question": "How often do floors, intervals and tests of a gaze study err where faces are frames of videos?",
        "settings": {key: value for key, value in vars(options).items() if key not in ("out", "few")},
        "monte_carlo_error_at_0.95": round(float(np.sqrt(0.95 * 0.05 / options.times)), 4),
        "goal": GOAL,
        "least": {
            "distance": sources.LEAST_SOURCES,
            "floor": sources.LEAST_FLOOR_SOURCES,
            **sources.LEAST_PAIR_SOURCES,
        },
        **(few_sources(*asked) if options.few else measure(*asked)),
        "versions": {"numpy": np.__version__, "python": platform.python_version()},
    }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
