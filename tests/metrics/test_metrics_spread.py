"""Standard errors over sources and their intervals: what is known in closed form, and coverage with few sources."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfad_bench.metrics.few_sources import LEAST_OF_DIFFERENCES, LEAST_SOURCES, OTHERS, least_sources, too_few
from dfad_bench.metrics.interval import ClusterBootstrap, bounds
from dfad_bench.metrics.spread import (
    Spread,
    _linear_part,
    cautious,
    combined,
    difference_interval,
    difference_p,
    interval,
    over_seeds,
    quantile,
    share_interval,
    spread,
)

RULES = ("before", "after")
RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "interval_coverage.json"


def test_the_standard_error_is_that_of_independent_strata() -> None:
    rng = np.random.default_rng(0)
    strata = np.repeat([0, 1, 2], [4, 9, 300])
    values = rng.normal(size=len(strata)) * np.repeat([1.0, 2.0, 3.0], [4, 9, 300])
    bootstrap = ClusterBootstrap(strata, np.arange(len(strata)), resamples=4000, seed=1)
    found = spread(bootstrap.macro_share_draws(values), bootstrap)
    parts = [(np.var(values[strata == s], ddof=1) / n / 9, n - 1) for s, n in enumerate((4, 9, 300))]
    expected = combined(parts)
    assert found.error == pytest.approx(expected.error, rel=0.04)
    assert found.df == pytest.approx(expected.df, rel=0.3)


def test_one_source_in_a_stratum_is_no_zero_variance() -> None:
    strata = np.array([0] * 10 + [1])
    bootstrap = ClusterBootstrap(strata, np.arange(11), resamples=200)
    assert spread(bootstrap.macro_share_draws(np.arange(11)), bootstrap) is None
    assert share_interval(np.array([True, False]), np.array([0, 0])) is None


@given(st.floats(0, 1), st.floats(1e-6, 2), st.floats(1, 1000))
def test_no_interval_leaves_what_is_possible(value: float, error: float, df: float) -> None:
    low, high = interval(value, Spread(error, df), (0.0, 1.0))
    assert 0 <= low <= value + 1e-9
    assert value - 1e-9 <= high <= 1
    low, high = difference_interval(2 * value - 1, Spread(error, df), (0.0, 1.0))
    assert -1 <= low <= high <= 1
    low, high = interval(value, Spread(error, df), (0.0, float("inf")))
    assert 0 <= low <= high


@given(st.floats(-0.999, 0.999), st.floats(1e-3, 2), st.floats(1, 1000))
def test_a_difference_is_shown_by_its_p_value_where_its_interval_lacks_zero(
    value: float, error: float, df: float
) -> None:
    for limits in ((0.0, 1.0), (0.0, float("inf")), (-1.0, 1.0)):
        low, high = difference_interval(value, Spread(error, df), limits)
        p = difference_p(value, Spread(error, df), limits)
        assert p == pytest.approx(0.05) or (p < 0.05) == (not low <= 0 <= high)


@given(st.lists(st.tuples(st.floats(1e-6, 10), st.integers(1, 200)), min_size=1, max_size=4))
def test_a_cautious_interval_reaches_as_far_as_its_parts_together(parts: list[tuple[float, float]]) -> None:
    careful, plain = cautious(parts), combined(parts)
    assert careful.error == pytest.approx(plain.error)
    reach = sum(part * quantile(df) ** 2 for part, df in parts) ** 0.5
    assert quantile(careful.df) * careful.error == pytest.approx(reach, rel=1e-6)
    assert min(df for _, df in parts) <= careful.df <= max(df for _, df in parts)


def test_means_of_two_seeds_hold_the_truth_where_seeds_matter_most() -> None:
    """Noise of 30 sources, and ten times of that between seeds; Satterthwaite's degrees of freedom cover 0.89."""
    rng = np.random.default_rng(0)
    held = {"cautious": [], "satterthwaite": []}
    for _ in range(800):
        of_sources = (rng.chisquare(29) / 29, 29)
        values = rng.normal(scale=10, size=2)
        of_seeds = (values.var(ddof=1) / 2, 1)
        off = abs(rng.normal() + values.mean())
        for name, of in (
            ("cautious", over_seeds([of_sources], [of_seeds])),
            ("satterthwaite", combined([of_sources, of_seeds])),
        ):
            held[name].append(off <= quantile(of.df) * of.error)
    error = (0.95 * 0.05 / 800) ** 0.5
    assert np.mean(held["satterthwaite"]) < 0.93 - 2 * error
    assert np.mean(held["cautious"]) >= 0.93 - 2 * error


