"""The interval of a mean over seeds, made of the intervals of the seeds and of the spread between them."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean

from dfad_bench.core.record import MetricValue
from dfad_bench.metrics.spread import Spread, interval, over_seeds, quantile
from dfad_bench.report.ranks import half_width, seed_variance, seeds_spread, spread_of


def mean_interval(numbers: Sequence[MetricValue | None], limits: tuple[float, float]) -> tuple[float, float] | None:
    """The 95 % interval of the mean of a number over seeds, within `limits`; None where a seed has no interval.

    Where every seed states its standard error, that of the mean is laid as that of one seed is
    (`metrics.spread.interval`). Others have intervals by formulas, such as Wilson's of a seed with all faces right,
    whose half width is no standard error near a limit: laid on the logit of a mean of 100.0 and 99.5 it reached from 0
    to 100. There each side is made for itself (variance estimates recovery, Zou and Donner, Statistics in Medicine
    27, 2008): how far the seeds' intervals reach from their numbers on that side is the spread over sources, how far
    the mean's reaches by the variance between seeds is theirs, and both are summed as variances with their degrees of
    freedom. As in `ranks.seeds_spread`, the sources of one seed stand for those of the mean.

    Args:
        numbers: the same number of each seed.
        limits: between which it can lie; either may be infinite.
    """
    known = [one for one in numbers if one is not None and one.value is not None and one.ci95 is not None]
    if not known or len(known) < len(numbers):
        return None
    values = [float(one.value or 0.0) for one in known]
    spreads = [of for one in known if (of := spread_of(one)) is not None]
    whole = seeds_spread(spreads, values)
    if all(one.standard_error is not None and one.df is not None for one in known):
        return None if whole is None else interval(fmean(values), whole, limits)
    low, high = (_reach(known, values, spreads, limits, side) for side in (0, 1))
    return max(limits[0], fmean(values) - low), min(limits[1], fmean(values) + high)


def _reach(
    numbers: Sequence[MetricValue],
    values: Sequence[float],
    spreads: Sequence[Spread],
    limits: tuple[float, float],
    side: int,
) -> float:
    """How far the interval reaches from the mean, downwards (side 0) or upwards (1)."""
    mean, between = fmean(values), seed_variance(values)
    ends = [(one.ci95 or limits)[side] for one in numbers]
    errors = [(end - value) / quantile(of.df) for end, value, of in zip(ends, values, spreads, strict=True)]
    sources = fmean(error**2 for error in errors), min(of.df for of in spreads)
    seeds = []
    if between is not None and between[0] > 0:
        variance, df = between
        laid = interval(mean, Spread(sqrt(variance / len(values)), float(df)), limits)[side]
        seeds = [(((laid - mean) / quantile(df)) ** 2, float(df))]
    return half_width(over_seeds([sources], seeds)) or 0.0
