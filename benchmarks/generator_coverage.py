"""Do intervals over generators hold the truth for other generators, and does a comparison of equals name a winner?

Generators are drawn from a population with a known mean, then faces of each; the interval of `metrics.over_generators`
is made of the numbers, and it is counted how often it holds the mean over the population. Populations differ in how
unlike their generators are, in the shape of that spread, and in whether all generators forge the same targets. Beside
it the percentile bootstrap over generators, and the interval over sources, which answers another question.

- `mean`: a share of each generator (unseen accuracy), and an area under the curve of each against the same real faces.
- `difference`: two models, whose generators' effects are correlated, equal on average over the population.
- `table`: the same with several numbers of each, Holm's correction over them: how often is any winner named?

In the population `rare` one generator of twenty is missed by every model: with few generators mostly none is among
them, and no interval holds. It counts for nothing, and is here to be seen.

    python benchmarks/generator_coverage.py --resamples 60 --out benchmarks/results/generator_coverage.json
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Sequence
from functools import partial
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from interval_coverage import NOMINAL, WANTED, parse_options, write_or_print

from dfad_bench.metrics.detection import auc
from dfad_bench.metrics.interval import ClusterBootstrap, bounds
from dfad_bench.metrics.over_generators import spread_over_generators
from dfad_bench.metrics.paired import holm
from dfad_bench.metrics.spread import Spread, difference_interval, difference_p, interval, spread

COUNTS = (3, 4, 5, 6, 8, 12)
SOURCES, FACES = 20, 2  # of each generator; faces of a source
SHARED = (False, True)
LEVEL = 0.05
NUMBERS = ("share", "area")
SHIFTS = (0.0, 0.7, 1.4)  # of the thresholds of the shares in a table of several numbers
_Z95 = 1.959963984540054


def normal(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """Effects of deviation 1."""
    return rng.normal(size=size)


def heavy(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """Effects of Student's t with 4 degrees of freedom, of deviation 1."""
    return rng.standard_t(4, size=size) / sqrt(2)


