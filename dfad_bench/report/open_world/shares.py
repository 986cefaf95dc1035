"""Shares with intervals, where each source counts as one observation, or each group does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dfad_bench.core.record import MetricValue
from dfad_bench.metrics.few_sources import too_few
from dfad_bench.metrics.interval import stratified_wilson, wilson
from dfad_bench.metrics.spread import Spread, interval
from dfad_bench.report.scored_faces import Faces, Number

_TINY = 1e-12


class Share(NamedTuple):
    """A share of faces, None without any, its 95 % interval where there is one, and the sources behind it."""

    value: float | None
    low: float | None = None
    high: float | None = None
    sources: int = 0

    def cells(self, key: str) -> dict[str, float | None]:
        """Value and interval as cells of a row."""
        return {key: self.value, f"{key}_low": self.low, f"{key}_high": self.high}


def share_of_sources(hits: np.ndarray, sources: np.ndarray) -> Share:
    """The mean over sources of the share of their faces that are hits: of a face of a source drawn at random.

    The interval is Student's of one share a source; Wilson's of the sources where all shares are the same.

    >>> share_of_sources(np.array([True, False, True]), np.array(["a", "a", "b"])).value
    0.75
    """
    if not len(hits):
        return Share(None)
    names, place = np.unique(sources, return_inverse=True)
    shares = np.bincount(place, weights=np.asarray(hits, dtype=float)) / np.bincount(place)
    value, k = float(shares.mean()), len(names)
    if too_few("seen_accuracy", {"sources": k}):
        return Share(value, sources=k)
    deviation = float(shares.std(ddof=1))
    if deviation < _TINY:
        between = wilson(value * k, k)
        assert between is not None  # there are sources
    else:
        between = interval(value, Spread(deviation / np.sqrt(k), k - 1), (0.0, 1.0))
    return Share(value, *between, k)


def mean_of_groups(faces: Faces, hits: np.ndarray, keys: Sequence[str]) -> Share:
    """The mean over groups of the share of faces that are hits (n,), with its interval over sources.

    As unseen accuracy in records: groups count alike, sources are resampled within them.
    """
    if not keys:
        return Share(None)
    rows = faces.of(keys)
    chosen, group, sources = np.asarray(hits, dtype=bool)[rows], faces.group[rows], faces.source[rows]
    value = float(np.mean([chosen[group == key].mean() for key in keys]))
    fewest = min(len(set(sources[group == key])) for key in keys)
    number = Number(
        MetricValue("attribution", "unseen_accuracy", "unseen", value, int(rows.sum()), True),
        draws=lambda: faces.bootstrap(rows).macro_share_draws(chosen),
        bootstrap=lambda: faces.bootstrap(rows),
        counts={"sources in a group": fewest},
        wilson_fallback=lambda: stratified_wilson(chosen, group, sources, macro=True),
    )
    low, high = number.with_interval(faces.resamples, faces.seed).ci95 or (None, None)
    return Share(value, low, high, fewest)