def test_seeds_without_spread_add_none_and_three_have_satterthwaites_degrees() -> None:
    of_sources = (4.0, 20)
    assert cautious([]) is None
    assert over_seeds([of_sources], [(0.0, 1)]) == combined([of_sources])
    assert over_seeds([of_sources], [(1.0, 2)]) == combined([of_sources, (1.0, 2)])
    assert over_seeds([of_sources], [(1.0, 1), (1.0, 2)]) == cautious([of_sources, (1.0, 1), (1.0, 2)])


def test_few_sources_are_covered_where_percentiles_were_not() -> None:
    """Means over three groups of three normal sources: truth 0."""
    after, before = [], []
    strata = np.repeat([0, 1, 2], 3)
    for seed in range(150):
        values = np.random.default_rng(seed).normal(size=9)
        bootstrap = ClusterBootstrap(strata, np.arange(9), resamples=150, seed=seed)
        draws = bootstrap.macro_share_draws(values)
        of = spread(draws, bootstrap)
        after.append(abs(values.mean()) <= quantile(of.df) * of.error)
        low, high = bounds(draws)
        before.append(low <= 0 <= high)
    assert np.mean(before) < 0.88
    assert np.mean(after) > 0.93 - 2 * (0.95 * 0.05 / 150) ** 0.5


def test_the_table_is_that_of_the_simulation() -> None:
    if not RESULTS.is_file():
        pytest.skip("not a checkout: results are not shipped in the wheel")
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert found["least_sources"] == LEAST_SOURCES
    for cell in found["cells"]:
        if cell["rule"] == "after" and cell["printed"] >= 50 and cell["sources"] >= least_sources(cell["metric"]):
            error = (0.95 * 0.05 / cell["printed"]) ** 0.5
            assert cell["coverage"] >= 0.93 - 2 * error, cell


@pytest.fixture(scope="module")
def comparisons() -> dict[str, Any]:
    path = RESULTS.with_name("comparisons.json")
    if not path.is_file():
        pytest.skip("not a checkout: results are not shipped in the wheel")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_equal_models_have_no_winner_whatever_their_groups_sizes(comparisons: dict[str, Any]) -> None:
    error = (0.05 * 0.95 / comparisons["repeats"]) ** 0.5
    assert comparisons["groups"]["before"] > 0.9
    assert comparisons["groups"]["after"] <= 0.05 + 2 * error


def test_differences_are_held_and_equal_models_rarely_told_apart(comparisons: dict[str, Any]) -> None:
    """Of equal models and of such that differ, from the smallest number of sources on that has an interval."""
    judged = [cell for cell in comparisons["pairs"] if cell["printed"] >= 50]
    cells = {rule: [cell for cell in judged if cell["rule"] == rule] for rule in RULES}
    assert len(cells["after"]) > 300
    assert {cell["margin"] for cell in cells["after"]} == {0.0, 1.0}
    for cell in cells["after"]:
        error = (0.95 * 0.05 / cell["printed"]) ** 0.5
        if cell["sources"] >= least_sources(cell["metric"], difference=True):
            assert cell["coverage"] >= 0.93 - 2 * error, cell
        if cell["margin"] == 0 and cell["sources"] >= least_sources(cell["metric"]):
            assert cell["rejected"] <= 0.07 + 2 * error, cell
    exact = ("accuracy", "seen_accuracy", "unseen_accuracy")  # McNemar's test on sources has no standard error
    disagreeing = {
        rule: fmean(cell["disagrees"] for cell in cells[rule] if cell["metric"] not in exact) for rule in RULES
    }
    assert disagreeing["after"] < 0.001 < 0.02 < disagreeing["before"]
    assert min(cell["coverage"] for cell in cells["before"]) < 0.75
    assert max(cell["rejected"] for cell in cells["before"] if cell["margin"] == 0) > 0.2
    assert comparisons["least_of_differences"] == LEAST_OF_DIFFERENCES


