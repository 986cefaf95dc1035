"""Scores of probabilities and logits alone; logits are lost up to a constant in probabilities, so two need logits."""

from __future__ import annotations

import numpy as np


def largest_probability(probs: np.ndarray) -> np.ndarray:
    """The largest class probability: the papers' confidence.

    >>> largest_probability(np.array([[0.7, 0.3]])).tolist()
    [0.7]
    """
    found: np.ndarray = probs.max(axis=1)
    return found


def largest_logit(logits: np.ndarray) -> np.ndarray:
    """The largest logit.

    >>> largest_logit(np.array([[2.0, -1.0]])).tolist()
    [2.0]
    """
    found: np.ndarray = logits.max(axis=1)
    return found


def energy(logits: np.ndarray) -> np.ndarray:
    """Log sum exp of the logits: the negative energy at temperature 1.

    >>> round(float(energy(np.array([[0.0, 0.0]]))[0]), 3)
    0.693
    """
    z = np.asarray(logits, dtype=np.float64)
    top = z.max(axis=1)
    found: np.ndarray = top + np.log(np.exp(z - top[:, None]).sum(axis=1))
    return found


def negative_entropy(probs: np.ndarray) -> np.ndarray:
    """Sum p log p, with 0 log 0 = 0.

    >>> negative_entropy(np.array([[1.0, 0.0]])).tolist()
    [0.0]
    """
    p = np.asarray(probs, dtype=np.float64)
    found: np.ndarray = (p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1)
    return found


def probability_margin(probs: np.ndarray) -> np.ndarray:
    """The largest class probability less the second largest.

    >>> probability_margin(np.array([[0.5, 0.25, 0.25]])).tolist()
    [0.25]
    """
    ordered = np.sort(np.asarray(probs, dtype=np.float64), axis=1)
    found: np.ndarray = ordered[:, -1] - ordered[:, -2]
    return found
