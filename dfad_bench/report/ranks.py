"""Ranks as intervals: the places of a ranking that are possible within the noise of the measured numbers."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, hypot, inf
from statistics import fmean

from dfad_bench.core.record import MetricValue
from dfad_bench.metrics.spread import Spread, over_seeds, quantile

_Z95 = 1.959963984540054
_CERTAIN_DF = 1e9  # of intervals made by the normal quantile


def spread_of(value: MetricValue) -> Spread | None:
    """The standard error over sources of a number of a record; of records that do not state it, by its interval."""
    if value.ci95 is None:
        return None
    if value.standard_error is not None and value.df is not None:
        return Spread(value.standard_error, value.df)
    return Spread((value.ci95[1] - value.ci95[0]) / 2 / _Z95, _CERTAIN_DF)


def seed_variance(values: Sequence[float | None]) -> tuple[float, int] | None:
    """The variance between seeds of one seed's number, and its degrees of freedom; None with fewer than two.

    >>> seed_variance([0.5, 0.7, 0.6])
    (0.01, 2)
    """
    known = [value for value in values if value is not None]
    if not len(known) == len(values) > 1:
        return None
    mean = fmean(known)  # `statistics.variance` takes twenty times as long and agrees in all digits that are kept
    return round(fsum((value - mean) ** 2 for value in known) / (len(known) - 1), 15), len(known) - 1


def seeds_spread(
    spreads: Sequence[Spread | None],
    values: Sequence[float | None],
    borrowed: tuple[float, int] | None = None,
) -> Spread | None:
    """The spread of a mean over k seeds: the variance over sources, and the variance between seeds over k.

    Records hold no variance over sources of the seeds' mean, so that of one seed stands for it, which is never
    smaller: seeds share their test faces. Degrees of freedom are Satterthwaite's; with two seeds see
    `metrics.spread.cautious`.

    Args:
        spreads: over sources, of each seed.
        values: the number itself, of each seed.
        borrowed: the variance between seeds and its degrees of freedom, where there is only one seed.

    Returns:
        None where a seed has no number or no spread.

    >>> seeds_spread([Spread(0.01, 50)], [0.5])
    Spread(error=0.01, df=50.0)
    """
    known = [one for one in spreads if one is not None]
    if not known or len(known) < len(spreads) or None in values:
        return None
    over_sources = fmean(one.error**2 for one in known), min(one.df for one in known)
    between = seed_variance(values) or borrowed
    seeds = [] if between is None or between[0] <= 0 else [(between[0] / len(known), between[1])]
    return over_seeds([over_sources], seeds)


def half_width(of: Spread | None) -> float | None:
    """Half the 95 % interval, before it is cut off at what is possible."""
    return None if of is None else quantile(of.df) * of.error


def rank_intervals(values: Sequence[float], halves: Sequence[float | None]) -> list[tuple[int, int] | None]:
    """Best and worst rank of each row, higher values being better; None without an interval.

    Two rows differ where their difference exceeds the root of the sum of both squared half widths, as for
    independent measurements. Models tested on the same faces usually differ more clearly than that (`dfad compare`
    tests two of them), so these intervals are wide rather than narrow. From a row without interval nothing is known to
    differ: that its number did not vary over these faces does not make it certain.

    >>> rank_intervals([0.9, 0.88, 0.5], [0.02, 0.02, 0.02])
    [(1, 2), (1, 2), (3, 3)]
    """
    found: list[tuple[int, int] | None] = []
    rows = list(zip(values, halves, strict=True))
    for value, half in rows:
        if half is None:
            found.append(None)
            continue
        noise_of_pair = [(other, inf if other_half is None else hypot(half, other_half)) for other, other_half in rows]
        better = sum(other > value + noise for other, noise in noise_of_pair)
        worse = sum(other < value - noise for other, noise in noise_of_pair)
        found.append((better + 1, len(rows) - worse))
    return found
