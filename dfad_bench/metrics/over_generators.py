"""How far a mean over generators holds for other generators of the same kind, not only for other faces of these.

The interval of a mean over groups that resamples sources says how the number varies with the faces. It says nothing of
the next generator: there each generator is one observation, however many faces it has. Here the generators are the
units. Their spread contains the noise of each one's own faces; what all of them share (targets, real faces) comes on
top, as in a two-way layout of generators and sources (Cameron, Gelbach and Miller, 2011): the variance over sources of
the mean, less the part of it that is each generator's own. Student's t has a degree of freedom less than there are
generators; a percentile bootstrap of eight holds 27 to 87 % instead of 95 (`benchmarks/generator_coverage.py`).

Generators are taken for a sample: what holds of a rare kind of which none is among them no interval can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, sqrt
from typing import NamedTuple

import numpy as np

from dfad_bench.metrics.over_real_sources import LEAST_REAL_SOURCES
from dfad_bench.metrics.spread import Spread, combined, variance_of_mean

LEAST_GENERATORS = 8  # by simulation: `benchmarks/results/generator_coverage.json`
_TINY = 1e-12


class NextGenerator(NamedTuple):
    """A against B on the next generator of the same kind: what `next_generator` returns.

    `probability` that A is better, as measured there; `wins` and `losses` among the generators at hand.
    """

    probability: float
    wins: int
    ties: int
    losses: int


def too_few_generators(count: int, what: str = "generators") -> str | None:
    """Why a mean over so many generators has no interval over them; None where it has one.

    >>> too_few_generators(3)
    'not estimable over generators: 3, 8 are needed'
    """
    return None if count >= LEAST_GENERATORS else f"not estimable over {what}: {count}, {LEAST_GENERATORS} are needed"


def spread_over_generators(
    values: Sequence[float],
    own: Sequence[Spread | None] = (),
    over_sources: Spread | None = None,
    *,
    fixed: int = 0,
    over_reals: Spread | None = None,
    least: int = LEAST_GENERATORS,
) -> Spread | None:
    """Standard error over generators of the mean of a number of each, and of groups that are no generators.

    Args:
        values: (G,) the number of each generator.
        own: (G,) its spread over sources, by itself; None where it is not known, or for all.
        over_sources: of the mean, which counts what generators share.
        fixed: groups in the mean that are no generators (real faces).
        over_reals: of the mean over collections of real faces, where these are drawn, too
            (`metrics.over_real_sources`); None: they stay as they are.
        least: number of generators; fewer have no interval.

    Returns:
        None for fewer than `least`, and where generators do not differ.

    >>> spread_over_generators([0.5, 0.7] * 4).df
    7.0
    """
    values_ = np.asarray(values, dtype=float)
    count = len(values_)
    if count < max(least, 2) or not np.isfinite(values_).all():
        return None
    groups = count + fixed
    between = float(values_.var(ddof=1)) * count / groups**2
    if between < _TINY**2:
        return None
    parts = [(between, float(count - 1))]
    if over_reals is not None:
        parts.append((over_reals.error**2, over_reals.df))
    known = [one.error**2 for one in own if one is not None]
    if over_sources is not None and len(known) == count:
        shared = over_sources.error**2 - sum(known) / groups**2
        parts += [(shared, over_sources.df)] if shared > _TINY**2 else []
    return combined(parts)


def spread_of_pooled(
    values: np.ndarray,
    generators: np.ndarray,
    sources: np.ndarray,
    drawn: Sequence[str],
    over_sources: Spread | None,
    reals: Sequence[str] = (),
) -> Spread | None:
    """Standard error over generators of a mean of values of faces, in which generators weigh by their faces.

    Areas against faces that all generators share are such means (of placements), as shares of faces are. Between
    generators by the delete-one jackknife (CR3); what they share as in `spread_over_generators`.

    Args:
        values: (n,) of the faces of all groups in the mean.
        generators: (n,) their groups.
        sources: (n,) their sources.
        drawn: the groups that are generators; others stay as they are.
        over_sources: of the mean.
        reals: groups of real faces, drawn as well where there are `LEAST_REAL_SOURCES` or more.

    Returns:
        None for fewer than `LEAST_GENERATORS`, and where they do not differ.

    >>> found = spread_of_pooled(np.tile([0.0, 1.0], 8), np.repeat(range(16), 1), np.arange(16), range(16), None)
    >>> round(found.error, 4), found.df
    (0.1291, 15.0)
    """
    values, generators = np.asarray(values, dtype=float), np.asarray(generators)
    if len(drawn) < LEAST_GENERATORS or not np.isfinite(values).all():
        return None
    parts, own = [], 0.0
    for names in (drawn, reals if len(reals) >= LEAST_REAL_SOURCES else ()):
        rows = [generators == name for name in names]
        weights = np.array([mine.sum() for mine in rows]) / len(values)
        if len(names):
            parts.append((_jackknife(np.array([values[mine].mean() for mine in rows]), weights), len(names) - 1.0))
        own += sum(w**2 * variance_of_mean(values[m], sources[m]) for w, m in zip(weights, rows, strict=True))
    if parts[0][0] < _TINY**2:
        return None
    shared = 0.0 if over_sources is None else over_sources.error**2 - own
    return combined([*parts, *([(shared, over_sources.df)] if over_sources is not None and shared > _TINY**2 else [])])


def _jackknife(means: np.ndarray, weights: np.ndarray) -> float:
    """The variance of the part of a mean that groups (k,) of these shares of it make, each of them an observation."""
    whole, count = float(weights.sum()), len(means)
    shares = weights / whole
    moved = shares / (1 - shares) * (means - float(shares @ means))
    return whole**2 * (count - 1) / count * float((moved**2).sum())


def spread_over_families(values: Sequence[float], families: Sequence[str], *, fixed: int = 0) -> Spread | None:
    """Standard error of the mean over generators where those of one family are one observation.

    Delete-one-family jackknife (CR3 of MacKinnon, Nielsen and Webb, 2023), a degree of freedom less than families.

    Args:
        values: (G,) the number of each generator.
        families: (G,) the family of each.
        fixed: as of `spread_over_generators`.

    Returns:
        None for fewer than `LEAST_GENERATORS` families, and where they do not differ.
    """
    values_, names = np.asarray(values, dtype=float), np.asarray(families)
    distinct = np.unique(names)
    if len(distinct) < LEAST_GENERATORS or not np.isfinite(values_).all():
        return None
    without = np.array([values_[names != family].mean() for family in distinct])
    count = len(distinct)
    variance = (count - 1) / count * float(((without - without.mean()) ** 2).sum())
    share = len(values_) / (len(values_) + fixed)
    return None if variance < _TINY**2 else Spread(share * sqrt(variance), float(count - 1))


def next_generator(differences: Sequence[float], *, margin: float = 0.0) -> NextGenerator | None:
    """P(A beats B on the next generator), as measured on faces like these, and who wins on those at hand.

    By the predictive distribution of Student's t: T(mean / (s sqrt(1 + 1/G))) with G - 1 degrees of freedom. It is a
    description, not a test: where both are equal it is spread around one half.

    Args:
        differences: (G,) A less B on each generator, higher being better for A.
        margin: up to which a difference is a tie.

    Returns:
        None for fewer than `LEAST_GENERATORS`, and where generators do not differ.

    >>> next_generator([0.1, 0.2, 0.15, 0.1] * 2).wins
    8
    """
    from scipy.special import stdtr

    found = np.asarray(differences, dtype=float)
    count = len(found)
    if count < LEAST_GENERATORS or not np.isfinite(found).all():
        return None
    deviation = float(found.std(ddof=1))
    if deviation < _TINY:
        return None
    at = float(found.mean()) / (deviation * sqrt(1 + 1 / count))
    wins, losses = int((found > margin).sum()), int((found < -margin).sum())
    probability = float(stdtr(count - 1, at))
    return NextGenerator(probability if isfinite(probability) else 0.5, wins, count - wins - losses, losses)
