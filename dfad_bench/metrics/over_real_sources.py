"""How far a number holds for other sources of real faces (collections), each of them one observation.

An area under the curve against real faces of several collections is the mean over those faces of the share of forged
faces above each (its placement). So it is a mean over collections, weighted by their faces, and says of other
collections what a mean of one number each does. Few collections are held fixed, as everywhere; from
`LEAST_REAL_SOURCES` on their spread joins that over generators, as the second way of a two-way layout of both. What
is a matter of both, a generator that one collection makes hard, counts in either.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np

from dfad_bench.metrics.spread import Spread, variance_of_mean

LEAST_REAL_SOURCES = 6  # by simulation: `benchmarks/results/generator_coverage_reals.json`


class RealPlacements(NamedTuple):
    """Of each real face (m,): its placement, its collection, and the source that it shares with other faces."""

    values: np.ndarray
    collections: np.ndarray
    sources: np.ndarray


def real_placements(real: np.ndarray, scores: np.ndarray, generators: np.ndarray) -> np.ndarray:
    """Of each real face (m,) the mean over generators of the share of forged faces above it, equal ones half.

    Their mean is the mean over generators of the area under the ROC curve.

    Args:
        real: (n,) bool.
        scores: (n,) higher for forged faces.
        generators: (n,) names; those of real faces do not matter.

    >>> real_placements(np.array([True, False, False]), np.array([0.5, 0.9, 0.5]), np.array(["", "a", "b"])).tolist()
    [0.75]
    """
    real, scores, generators = np.asarray(real, bool), np.asarray(scores, float), np.asarray(generators)
    mine, names = scores[real], np.unique(generators[~real])
    shares = np.zeros(len(mine))
    for name in names:
        forged = np.sort(scores[~real & (generators == name)])
        below, up_to = (np.searchsorted(forged, mine, side=side) for side in ("left", "right"))
        shares += 1 - (below + up_to) / (2 * len(forged))
    return shares / max(len(names), 1)


def spread_over_real_sources(of: RealPlacements, least: int = LEAST_REAL_SOURCES) -> Spread | None:
    """Standard error over collections of the mean of values of real faces, without the noise of their own faces.

    Delete-one-collection jackknife (CR3 of MacKinnon, Nielsen and Webb, 2023), which weighs collections by their faces,
    less the variance over sources within each. That noise is in the spread over sources already.

    Args:
        of: values of real faces of one model, or differences of two.
        least: number of collections.

    Returns:
        None for fewer than `least`; an error of 0 where they differ by no more than their own noise.

    >>> alike = RealPlacements(np.tile([0.2, 0.4], 6), np.repeat(list("abcdef"), 2), np.arange(12))
    >>> spread_over_real_sources(alike)
    Spread(error=0.0, df=5.0)
    """
    values = np.asarray(of.values, dtype=float)
    names, place = np.unique(of.collections, return_inverse=True)
    count = len(names)
    if count < max(least, 2) or not np.isfinite(values).all():
        return None
    sizes = np.bincount(place)
    weights, means = sizes / len(values), np.bincount(place, weights=values) / sizes
    moved = weights / (1 - weights) * (means - float(values.mean()))  # of the mean, without that collection
    variance = (count - 1) / count * float((moved**2).sum())
    own = sum(w**2 * variance_of_mean(values[place == k], of.sources[place == k]) for k, w in enumerate(weights))
    return Spread(sqrt(max(variance - own, 0.0)), float(count - 1))
