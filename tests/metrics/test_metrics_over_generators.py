from __future__ import annotations

import json
from importlib import import_module
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dfad_bench.metrics.over_generators import (
    LEAST_GENERATORS,
    next_generator,
    spread_of_pooled,
    spread_over_families,
    spread_over_generators,
    too_few_generators,
)
from dfad_bench.metrics.spread import Spread, quantile, variance_of_mean

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "generator_coverage.json"
VALUES = [0.91, 0.62, 0.84, 0.97, 0.55, 0.73, 0.88, 0.79]


def test_the_interval_of_a_mean_over_generators_is_students() -> None:
    of = spread_over_generators(VALUES)
    assert of is not None
    theirs = stats.t.interval(0.95, len(VALUES) - 1, loc=np.mean(VALUES), scale=stats.sem(VALUES))
    mean, reach = np.mean(VALUES), quantile(of.df) * of.error
    assert (mean - reach, mean + reach) == pytest.approx(theirs, abs=1e-12)


def test_what_generators_share_comes_on_top_and_their_own_noise_does_not() -> None:
    alone = spread_over_generators(VALUES)
    own = [Spread(0.05, 10.0)] * len(VALUES)
    apart = Spread(0.05 / sqrt(len(VALUES)), 10.0)  # over sources no more than each generator's own noise
    shared = Spread(0.2, 10.0)
    assert alone is not None
    assert spread_over_generators(VALUES, own, apart) == alone
    more = spread_over_generators(VALUES, own, shared)
    assert more is not None
    assert more.error**2 == pytest.approx(alone.error**2 + 0.2**2 - 0.05**2 / len(VALUES))
    assert spread_over_generators(VALUES, [*own[1:], None], shared) == alone  # one generator's is not known


def test_groups_that_are_no_generators_weaken_the_spread_of_the_mean() -> None:
    alone, beside = spread_over_generators(VALUES), spread_over_generators(VALUES, fixed=1)
    assert alone is not None
    assert beside is not None
    assert beside.error == pytest.approx(alone.error * len(VALUES) / (len(VALUES) + 1))


@pytest.mark.parametrize("count", range(1, LEAST_GENERATORS))
def test_few_generators_have_no_spread_and_a_reason(count: int) -> None:
    assert spread_over_generators(VALUES[:count]) is None
    assert next_generator(VALUES[:count]) is None
    assert str(count) in str(too_few_generators(count))


def test_enough_generators_have_no_reason() -> None:
    assert too_few_generators(LEAST_GENERATORS) is None
    assert spread_over_generators(VALUES[:LEAST_GENERATORS]) is not None


def test_generators_alike_have_no_spread() -> None:
    assert spread_over_generators([0.5] * 8) is None
    assert spread_over_families([0.5] * 8, list("abcdefgh")) is None
    assert next_generator([0.1] * 8) is None


def test_each_generator_in_a_family_of_its_own_is_the_spread_over_generators() -> None:
    by_family = spread_over_families(VALUES, list("abcdefgh"))
    alone = spread_over_generators(VALUES)
    assert by_family is not None
    assert alone is not None
    assert by_family == pytest.approx(alone)


def test_related_generators_count_once() -> None:
    twice = VALUES * 2
    families = list("abcdefgh") * 2
    by_family, alone, naive = (
        spread_over_families(twice, families), spread_over_generators(VALUES), spread_over_generators(twice),
    )  # fmt: skip
    assert by_family is not None
    assert alone is not None
    assert naive is not None
    assert by_family == pytest.approx(alone)
    assert naive.error < by_family.error
    assert spread_over_families(VALUES, list("aabbcdef")) is None  # six families


@given(st.lists(st.floats(-1, 1), min_size=LEAST_GENERATORS, max_size=20))
def test_the_next_generator_of_both_signs_is_the_complement(differences: list[float]) -> None:
    one, other = next_generator(differences), next_generator([-d for d in differences])
    if one is None or other is None:
        assert one is other
        return
    assert one.probability + other.probability == pytest.approx(1)
    assert (one.wins, one.ties, one.losses) == (other.losses, other.ties, other.wins)
    assert one.wins + one.ties + one.losses == len(differences)


def test_the_next_generator_is_predicted_as_often_as_said() -> None:
    """Whatever the mean difference is (it is drawn from a wide range): stated probabilities are shares of wins."""
    rng = np.random.default_rng(0)
    stated, won = [], []
    for _ in range(3000):
        drawn = rng.normal(size=9) + rng.uniform(-8, 8)
        found = next_generator(drawn[:8])
        assert found is not None
        stated.append(found.probability)
        won.append(drawn[8] > 0)
    for low, high in ((0.0, 1.0), (0.05, 0.35), (0.35, 0.65), (0.65, 0.95)):
        chosen = (np.array(stated) >= low) & (np.array(stated) <= high)
        assert np.mean(np.array(won)[chosen]) == pytest.approx(np.mean(np.array(stated)[chosen]), abs=0.09)


def test_a_pooled_mean_of_generators_of_as_many_faces_is_their_mean() -> None:
    rng = np.random.default_rng(8)
    names, sources = np.repeat(np.arange(9), 40), np.repeat(np.arange(90), 4)
    values = rng.random(360) + 0.3 * rng.normal(size=9)[names]
    own = [Spread(variance_of_mean(values[names == k], sources[names == k]) ** 0.5, 9.0) for k in range(9)]
    over = Spread(0.09, 30.0)
    pooled = spread_of_pooled(values, names, sources, range(9), over)
    apart = spread_over_generators([values[names == k].mean() for k in range(9)], own, over)
    assert pooled == pytest.approx(apart)
    fewer = spread_of_pooled(values, names, sources, range(8), None)  # the ninth group stays as it is
    assert fewer is not None
    assert pooled is not None
    assert fewer.error < pooled.error
    assert fewer.df == 7


def test_the_smallest_number_of_generators_is_the_one_the_simulation_supports() -> None:
    if not RESULTS.is_file():
        pytest.skip("committed results are not part of an installed package")
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert found["repeats"] >= 1000
    assert found["least_generators"] == LEAST_GENERATORS
    tables = [row for row in found["rows"] if row["of"] == "table" and row["count"] >= LEAST_GENERATORS]
    noise = 2 * sqrt(0.05 * 0.95 / found["repeats"])
    assert tables
    assert max(row["winner"] for row in tables) <= 0.05 + noise


def test_the_page_shows_what_the_simulation_found(monkeypatch: pytest.MonkeyPatch) -> None:
    if not RESULTS.is_file():
        pytest.skip("committed results are not part of an installed package")
    root = Path(__file__).parents[2]
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    generator_coverage = import_module("generator_coverage")
    page = (root / "docs" / "uncertainty.md").read_text(encoding="utf-8")
    rows = generator_coverage.page_rows(json.loads(RESULTS.read_text(encoding="utf-8")))
    assert len(rows) == 8
    assert all(row in page for row in rows)
