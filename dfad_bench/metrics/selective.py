"""Risk against coverage: how wrong a model is on the faces it is surest of, over all shares of faces answered.

Faces are answered in the order of their confidence. Faces of equal confidence have no order: the expectation over all
orders is computed, so that a constant confidence scores the error rate, and no order of a file changes a number.
"""

from __future__ import annotations

import numpy as np


def risk_curve(confidence: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Expected share of losses among the k surest faces, k = 1 ... n.

    In a block of b equal confidences with losses B behind k0 faces with losses L0 it is (L0 + B j / b) / (k0 + j).

    Args:
        confidence: (n,) larger being surer.
        losses: (n,) 1 where the answer is wrong, or any cost.

    >>> risk_curve(np.array([0.9, 0.8, 0.8]), np.array([0, 1, 0])).round(3).tolist()
    [0.0, 0.25, 0.333]
    """
    order = np.argsort(-np.asarray(confidence, dtype=float), kind="stable")
    ranked, losses = np.asarray(confidence, dtype=float)[order], np.asarray(losses, dtype=float)[order]
    if not len(ranked):
        return np.zeros(0)
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    sizes = np.diff(np.append(starts, len(ranked)))
    spread_evenly = np.repeat(np.add.reduceat(losses, starts) / sizes, sizes)
    risks: np.ndarray = np.cumsum(spread_evenly) / np.arange(1, len(ranked) + 1)
    return risks


def aurc(confidence: np.ndarray, losses: np.ndarray) -> float | None:
    """Area under the risk-coverage curve: the mean of `risk_curve`; lower is better, None for no faces.

    Geifman and El-Yaniv, NeurIPS 2017.

    >>> aurc(np.full(4, 0.5), np.array([1, 0, 0, 0]))
    0.25
    """
    risks = risk_curve(confidence, losses)
    return float(risks.mean()) if len(risks) else None


def best_aurc(errors: int, count: int) -> float:
    """The area of a confidence that puts every wrong face last: the least there is for so many errors.

    >>> round(best_aurc(1, 4), 4)
    0.0625
    """
    k = np.arange(1, count + 1)
    return float((np.maximum(0, k - (count - errors)) / k).mean()) if count else 0.0


def excess_aurc(confidence: np.ndarray, losses: np.ndarray) -> float | None:
    """What of `aurc` an order by confidence could save, with losses of 0 and 1 (Geifman et al., ICLR 2019).

    >>> excess_aurc(np.array([0.9, 0.1]), np.array([0, 1]))
    0.0
    """
    area = aurc(confidence, losses)
    return None if area is None else area - best_aurc(int(np.asarray(losses).sum()), len(losses))


def augrc(confidence: np.ndarray, losses: np.ndarray) -> float | None:
    """Mean over k of the losses among the k surest faces, over all n: counts what is wrong and answered.

    Traub et al., NeurIPS 2024; unlike `aurc` it does not weigh the first faces most. None for no faces.

    >>> augrc(np.array([0.9, 0.1]), np.array([0, 1]))
    0.25
    """
    risks = risk_curve(confidence, losses)
    n = len(risks)
    return float((risks * np.arange(1, n + 1)).mean() / n) if n else None


def open_aurc(scores: np.ndarray, seen: np.ndarray, right: np.ndarray, mix: float = 0.5) -> float | None:
    """Risk-coverage area of naming seen generators among unseen faces, at a stated share of unseen ones.

    Accepted faces are named: a loss is a seen face with a wrong name, and every unseen one. Faces weigh so that unseen
    ones are `mix` of all; faces of equal score are accepted together, bit by bit. None without faces of both.

    Args:
        scores: (n,) larger being more like the seen classes.
        seen: (n,) bool.
        right: (n,) bool, named rightly.
        mix: share of unseen faces.

    >>> two = np.array([True, False])
    >>> open_aurc(np.zeros(2), two, two), round(open_aurc(np.array([1.0, 0.0]), two, two), 4)
    (0.5, 0.1534)
    """
    seen = np.asarray(seen, dtype=bool)
    if seen.all() or not seen.any():
        return None
    weights = np.where(seen, (1 - mix) / seen.sum(), mix / (~seen).sum())
    order = np.argsort(-np.asarray(scores, dtype=float), kind="stable")
    ranked, weights = np.asarray(scores, dtype=float)[order], weights[order]
    losses = weights * (~(seen & np.asarray(right, dtype=bool)))[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    b, loss = np.add.reduceat(weights, starts), np.add.reduceat(losses, starts)
    k0, l0 = np.cumsum(b) - b, np.cumsum(loss) - loss
    rate = loss / b
    # integral over t in (0, b] of (l0 + rate t) / (k0 + t)
    before = np.where(k0 > 1e-15, k0, 1.0)
    tail = np.where(k0 > 1e-15, (l0 - rate * k0) * np.log1p(b / before), 0.0)
    return float((rate * b + tail).sum())