def test_means_over_seeds_are_held_and_a_lucky_seed_does_not_stand_alone(comparisons: dict[str, Any]) -> None:
    several = {rule: [c for c in comparisons["seeds"] if c["rule"] == rule and c["seeds"] > 1] for rule in RULES}
    for cell in several["after"]:
        assert cell["coverage"] >= 0.93 - 2 * (0.95 * 0.05 / cell["printed"]) ** 0.5, cell
    assert min(cell["coverage"] for cell in several["before"]) < 0.88
    alone = {rule: [cell["alone"] for cell in comparisons["lucky"] if cell["rule"] == rule] for rule in RULES}
    assert max(alone["before"]) > 0.4
    assert max(alone["after"]) < 0.02


def test_a_number_of_too_few_sources_says_how_many() -> None:
    assert too_few("fpr95", {"seen sources": 9, "unseen sources": 7}) == "no interval: 7 unseen sources, 8 are needed"
    assert too_few("fpr95", {"seen sources": 8}) is None
    assert least_sources("brier") == OTHERS


def test_parts_without_variance_count_in_no_spread() -> None:
    assert cautious([(0.0, 3)]) is None
    assert cautious([(0.0, 1), (4.0, 30)]) == cautious([(4.0, 30)]) == Spread(2.0, 30)


def test_a_share_of_clustered_rows_is_wilsons_of_rows_over_the_design_effect() -> None:
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(12), rng.integers(2, 9, 12))
    hits = rng.random(len(clusters)) < np.where(clusters % 2, 0.9, 0.2)  # sources differ
    n, k, share = len(hits), 12, hits.mean()
    variance = k / (k - 1) * sum((hits[clusters == c] - share).sum() ** 2 for c in range(k)) / n**2
    effect = variance / (share * (1 - share) / n)
    assert effect > 2
    few, z = n / effect, quantile(k - 1)
    middle = (share + z**2 / (2 * few)) / (1 + z**2 / few)
    half = z / (1 + z**2 / few) * (share * (1 - share) / few + z**2 / (4 * few**2)) ** 0.5
    assert share_interval(hits, clusters) == pytest.approx((middle - half, middle + half))


def test_the_linear_part_is_what_a_regression_explains_beyond_chance() -> None:
    rng = np.random.default_rng(5)
    weights = rng.multinomial(4, [0.25] * 4, size=12).astype(float)
    draws = weights @ np.array([1.0, -2.0, 0.5, 3.0]) + rng.normal(size=12)
    design = np.column_stack([np.ones(12), weights[:, 1:]])  # rows of weights have one sum
    fitted = design @ np.linalg.lstsq(design, draws, rcond=None)[0]
    left = ((draws - fitted) ** 2).sum() / (12 - 1 - 3)
    expected = ((fitted - draws.mean()) ** 2).sum() / 11 - left * 3 / 11
    assert _linear_part(draws, weights) == pytest.approx(expected)
    noise = [_linear_part(rng.normal(size=12), weights) for _ in range(40)]
    assert min(noise) == 0.0  # draws that do not follow the weights: chance explains more, and no variance is below 0


@given(st.floats(0.02, 0.98), st.floats(1e-4, 0.3), st.floats(-3, 3), st.floats(0.1, 5))
def test_an_interval_moves_and_stretches_with_its_limits(share: float, error: float, low: float, width: float) -> None:
    between = interval(share, Spread(error, 7), (0.0, 1.0))
    moved = interval(low + width * share, Spread(width * error, 7), (low, low + width))
    assert moved == pytest.approx([low + width * end for end in between], rel=1e-6, abs=1e-6)