def skewed(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """Effects with a long tail of hard generators."""
    return 1 - rng.exponential(size=size)


def two_kinds(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """Three in ten are hard: effects of deviation 1."""
    hard = rng.random(size) < 0.3
    return np.where(hard, -sqrt(0.7 / 0.3), sqrt(0.3 / 0.7))


def rare(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """One in twenty is missed."""
    return np.where(rng.random(size) < 0.05, -8.0, 0.0)


# the effect, its deviation in logits
POPULATIONS: dict[str, tuple[Any, float]] = {
    "equal": (normal, 0.0), "alike": (normal, 0.3), "normal": (normal, 1.0), "wide": (normal, 2.0),
    "heavy tails": (heavy, 1.0), "skewed": (skewed, 0.7), "two kinds": (two_kinds, 0.8), "rare": (rare, 1.0),
}  # fmt: skip
JUDGED = tuple(name for name in POPULATIONS if name != "rare")
_EASE, _BY_SOURCE = 1.0, 0.7


def _expit(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def truth(population: str, number: str, shift: float = 0.0) -> float:
    """The mean over all generators there could be."""
    effect, deviation = POPULATIONS[population]
    rng = np.random.default_rng(1)
    at = _EASE - shift + deviation * effect(rng, (400_000,))
    if number == "share":
        return float(_expit(at + _BY_SOURCE * rng.normal(size=400_000)).mean())
    from scipy.special import ndtr

    return float(ndtr(at / sqrt(2 + 2 * _BY_SOURCE**2)).mean())


class Drawn:
    """Faces of drawn generators, seen by one model or two: rows, their generators and sources, effects of both."""

    def __init__(self, population: str, count: int, shared: bool, rng: np.random.Generator, models: int) -> None:
        effect, deviation = POPULATIONS[population]
        own, common = effect(rng, (models, count)), effect(rng, (1, count))
        mixed = own if models == 1 else np.where(rng.random((1, count)) < 0.5, common, own)  # alike in half of them
        self.count, self.rng, self.shared = count, rng, shared
        self.generator = np.repeat(np.arange(count), SOURCES * FACES)
        place = np.tile(np.repeat(np.arange(SOURCES), FACES), count)
        self.source = place if shared else self.generator * SOURCES + place
        by_source = _BY_SOURCE * rng.normal(size=(1, SOURCES if shared else count * SOURCES))
        self.at = _EASE + deviation * mixed[:, self.generator] + by_source[:, self.source]
        self.uniform = rng.random(self.at.shape)
        self.real_source = np.repeat(np.arange(SOURCES), FACES) + 10_000
        self.real = np.repeat(_BY_SOURCE * rng.normal(size=(1, SOURCES)), FACES, axis=1) + rng.normal(
            size=(models, SOURCES * FACES)
        )
        self.score = self.at + rng.normal(size=self.at.shape)

    def share(self, resamples: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, ClusterBootstrap]:
        """Of each model and generator (m, G); in resamples (m, b, G); that of the mean (m, b)."""
        hits = self.uniform < _expit(self.at - shift)
        values = hits.reshape(len(hits), self.count, -1).mean(axis=2)
        boot = ClusterBootstrap(self.generator, self.source, resamples=resamples, seed=0)
        own = self.generator[:, None] == np.arange(self.count)
        each = np.stack([_each(boot, mine, own) for mine in hits])
        return values, each, each.mean(axis=2), boot

    def area(self, resamples: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, ClusterBootstrap]:
        """The same of areas against the real faces."""
        stratum = np.concatenate([self.generator, np.full(len(self.real_source), -1)])
        boot = ClusterBootstrap(stratum, np.concatenate([self.source, self.real_source]), resamples=resamples, seed=0)
        fake = stratum >= 0
        values, each = [], []
        for score, real in zip(self.score, self.real, strict=True):
            scores = np.concatenate([score, real])
            rows = [(stratum == g) | ~fake for g in range(self.count)]
            values.append([auc(fake[r].astype(int), scores[r]) for r in rows])
            each.append([boot.ranking_draws(fake, scores, among=r, only=("auc",))["auc"] for r in rows])
        draws = np.array(each).transpose(0, 2, 1)
        return np.array(values, dtype=float), draws, draws.mean(axis=2), boot


def _each(boot: ClusterBootstrap, hits: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The share of each generator in each resample (b, G)."""
    return np.stack(
        [boot.ratios_draws((own * hits[:, None])[:, [g]], own[:, [g]]) for g in range(own.shape[1])], axis=1
    )


def _spreads(
    values: np.ndarray, each: np.ndarray, mean: np.ndarray, boot: ClusterBootstrap
) -> tuple[Spread | None, Spread | None]:
    """Over generators, and over sources alone."""
    own = [Spread(float(np.nanstd(column, ddof=1)), SOURCES - 1.0) for column in each.T]
    over_sources = spread(mean, boot)
    return spread_over_generators(values, own, over_sources, least=2), over_sources


def one_mean(population: str, count: int, shared: bool, resamples: int, seed: int) -> dict[str, Any]:
    """Which intervals of one draw of generators hold the truth."""
    rng = np.random.default_rng([seed, count, shared, sorted(POPULATIONS).index(population)])
    drawn, found = Drawn(population, count, shared, rng, 1), {}
    for number in NUMBERS:
        values, each, mean, boot = getattr(drawn, number)(resamples)
        true, middle = _TRUTHS[population, number], float(values.mean())
        of, over_sources = _spreads(values[0], each[0], mean[0], boot)
        again = rng.integers(count, size=(resamples, count))
        found[number] = {
            "generators": _holds(None if of is None else interval(middle, of, (0, 1)), true),
            "percentile": _holds(bounds(values[0][again].mean(axis=1)), true),
            "sources": _holds(None if over_sources is None else interval(middle, over_sources, (0, 1)), true),
        }
    return found


def _holds(between: tuple[float, float] | None, true: float) -> bool | None:
    return None if between is None else bool(between[0] <= true <= between[1])


def one_difference(population: str, count: int, shared: bool, resamples: int, seed: int) -> dict[str, Any]:
    """Of two models that are equal on average: which intervals hold 0, and which winners are named."""
    rng = np.random.default_rng([seed, count, shared, sorted(POPULATIONS).index(population), 2])
    drawn = Drawn(population, count, shared, rng, 2)
    found, tests, over = {}, [], []
    for number, shift in (*(("share", shift) for shift in SHIFTS), ("area", 0.0)):
        values, each, mean, boot = getattr(drawn, number)(resamples, shift)
        of, over_sources = _spreads(values[0] - values[1], each[0] - each[1], mean[0] - mean[1], boot)
        difference = float((values[0] - values[1]).mean())
        tests.append(None if of is None else difference_p(difference, of, (0, 1)))
        over.append(None if over_sources is None else difference_p(difference, over_sources, (0, 1)))
        if shift == 0.0:
            found[number] = _holds(None if of is None else difference_interval(difference, of, (0, 1)), 0.0)
    named = {"winner": _any_winner(tests), "winner_over_sources": _any_winner(over)}
    return {**found, **named}


def _share(held: Sequence[bool | None]) -> float | None:
    known = [one for one in held if one is not None]
    return round(sum(known) / len(known), 4) if known else None


def _any_winner(tests: list[float | None]) -> bool:
    return any(p is not None and p < LEVEL for p in holm(tests))


_TRUTHS: dict[tuple[str, str], float] = {}


def _cell(repeats: int, resamples: int, of: tuple[str, int, bool]) -> list[dict[str, Any]]:
    """All rows of one population, number of generators and kind of sources."""
    for number in NUMBERS:
        _TRUTHS.setdefault((of[0], number), truth(of[0], number))
    about = {"population": of[0], "count": of[1], "shared_targets": of[2]}
    means = [one_mean(*of, resamples, seed) for seed in range(repeats)]
    pairs = [one_difference(*of, resamples, seed) for seed in range(repeats)]
    rows: list[dict[str, Any]] = []
    for number in NUMBERS:
        others = {f"held_by_{rule}": _share([one[number][rule] for one in means]) for rule in ("percentile", "sources")}
        for kind, made in (
            ("mean", [one[number]["generators"] for one in means]),
            ("difference", [one[number] for one in pairs]),
        ):
            known = sum(one is not None for one in made)
            rows.append({**about, "of": kind, "number": number, "held": _share(made), "intervals": known})
            rows[-1] |= others if kind == "mean" else {}
    rows.append({**about, "of": "table", "numbers": len(SHIFTS) + 1})
    for name in ("winner", "winner_over_sources"):
        rows[-1][name] = round(sum(one[name] for one in pairs) / repeats, 4)
    return rows


def simulate(repeats: int, resamples: int, workers: int) -> dict[str, Any]:
    """Every cell."""
    cells = [(name, count, shared) for name in POPULATIONS for count in COUNTS for shared in SHARED]
    with multiprocessing.Pool(workers) as pool:
        rows = [row for made in pool.imap(partial(_cell, repeats, resamples), cells) for row in made]
    return {
        "question": "do intervals over generators hold the mean over a population of generators?",
        "repeats": repeats, "resamples": resamples, "sources_of_a_generator": SOURCES, "faces_of_a_source": FACES,
        "judged": list(JUDGED), "wanted": WANTED, "least_generators": least_generators(rows), "rows": rows,
    }  # fmt: skip


def page_rows(found: dict[str, Any]) -> list[str]:
    """The rows of the table in docs/uncertainty.md: of each population the worst share of each column, in percent."""

    def worst(population: str, kind: str, key: str, counts: Sequence[int], pick: Any) -> str:
        values = [
            row[key] for row in found["rows"]
            if (row["population"], row["of"]) == (population, kind) and row["count"] in counts and row[key] is not None
        ]  # fmt: skip
        return f"{100 * pick(values):.0f}"

    columns: list[tuple[str, str, Sequence[int], Any]] = [
        *(("mean", "held", (count,), min) for count in (3, 6, 8, 12)),
        ("mean", "held_by_percentile", (8,), min), ("mean", "held_by_sources", (8,), min),
        ("table", "winner", (8, 12), max), ("table", "winner_over_sources", (8, 12), max),
    ]  # fmt: skip
    return [f"| {name} | " + " | ".join(worst(name, *column) for column in columns) + " |" for name in POPULATIONS]


def least_generators(rows: list[dict[str, Any]]) -> int:
    """From how many generators on every judged population's intervals hold, less two Monte Carlo errors."""
    fails = [row["count"] for row in rows if row["population"] in JUDGED and row["of"] != "table" and not _is_held(row)]
    return min((count for count in COUNTS if count > max(fails, default=0)), default=COUNTS[-1] + 1)


def _is_held(row: dict[str, Any]) -> bool:
    share, n = row["held"], row["intervals"]
    return share is not None and share >= WANTED - 2 * sqrt(NOMINAL * (1 - NOMINAL) / n)


def main() -> int:
    """Run all cells and print or write what was found."""
    options = parse_options(__doc__, repeats=1000)
    found = simulate(options.repeats, options.resamples, options.workers)
    write_or_print(found, options.out)
    print("\n".join(page_rows(found)), file=sys.stderr)  # as docs/uncertainty.md has them
    return 0


if __name__ == "__main__":
    sys.exit(main())
