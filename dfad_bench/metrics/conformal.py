"""Thresholds and p-values that hold for a face of a new source, whatever the score: split conformal prediction.

Faces of one source are not exchangeable with a face of a new one, so each source counts as one observation: its faces
share a weight (Lee, Barber and Willett, arXiv 2306.06342). With K calibration sources a face x of strangeness s(x) has
p(x) = (1 + sum over sources of the share of their faces that are at least as strange) / (K + 1), and P(p(x) <= a) <= a
for a face of a source drawn like those, over calibration and face together. It is conservative for few sources, and
says nothing of how many unseen faces are caught.
"""

from __future__ import annotations

from math import ceil, inf

import numpy as np

_EDGE = 1e-12  # of sums of shares


def least_calibration_sources(level: float) -> int:
    """How many sources a promise of `level` needs: with fewer no face is ever strange enough.

    >>> [least_calibration_sources(level) for level in (0.9, 0.95, 0.99)]
    [9, 19, 99]
    """
    return ceil(1 / (1 - level) - 1 - 1e-9)


def source_weights(sources: np.ndarray) -> np.ndarray:
    """One over the faces of its source, for each face (n,).

    >>> source_weights(np.array(["a", "a", "b"])).tolist()
    [0.5, 0.5, 1.0]
    """
    _, place, counts = np.unique(sources, return_inverse=True, return_counts=True)
    weights: np.ndarray = 1.0 / counts[place]
    return weights


def hierarchical_p_values(calibration: np.ndarray, sources: np.ndarray, strangeness: np.ndarray) -> np.ndarray:
    """The p-value of each face (m,): small where calibration faces are hardly ever as strange.

    Args:
        calibration: (n,) strangeness of calibration faces, larger being stranger.
        sources: (n,) their sources.
        strangeness: (m,) of the faces asked about; ties count for the face.

    >>> hierarchical_p_values(np.array([1.0, 2.0, 3.0]), np.array([0, 1, 2]), np.array([2.5, 9.0])).tolist()
    [0.5, 0.25]
    """
    calibration = np.asarray(calibration, dtype=float)
    if not len(calibration):
        return np.ones(len(strangeness))
    order = np.argsort(calibration, kind="stable")
    weights = source_weights(sources)[order]
    at_least = np.concatenate([np.cumsum(weights[::-1])[::-1], [0.0]])  # weight of the k-th face and all beyond
    place = np.searchsorted(calibration[order], np.asarray(strangeness, dtype=float), side="left")
    p: np.ndarray = np.minimum((1 + at_least[place]) / (len(np.unique(sources)) + 1), 1.0)
    return p


def strangest_kept(calibration: np.ndarray, sources: np.ndarray, level: float) -> float:
    """The largest strangeness at which a face is still called seen, so that `level` of faces of new sources are.

    It is infinite where fewer than `least_calibration_sources` are there: then nothing is ever called unseen.

    Args:
        calibration: (n,) strangeness of calibration faces.
        sources: (n,) their sources.
        level: share of faces of new sources that is kept.

    >>> strangest_kept(np.arange(9.0), np.arange(9), 0.9), strangest_kept(np.arange(8.0), np.arange(8), 0.9)
    (8.0, inf)
    """
    calibration, alpha = np.asarray(calibration, dtype=float), 1 - level
    if 1 / (len(np.unique(sources)) + 1) > alpha + _EDGE:
        return inf
    p = hierarchical_p_values(calibration, sources, calibration)
    kept = calibration[p > alpha + _EDGE]
    return float(kept.max()) if len(kept) else -inf


def coverage_range(count: int, level: float) -> tuple[float, float]:
    """Between which shares nine of ten calibrations of so many sources keep faces of new ones, one face a source.

    The 5th and 95th percentile of Beta(k, n + 1 - k), k = ceil((n + 1) level); (1, 1) where nothing is rejected.

    >>> [round(end, 2) for end in coverage_range(20, 0.9)]
    [0.78, 0.98]
    """
    from scipy.special import betaincinv

    k = ceil((count + 1) * level - 1e-9)
    if k > count:
        return 1.0, 1.0
    return float(betaincinv(k, count + 1 - k, 0.05)), float(betaincinv(k, count + 1 - k, 0.95))


def class_p_values(
    calibration: np.ndarray, labels: np.ndarray, sources: np.ndarray, strangeness: np.ndarray
) -> np.ndarray:
    """The p-value of each class for each face (m, x), each class calibrated by itself (Mondrian).

    The set of classes whose p exceeds a holds the true one with 1 - a in each class; where it is empty the face is like
    none of them, and max over classes of p is the p-value of "unseen" (Hechtlinger et al., 2018).

    Args:
        calibration: (n, x) strangeness of calibration faces to each class.
        labels: (n,) their classes.
        sources: (n,) their sources.
        strangeness: (m, x) of the faces asked about.
    """
    columns = []
    for k in range(strangeness.shape[1]):
        mine = labels == k
        columns.append(hierarchical_p_values(calibration[mine, k], sources[mine], strangeness[:, k]))
    return np.stack(columns, axis=1)
