"""Curves over all thresholds: hits against alarms, and precision against recall; and their bands over resamples."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np


def roc_curve(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates (k,) from (0, 0) to (1, 1), a point a distinct score.

    >>> [points.tolist() for points in roc_curve(np.array([0, 1, 1]), np.array([0.1, 0.9, 0.1]))]
    [[0.0, 0.0, 1.0], [0.0, 0.5, 1.0]]
    """
    hits, alarms = _counts(labels, scores)
    return _from_zero(alarms / max(alarms[-1], 1)), _from_zero(hits / max(hits[-1], 1))


def precision_recall_curve(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision (k,), a point a distinct score, the highest first; before it recall 0 at precision 1.

    >>> [points.tolist() for points in precision_recall_curve(np.array([0, 1, 1]), np.array([0.1, 0.9, 0.1]))]
    [[0.0, 0.5, 1.0], [1.0, 1.0, 0.6666666666666666]]
    """
    hits, alarms = _counts(labels, scores)
    recall, precision = hits / max(hits[-1], 1), hits / (hits + alarms)
    return _from_zero(recall), np.concatenate([[1.0], precision])


def roc_at(labels: np.ndarray, scores: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """True positive rates at false positive rates `grid` (g,): linear between points, the upper end of a step."""
    fpr, tpr = roc_curve(labels, scores)
    last = np.concatenate([fpr[1:] != fpr[:-1], [True]])  # of points at one rate the highest
    found: np.ndarray = np.interp(grid, fpr[last], tpr[last])
    return found


def precision_at(labels: np.ndarray, scores: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Precision at recalls `grid` (g,): that of the first point which reaches the recall, as average precision sums."""
    recall, precision = precision_recall_curve(labels, scores)
    found: np.ndarray = precision[np.minimum(np.searchsorted(recall, grid - 1e-12), len(recall) - 1)]
    return found


def band(
    at: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    labels: np.ndarray,
    scores: np.ndarray,
    grid: np.ndarray,
    samples: Iterable[np.ndarray],
) -> tuple[np.ndarray, np.ndarray] | None:
    """Pointwise 95 % limits (g,) of a curve over resampled rows; None where no resample has both classes.

    Args:
        at: `roc_at` or `precision_at`.
        labels: (n,) 1 or 0.
        scores: (n,), higher for positives.
        grid: (g,) where the curve is read.
        samples: row numbers of each resample, as of `ClusterBootstrap.samples`.
    """
    curves = [at(labels[rows], scores[rows], grid) for rows in samples if 0 < labels[rows].sum() < len(labels[rows])]
    if not curves:
        return None
    low, high = np.percentile(np.stack(curves), [2.5, 97.5], axis=0)
    return low, high


def _counts(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positives and negatives at or above each distinct score, the highest first."""
    distinct, place = np.unique(-np.asarray(scores, dtype=float), return_inverse=True)
    positive = np.asarray(labels) == 1
    hits = np.bincount(place[positive], minlength=len(distinct)).cumsum().astype(float)
    alarms = np.bincount(place[~positive], minlength=len(distinct)).cumsum().astype(float)
    return hits, alarms


def _from_zero(values: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], values])
