"""Do intervals over generators hold where real faces are of several collections, which are drawn, too?

As `generator_coverage.py`, of areas under the curve: generators are drawn from a population, and so are collections of
real faces, of which each model finds some harder than others. The truth is the mean over both populations. Beside the
interval that draws collections, too (`metrics.over_real_sources`), the one that holds them fixed. Collections are of
unlike sizes: the largest has five times the sources of the smallest.

- `mean`: the area of one model.
- `difference`: two models, equal on average over both populations; what they find hard is alike in half of the cases.

Spreads over sources are by DeLong's variance, which takes minutes in place of an hour of bootstraps.

    python benchmarks/generator_coverage_reals.py --out benchmarks/results/generator_coverage_reals.json
"""

from __future__ import annotations

import multiprocessing
import sys
from functools import partial
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from generator_coverage import _BY_SOURCE, _EASE, FACES, POPULATIONS, SOURCES, Drawn, _holds, _share
from interval_coverage import NOMINAL, WANTED, parse_options, write_or_print

from dfad_bench.metrics.over_generators import LEAST_GENERATORS, spread_over_generators
from dfad_bench.metrics.over_real_sources import RealPlacements, spread_over_real_sources
from dfad_bench.metrics.spread import Spread, difference_interval, interval

COLLECTIONS = (3, 6, 12)
DEVIATIONS = (0.0, 0.5, 1.0)  # of what collections are harder by, in the units of scores
SHAPES = {"normal": False, "two kinds": True}  # of generators and collections; whether generators share targets
FEWEST, MOST = 6, 30  # sources of a collection


