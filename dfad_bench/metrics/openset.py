"""Attribution in an open set: name the seen generators, notice the unseen ones.

A face's confidence is its largest class probability. The papers count an unseen face as right where the confidence
is below a threshold (BMRL section 4.1; strictly below). A model whose confidence is always low satisfies that for
every face: read `unseen_accuracy` beside `seen_accuracy`, `auroc` and `oscr`.
"""

from __future__ import annotations

import numpy as np

from dfad_bench.metrics.detection import auc


def named_rightly(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the most probable class of each face (n,) is its label, whatever the probability.

    >>> named_rightly(np.array([[0.6, 0.4], [0.6, 0.4]]), np.array([0, 1])).tolist()
    [True, False]
    """
    probs = _checked(probs)
    if len(labels) != len(probs):
        raise ValueError(f"{len(probs)} rows of probabilities, {len(labels)} labels")
    right: np.ndarray = probs.argmax(axis=1) == labels
    return right


def below_threshold(probs: np.ndarray, threshold: float) -> np.ndarray:
    """Whether the confidence of each face (n,) is strictly below `threshold`: the rule that calls a face unseen.

    >>> below_threshold(np.array([[0.9, 0.1], [0.6, 0.4]]), threshold=0.9).tolist()
    [False, True]
    """
    below: np.ndarray = _checked(probs).max(axis=1) < threshold
    return below


def seen_accuracy(probs: np.ndarray, labels: np.ndarray) -> float | None:
    """Share of seen faces whose most probable class is their label, without any threshold; None for no faces.

    >>> seen_accuracy(np.array([[0.6, 0.4], [0.6, 0.4]]), np.array([0, 1]))
    0.5
    """
    right = named_rightly(probs, labels)
    return float(right.mean()) if len(right) else None


def unseen_accuracy(probs: np.ndarray, threshold: float) -> float | None:
    """Share of rows whose largest class probability is strictly below `threshold`; None for no faces.

    >>> unseen_accuracy(np.array([[0.95, 0.05], [0.6, 0.4]]), threshold=0.9)
    0.5
    """
    below = below_threshold(probs, threshold)
    return float(below.mean()) if len(below) else None


def auroc(seen_probs: np.ndarray, unseen_probs: np.ndarray) -> float | None:
    """P(a seen face has more confidence than an unseen one), ties a half: the area under the ROC of the confidence.

    None where there are no seen or no unseen faces.

    >>> auroc(np.array([[0.9, 0.1]]), np.array([[0.5, 0.5], [0.9, 0.1]]))
    0.75
    """
    seen, unseen = _checked(seen_probs).max(axis=1), _checked(unseen_probs).max(axis=1)
    labels = np.repeat([1, 0], [len(seen), len(unseen)])
    return auc(labels, np.concatenate([seen, unseen]))


def oscr(seen_probs: np.ndarray, labels: np.ndarray, unseen_probs: np.ndarray) -> float | None:
    """Area under correct classification rate (seen) over false positive rate (unseen), all thresholds.

    Dhamija et al., 2018. Linear between the points of the curve, so ties count a half: this is P(a seen face is
    named rightly and has more confidence than an unseen one). None where there are no seen or no unseen faces.

    >>> oscr(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]), np.array([[0.5, 0.5]]))
    0.5
    """
    seen_probs, unseen_probs = _checked(seen_probs), _checked(unseen_probs)
    if not len(seen_probs) or not len(unseen_probs):
        return None
    right = named_rightly(seen_probs, labels)
    if not right.any():
        return 0.0
    ranked = auroc(seen_probs[right], unseen_probs)
    return float(right.mean()) * (ranked if ranked is not None else 0.0)


def fpr95(seen_probs: np.ndarray, unseen_probs: np.ndarray) -> float | None:
    """FPR@95 with seen faces as the positive class: unseen faces accepted where 95 % of the seen ones are.

    The share of unseen faces accepted (confidence at or above the threshold) at the highest threshold that accepts at
    least 95 % of the seen ones. None where there are no seen or no unseen faces. `fpr95_openood` takes the other class
    as positive; the two may differ by nearly 1 on the same faces.

    >>> fpr95(np.array([[0.9, 0.1]] * 20), np.array([[0.95, 0.05], [0.6, 0.4]]))
    0.5
    """
    seen, unseen = _checked(seen_probs).max(axis=1), _checked(unseen_probs).max(axis=1)
    return share_at_95(seen, unseen)


def fpr95_openood(seen_probs: np.ndarray, unseen_probs: np.ndarray) -> float | None:
    """FPR@95 with unseen faces as the positive class: seen faces rejected where 95 % of the unseen ones are.

    The convention of OpenOOD (Yang et al., NeurIPS 2022): the share of seen faces rejected (confidence at or below the
    threshold) at the lowest threshold that rejects at least 95 % of the unseen ones. None where there are no seen or
    no unseen faces.

    >>> fpr95_openood(np.array([[0.95, 0.05], [0.6, 0.4]]), np.array([[0.6, 0.4]] * 20))
    0.5
    """
    seen, unseen = _checked(seen_probs).max(axis=1), _checked(unseen_probs).max(axis=1)
    return share_at_95(-unseen, -seen)


def share_at_95(positives: np.ndarray, negatives: np.ndarray) -> float | None:
    """Share of negatives at or above the highest threshold that 95 % of the positives reach; None without both.

    >>> share_at_95(np.ones(20), np.array([1.0, 0.5]))
    0.5
    """
    if not len(positives) or not len(negatives):
        return None
    return float((negatives >= threshold_at_95(positives)).mean())


def threshold_at_95(positives: np.ndarray) -> float:
    """The highest threshold that 95 % of the positives (n,), at least one, reach.

    >>> threshold_at_95(np.arange(20.0))
    1.0
    """
    needed = -(-95 * len(positives) // 100)  # ceiling of 0.95 n, in integers
    return float(np.sort(positives)[::-1][needed - 1])


def _checked(probs: np.ndarray) -> np.ndarray:
    probs = np.asarray(probs, dtype=float)
    if probs.ndim != 2:
        raise ValueError(f"probs must be (n, classes), got {probs.shape}")
    if np.isnan(probs).any():
        raise ValueError(f"{int(np.isnan(probs).any(axis=1).sum())} rows hold NaN probabilities")
    return probs
