"""Intervals of means over seeds: they hold the truth near 100 %, and do not reach from 0 to 100 there."""

from __future__ import annotations

from itertools import product
from math import inf, sqrt
from statistics import NormalDist, fmean

import numpy as np
import pytest

from dfad_bench.core.record import MetricValue
from dfad_bench.metrics.interval import wilson
from dfad_bench.metrics.spread import Spread, interval
from dfad_bench.report.mean_interval import mean_interval
from dfad_bench.report.ranks import seeds_spread, spread_of

SHARE = (0.0, 1.0)


def number(value: float, ci95: tuple[float, float] | None, of: Spread | None = None) -> MetricValue:
    error, df = (None, None) if of is None else of
    return MetricValue("attribution", "oscr", "seen-vs-unseen", value, 9, True, ci95=ci95, standard_error=error, df=df)


def share_of(hits: int, faces: int) -> MetricValue:
    """A share as a record has it: of its spread over faces, or Wilson's where it has none."""
    value = hits / faces
    if hits in (0, faces):
        return number(value, wilson(hits, faces))
    of = Spread(sqrt(value * (1 - value) / (faces - 1)), faces - 1)
    return number(value, interval(value, of, SHARE), of)


def earlier(numbers: list[MetricValue]) -> tuple[float, float] | None:
    """One width for both sides, laid on the logit of the mean."""
    of = seeds_spread([spread_of(one) for one in numbers], [one.value for one in numbers])
    return None if of is None else interval(fmean(one.value or 0.0 for one in numbers), of, SHARE)


def test_seeds_near_all_right_do_not_reach_from_nothing_to_all() -> None:
    numbers = [share_of(300, 300), share_of(300, 300), share_of(299, 300), share_of(300, 300), share_of(300, 300)]
    before, now = earlier(numbers), mean_interval(numbers, SHARE)
    assert before is not None
    assert now is not None
    assert before[0] < 0.5
    assert 0.9 < now[0] < fmean(one.value or 0.0 for one in numbers) < now[1] <= 1


def test_equal_seeds_have_the_interval_of_one() -> None:
    for one in (share_of(200, 200), share_of(30, 40), share_of(0, 9)):
        assert mean_interval([one] * 3, SHARE) == pytest.approx(one.ci95)


def test_sides_are_mirrored_with_the_number() -> None:
    high = mean_interval([share_of(39, 40), share_of(38, 40), share_of(40, 40)], SHARE)
    low = mean_interval([share_of(1, 40), share_of(2, 40), share_of(0, 40)], SHARE)
    assert high is not None
    assert low == pytest.approx((1 - high[1], 1 - high[0]))


def test_seeds_that_disagree_widen_both_sides() -> None:
    alike = mean_interval([share_of(30, 40)] * 3, SHARE)
    apart = mean_interval([share_of(hits, 40) for hits in (25, 30, 35)], SHARE)
    assert alike is not None
    assert apart is not None
    assert apart[0] < alike[0] < alike[1] < apart[1]


def test_without_limits_it_is_symmetric_and_without_intervals_there_is_none() -> None:
    numbers = [number(value, (value - 1.96, value + 1.96), Spread(1.0, inf)) for value in (3.0, 5.0)]
    found = mean_interval(numbers, (-inf, inf))
    assert found is not None
    assert found[1] - 4 == pytest.approx(4 - found[0])
    assert mean_interval([share_of(3, 4), None], SHARE) is None
    assert mean_interval([share_of(3, 4), number(0.5, None)], SHARE) is None
    assert mean_interval([], SHARE) is None


def drawn(rng: np.random.Generator, seeds: int, faces: int, share: float, deviation: float) -> list[MetricValue]:
    """Seeds on the same faces, which are as hard for one as for another to a half; their skill differs."""
    hard, skill = rng.normal(size=faces), NormalDist().inv_cdf(share)
    found = []
    for _ in range(seeds):
        own = sqrt(0.5) * hard + sqrt(0.5) * rng.normal(size=faces)
        found.append(share_of(int((own < skill + deviation * rng.normal()).sum()), faces))
    return found


@pytest.mark.heavy
def test_the_truth_is_held_as_often_by_narrower_intervals() -> None:
    """Shares of 0.95 to 0.997 on 2 to 5 seeds, which are equal or differ by 0.3 probit: 0.97 to 0.995 of 0.99, say."""
    rng, repeats = np.random.default_rng(0), 300
    found: dict[tuple[int, int, float, float], list[float]] = {}
    for seeds, faces, share, deviation in product((2, 3, 5), (20, 60, 300), (0.95, 0.99, 0.997), (0.0, 0.3)):
        truth = NormalDist().cdf(NormalDist().inv_cdf(share) / sqrt(1 + deviation**2))
        held, width, whole = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]
        for _ in range(repeats):
            numbers = drawn(rng, seeds, faces, share, deviation)
            for rule, bounds in enumerate((earlier(numbers), mean_interval(numbers, SHARE))):
                assert bounds is not None
                held[rule] += (bounds[0] <= truth <= bounds[1]) / repeats
                width[rule] += (bounds[1] - bounds[0]) / repeats
                whole[rule] += (bounds[1] - bounds[0] > 0.9) / repeats
        found[seeds, faces, share, deviation] = [*held, *width, *whole]
    error = sqrt(0.95 * 0.05 / repeats)
    for case, (before, now, wide, narrow, _, whole_now) in found.items():
        assert now > 0.95 - 3 * error, (case, before, now)
        assert now > before - 3 * error, (case, before, now)
        assert narrow < max(1.2 * wide, wide + 0.09), (
            case,
            wide,
            narrow,
        )  # where all are right it was half of Wilson's
        assert case[0] == 2 or not whole_now, (case, whole_now)
    assert fmean(now for _, now, *_ in found.values()) > 0.98
    several = [row for case, row in found.items() if case[0] > 2]
    assert sum(row[3] for row in several) < 0.65 * sum(row[2] for row in several)
    assert max(row[4] for row in several) > 0.2  # before, of five seeds near all right


@pytest.mark.heavy
def test_seeds_that_differ_far_more_are_held_more_often_than_before_taken_together() -> None:
    """By 0.8 probit (0.93 to 1.00 of 0.99) few seeds do not hold 95 % everywhere: rare bad ones are not among them."""
    rng, repeats = np.random.default_rng(1), 300
    held = np.zeros(2)
    cases = list(product((2, 3, 5), (20, 60, 300), (0.95, 0.99)))
    for seeds, faces, share in cases:
        truth = NormalDist().cdf(NormalDist().inv_cdf(share) / sqrt(1 + 0.8**2))
        for _ in range(repeats):
            numbers = drawn(rng, seeds, faces, share, 0.8)
            for rule, bounds in enumerate((earlier(numbers), mean_interval(numbers, SHARE))):
                assert bounds is not None
                held[rule] += (bounds[0] <= truth <= bounds[1]) / repeats / len(cases)
    assert held[1] > held[0] + 0.02
    assert held[1] > 0.94