class DrawnReals(Drawn):
    """Faces of drawn generators, and real faces of drawn collections."""

    def __init__(
        self, shape: str, collections: int, hardness: float, shared: bool, rng: np.random.Generator, models: int
    ) -> None:
        super().__init__(shape, LEAST_GENERATORS, shared, rng, models)
        effect = POPULATIONS[shape][0]
        own, common = effect(rng, (models, collections)), effect(rng, (1, collections))
        mixed = own if models == 1 else np.where(rng.random((1, collections)) < 0.5, common, own)
        sizes = np.linspace(FEWEST, MOST, collections).round().astype(int)
        by_source = np.repeat(np.arange(collections), sizes)  # of each source its collection
        self.collection = np.repeat(by_source, FACES)
        self.real_source = np.repeat(np.arange(len(by_source)), FACES) + 10_000
        noise = _BY_SOURCE * rng.normal(size=(1, len(by_source)))
        self.real = hardness * mixed[:, self.collection] + np.repeat(noise, FACES, axis=1)
        self.real = self.real + rng.normal(size=self.real.shape)

    def placements(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each model and generator, of each forged face (m, G, n), and of each real face for that generator."""
        forged = self.score.reshape(len(self.score), self.count, -1)
        ahead = forged[:, :, :, None] > self.real[:, None, None, :]
        return ahead.mean(axis=3), ahead.mean(axis=2)

    def spreads(self, of_forged: np.ndarray, of_reals: np.ndarray) -> tuple[list[Spread], Spread]:
        """Over sources, by DeLong's variance: of the area of each generator, and of their mean.

        Args:
            of_forged: (G, n) placements, of one model or differences of two.
            of_reals: (G, reals) the same.
        """
        by_source = of_forged.reshape(self.count, SOURCES, FACES).mean(axis=2)
        own = by_source.var(axis=1, ddof=1) / SOURCES
        forged = by_source.mean(axis=0).var(ddof=1) / SOURCES if self.shared else own.sum() / self.count**2
        own = own + self._variance_of_reals(of_reals)
        mean = forged + self._variance_of_reals(of_reals.mean(axis=0, keepdims=True))[0]
        return [Spread(sqrt(one), SOURCES - 1.0) for one in own], Spread(sqrt(mean), SOURCES - 1.0)

    def _variance_of_reals(self, placed: np.ndarray) -> np.ndarray:
        """Of means of placements (k, reals), over sources within collections (k,)."""
        by_source = placed.reshape(len(placed), -1, FACES).mean(axis=2)
        of = self.collection[::FACES]
        found = np.zeros(len(placed))
        for k in range(int(of.max()) + 1):
            mine = by_source[:, of == k]
            found += (mine.shape[1] / len(of)) ** 2 * mine.var(axis=1, ddof=1) / mine.shape[1]
        return found


def true_area(shape: str, hardness: float) -> float:
    """The mean over all generators and collections there could be."""
    from scipy.special import ndtr

    effect, deviation = POPULATIONS[shape]
    rng, count = np.random.default_rng(1), 400_000
    ahead = _EASE + deviation * effect(rng, (count,)) - hardness * effect(rng, (count,))
    return float(ndtr(ahead / sqrt(2 + 2 * _BY_SOURCE**2)).mean())


def one_draw(of: tuple[str, int, float, bool], models: int, seed: int) -> dict[str, bool | None]:
    """Which intervals of one draw of generators and collections hold the truth: of a mean, or of two models' 0."""
    shape, count, hardness, shared = of
    rng = np.random.default_rng([seed, count, shared, models, int(10 * hardness), sorted(POPULATIONS).index(shape)])
    drawn = DrawnReals(shape, count, hardness, shared, rng, models)
    forged, reals = drawn.placements()
    of_forged, of_reals = (one[0] - one[1] if models == 2 else one[0] for one in (forged, reals))
    own, over_sources = drawn.spreads(of_forged, of_reals)
    values = of_forged.mean(axis=1)
    placed = RealPlacements(of_reals.mean(axis=0), drawn.collection, drawn.real_source)
    over_reals = spread_over_real_sources(placed, least=2)
    make, true = (interval, true_area_of[shape, hardness]) if models == 1 else (difference_interval, 0.0)
    found = {}
    for rule, among in (("held", over_reals), ("held_by_fixed_reals", None)):
        both = spread_over_generators(values.tolist(), own, over_sources, over_reals=among)
        found[rule] = _holds(None if both is None else make(float(values.mean()), both, (0, 1)), true)
    return found


true_area_of: dict[tuple[str, float], float] = {}


def _cell(repeats: int, of: tuple[str, int, float, bool]) -> list[dict[str, Any]]:
    shape, count, hardness, shared = of
    true_area_of.setdefault((shape, hardness), true_area(shape, hardness))
    about = {"population": shape, "collections": count, "deviation": hardness, "shared_targets": shared}
    rows = []
    for kind, models in (("mean", 1), ("difference", 2)):
        found = [one_draw(of, models, seed) for seed in range(repeats)]
        rows.append({**about, "of": kind, **{rule: _share([one[rule] for one in found]) for rule in found[0]}})
    return rows


def least_collections(rows: list[dict[str, Any]], repeats: int) -> int:
    """From how many collections on every interval holds, less two Monte Carlo errors."""
    wanted = WANTED - 2 * sqrt(NOMINAL * (1 - NOMINAL) / repeats)
    fails = [row["collections"] for row in rows if row["held"] is None or row["held"] < wanted]
    return min((count for count in COLLECTIONS if count > max(fails, default=0)), default=COLLECTIONS[-1] + 1)


def page_rows(found: dict[str, Any]) -> list[str]:
    """The rows of the table in docs/uncertainty.md: of each deviation the worst share by collections, in percent."""

    def worst(deviation: float, count: int, rule: str) -> str:
        shares = [r[rule] for r in found["rows"] if (r["deviation"], r["collections"]) == (deviation, count)]
        return f"{100 * min(shares):.0f}"

    wanted = (*((count, "held") for count in COLLECTIONS), (6, "held_by_fixed_reals"), (12, "held_by_fixed_reals"))
    return [
        f"| {deviation:g} | " + " | ".join(worst(deviation, count, rule) for count, rule in wanted) + " |"
        for deviation in DEVIATIONS
    ]


def main() -> int:
    """Run all cells and print or write what was found."""
    options = parse_options(__doc__, repeats=1000)
    cells = [(shape, c, d, shared) for shape, shared in SHAPES.items() for c in COLLECTIONS for d in DEVIATIONS]
    with multiprocessing.Pool(options.workers) as pool:
        rows = [row for made in pool.imap(partial(_cell, options.repeats), cells) for row in made]
    found = {
        "question": "do intervals over generators hold where collections of real faces are drawn, too?",
        "repeats": options.repeats, "generators": LEAST_GENERATORS,
        "sources_of_a_collection": [FEWEST, MOST], "faces_of_a_source": FACES, "wanted": WANTED,
        "least_collections": least_collections(rows, options.repeats), "rows": rows,
    }  # fmt: skip
    write_or_print(found, options.out)
    print("\n".join(page_rows(found)), file=sys.stderr)  # as docs/uncertainty.md has them
    return 0


if __name__ == "__main__":
    sys.exit(main())
