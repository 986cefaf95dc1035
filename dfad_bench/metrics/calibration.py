"""Are probabilities of classes shares of right answers? Errors of calibration, proper scores, and a temperature.

Binned errors are biased upwards: a perfect model has one, too, larger with fewer faces. Proper scores need no bins.
"""

from __future__ import annotations

import numpy as np

BINS = 15
LEAST_TEMPERATURE = 0.01  # and one over it the largest


def binned_gap(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float | None:
    """Mean over faces of |mean confidence - share right| of their bin, bins holding as many faces each.

    Bins of equal mass are less biased than those of equal width (Roelofs et al., AISTATS 2022). Faces of equal
    confidence are in one bin. None for no faces.

    >>> binned_gap(np.full(4, 0.75), np.array([1, 1, 0, 0]))
    0.25
    """
    if not len(confidence):
        return None
    place = equal_mass_bins(confidence, bins)
    gaps = np.bincount(place, weights=np.asarray(confidence, dtype=float) - np.asarray(right, dtype=float))
    return float(np.abs(gaps).sum() / len(confidence))


def equal_mass_bins(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """The bin (n,) of each face; bins hold about as many faces each, and equal confidences are in one.

    >>> equal_mass_bins(np.array([0.1, 0.9, 0.9, 0.9]), 2).tolist()
    [0, 1, 1, 1]
    """
    distinct, inverse, counts = np.unique(np.asarray(confidence, dtype=float), return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    place: np.ndarray = np.minimum((middle / counts.sum() * bins).astype(int), bins - 1)[inverse]
    return place


def confidence_ece(probs: np.ndarray, labels: np.ndarray) -> float | None:
    """Expected calibration error of the largest probability (Guo et al., ICML 2017).

    >>> confidence_ece(np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 0]))
    0.25
    """
    return binned_gap(probs.max(axis=1), probs.argmax(axis=1) == labels)


def top_label_ece(probs: np.ndarray, labels: np.ndarray) -> float | None:
    """The same within the faces of each named class, weighted by how often it is named (Gupta and Ramdas, ICLR 2022).

    >>> top_label_ece(np.array([[0.75, 0.25], [0.25, 0.75]]), np.array([0, 0]))
    0.5
    """
    if not len(probs):
        return None
    named, total = probs.argmax(axis=1), 0.0
    for k in np.unique(named):
        mine = named == k
        total += mine.mean() * (binned_gap(probs[mine].max(axis=1), labels[mine] == k) or 0.0)
    return float(total)


def classwise_ece(probs: np.ndarray, labels: np.ndarray) -> float | None:
    """Mean over classes of the calibration error of "is it this class" (Kull et al., NeurIPS 2019).

    >>> classwise_ece(np.array([[0.75, 0.25]] * 4), np.array([0, 0, 0, 1]))
    0.0
    """
    if not len(probs):
        return None
    return float(np.mean([binned_gap(probs[:, k], labels == k) for k in range(probs.shape[1])]))


def log_loss(probs: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float | None:
    """Mean of -log p of the true class; a probability of zero counts as the least there is.

    >>> round(log_loss(np.array([[0.5, 0.5]]), np.array([1])), 3)
    0.693
    """
    if not len(probs):
        return None
    own = np.maximum(np.asarray(probs, dtype=float)[np.arange(len(labels)), labels], np.finfo(np.float32).tiny)
    return float(np.average(-np.log(own), weights=weights))


def brier(probs: np.ndarray, labels: np.ndarray) -> float | None:
    """Mean squared distance of the probabilities from the true class, 0 to 2 (Brier, 1950).

    >>> brier(np.array([[0.5, 0.5]]), np.array([1]))
    0.5
    """
    if not len(probs):
        return None
    truth = np.eye(probs.shape[1])[labels]
    return float(((np.asarray(probs, dtype=float) - truth) ** 2).sum(axis=1).mean())


def scaled_probabilities(probs: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities with their logits divided by a temperature; a constant that softmax lost of logits does not matter.

    >>> scaled_probabilities(np.array([[0.8, 0.2]]), 1.0).round(3).tolist()
    [[0.8, 0.2]]
    """
    logits = np.log(np.maximum(np.asarray(probs, dtype=float), np.finfo(np.float32).tiny)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scaled: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return scaled


def fitted_temperature(probs: np.ndarray, labels: np.ndarray, sources: np.ndarray) -> float | None:
    """The temperature of least log loss (Guo et al., ICML 2017); each source weighs as one face. None for no faces.

    The loss is convex in the inverse temperature, so that a bounded search finds it, always the same.
    """
    from scipy.optimize import minimize_scalar

    if not len(probs):
        return None
    _, place, counts = np.unique(sources, return_inverse=True, return_counts=True)
    weights = 1.0 / counts[place]

    def loss(inverse: float) -> float:
        return log_loss(scaled_probabilities(probs, 1 / inverse), labels, weights) or 0.0

    found = minimize_scalar(
        loss, bounds=(LEAST_TEMPERATURE, 1 / LEAST_TEMPERATURE), method="bounded", options={"xatol": 1e-6}
    )
    return float(1 / found.x)
