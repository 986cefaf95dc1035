"""Detection: is a face real (0) or fake (1)?

Metrics of one class are undefined, and then `None`: never 0.5, never 1.0 (the caller states why). Values below
chance are given as they are, never flipped.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Confusion(NamedTuple):
    """Counts with fake as the positive class."""

    tp: int
    fp: int
    fn: int
    tn: int


def called_fake(p_fake: np.ndarray) -> np.ndarray:
    """Which faces (n,) are called fake: those with `p_fake` > 0.5, as argmax over (real, fake) does.

    >>> called_fake(np.array([0.5, 0.6])).tolist()
    [False, True]
    """
    called: np.ndarray = np.asarray(p_fake) > 0.5
    return called


def false_alarms(p_fake: np.ndarray) -> float | None:
    """Share of real faces (n,) called fake at 0.5, the false positive rate; None for no faces.

    >>> false_alarms(np.array([0.9, 0.5, 0.2, 0.6]))
    0.5
    """
    p_fake = np.asarray(p_fake, dtype=float)
    if np.isnan(p_fake).any():
        raise ValueError(f"{int(np.isnan(p_fake).sum())} scores are NaN")
    return float(called_fake(p_fake).mean()) if len(p_fake) else None


def called_rightly(labels: np.ndarray, p_fake: np.ndarray) -> np.ndarray:
    """Whether each face (n,) is called what its label says.

    >>> called_rightly(np.array([1, 1, 0]), np.array([0.9, 0.2, 0.3])).tolist()
    [True, False, True]
    """
    labels, p_fake = _checked(labels, p_fake)
    right: np.ndarray = called_fake(p_fake) == (labels == 1)
    return right


def confusion(labels: np.ndarray, p_fake: np.ndarray) -> Confusion:
    """Counts of a detection set, by `called_fake`.

    >>> confusion(np.array([1, 1, 0, 0]), np.array([0.9, 0.2, 0.6, 0.1]))
    Confusion(tp=1, fp=1, fn=1, tn=1)
    """
    labels, p_fake = _checked(labels, p_fake)
    called, fake = called_fake(p_fake), labels == 1
    return Confusion(
        int((called & fake).sum()),
        int((called & ~fake).sum()),
        int((~called & fake).sum()),
        int((~called & ~fake).sum()),
    )


def accuracy(labels: np.ndarray, p_fake: np.ndarray) -> float | None:
    """Share of faces called rightly; None for no faces.

    >>> accuracy(np.array([1, 1, 1, 0]), np.ones(4))
    0.75
    """
    return accuracy_of(confusion(labels, p_fake))


def balanced_accuracy(labels: np.ndarray, p_fake: np.ndarray) -> float | None:
    """Mean of the shares of fakes and of reals called rightly; None where either class is absent.

    >>> balanced_accuracy(np.array([1, 1, 1, 0]), np.ones(4))
    0.5
    """
    return balanced_accuracy_of(confusion(labels, p_fake))


def accuracy_of(counts: Confusion) -> float | None:
    """Accuracy from counts."""
    total = sum(counts)
    return (counts.tp + counts.tn) / total if total else None


def balanced_accuracy_of(counts: Confusion) -> float | None:
    """Balanced accuracy from counts."""
    fakes, reals = counts.tp + counts.fn, counts.fp + counts.tn
    if not fakes or not reals:
        return None
    return (counts.tp / fakes + counts.tn / reals) / 2


def tpr(labels: np.ndarray, p_fake: np.ndarray) -> float | None:
    """Share of fakes called fake; None without fakes.

    >>> tpr(np.array([1, 1, 0]), np.array([0.9, 0.2, 0.8]))
    0.5
    """
    counts = confusion(labels, p_fake)
    fakes = counts.tp + counts.fn
    return counts.tp / fakes if fakes else None


def tnr(labels: np.ndarray, p_fake: np.ndarray) -> float | None:
    """Share of reals called real; None without reals.

    >>> tnr(np.array([1, 0, 0]), np.array([0.9, 0.2, 0.8]))
    0.5
    """
    counts = confusion(labels, p_fake)
    reals = counts.fp + counts.tn
    return counts.tn / reals if reals else None


def auc(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Area under the ROC curve: P(score of a positive > score of a negative), ties count a half.

    None where one class is absent.

    >>> auc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    0.75
    >>> auc(np.array([0, 1, 1]), np.ones(3))
    0.5
    """
    labels, scores = _checked(labels, scores)
    positives, negatives = _sorted_counts(labels, scores)
    total = positives.sum() * negatives.sum()
    if not total:
        return None
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + negatives / 2)).sum() / total)


def ap(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Average precision: sum over thresholds of (recall step) times precision; None without positives.

    >>> ap(np.array([1, 0, 1]), np.array([0.9, 0.8, 0.7]))
    0.8333333333333333
    """
    labels, scores = _checked(labels, scores)
    positives, negatives = (counts[::-1] for counts in _sorted_counts(labels, scores))
    if not positives.sum():
        return None
    hits = np.cumsum(positives)
    precision = hits / (hits + np.cumsum(negatives))
    return float((positives / hits[-1] * precision).sum())


def eer(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Equal error rate: where the ROC curve (linear between its points) meets FPR = 1 - TPR; None for one class.

    >>> eer(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9]))
    0.0
    >>> eer(np.array([0, 1]), np.array([0.5, 0.5]))
    0.5
    """
    labels, scores = _checked(labels, scores)
    positives, negatives = (counts[::-1] for counts in _sorted_counts(labels, scores))
    if not positives.sum() or not negatives.sum():
        return None
    tpr = np.concatenate([[0.0], np.cumsum(positives) / positives.sum()])
    fpr = np.concatenate([[0.0], np.cumsum(negatives) / negatives.sum()])
    gap = fpr + tpr - 1  # rises from -1 to 1 along the curve
    at = int(np.argmax(gap >= 0))
    step = -gap[at - 1] / (gap[at] - gap[at - 1])
    return float(fpr[at - 1] + step * (fpr[at] - fpr[at - 1]))


def ece(labels: np.ndarray, p_fake: np.ndarray, *, bins: int = 15) -> float | None:
    """Expected calibration error of `p_fake`; None for no faces.

    Faces are put in `bins` bins of equal width by `p_fake` (Guo et al., ICML 2017, of the fake probability instead
    of the most probable class's); the error is the mean over faces of |mean p_fake - share of fakes| of their bin.

    >>> ece(np.array([1, 0, 1, 0]), np.full(4, 0.75))
    0.25
    """
    labels, p_fake = _checked(labels, p_fake)
    if ((p_fake < 0) | (p_fake > 1)).any():
        raise ValueError("p_fake must lie between 0 and 1")
    if not len(labels):
        return None
    place = np.minimum((p_fake * bins).astype(int), bins - 1)
    return float(np.abs(np.bincount(place, weights=p_fake - labels, minlength=bins)).sum() / len(labels))


def _sorted_counts(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positives and negatives at each distinct score, ascending."""
    distinct, place = np.unique(scores, return_inverse=True)
    size = len(distinct)
    positives = np.bincount(place[labels == 1], minlength=size).astype(float)
    return positives, np.bincount(place[labels != 1], minlength=size).astype(float)


def _checked(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=float)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise ValueError(f"labels and scores must be (n,), got {labels.shape} and {scores.shape}")
    if not ((labels == 0) | (labels == 1)).all():
        raise ValueError("labels must be 0 (real) or 1 (fake)")
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).sum())} scores are NaN")
    return labels, scores
