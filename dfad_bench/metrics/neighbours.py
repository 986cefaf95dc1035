"""Retrieval by nearest neighbours: a query is to find the registered faces of its own generator."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_ROWS = 512  # queries compared with all registered faces at once


class Retrieved(NamedTuple):
    """Of each query (m,): share of its nearest registered faces that are of its generator, and average precision.

    Nearest ones are several where they are equally near. `chance` is the share of registered faces of its generator.
    """

    rank1: np.ndarray
    precision: np.ndarray
    chance: np.ndarray


def neighbour_retrieval(
    queries: np.ndarray, generators: np.ndarray, known: np.ndarray, known_generators: np.ndarray
) -> Retrieved:
    """Rank registered faces by cosine similarity for each query.

    Average precision counts equal similarities together, as scikit-learn does.

    Args:
        queries: (m, d) vectors.
        generators: (m,) their generators, each with registered faces.
        known: (r, d) vectors of registered faces.
        known_generators: (r,) their generators.

    >>> line = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> neighbour_retrieval(line, np.array(["a", "b"]), line, np.array(["a", "b"])).precision.tolist()
    [1.0, 1.0]
    """
    registered, names = _unit(known), np.asarray(known_generators)
    rank1, precision, chance = [], [], []
    for begin in range(0, len(queries), _ROWS):
        similar = _unit(queries[begin : begin + _ROWS]) @ registered.T
        own = np.asarray(generators)[begin : begin + _ROWS, None] == names[None]
        for row, mine in zip(np.round(similar, 6), own, strict=True):  # rounding must not put equal faces in an order
            first = row == row.max()
            rank1.append(mine[first].mean())
            precision.append(average_precision(row, mine))
            chance.append(mine.mean())
    return Retrieved(np.array(rank1), np.array(precision), np.array(chance))


def average_precision(scores: np.ndarray, relevant: np.ndarray) -> float:
    """Sum over distinct scores of the recall gained times the precision there; NaN where none is relevant.

    >>> average_precision(np.array([0.9, 0.8]), np.array([False, True]))
    0.5
    """
    total = int(relevant.sum())
    if not total:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    hits = np.cumsum(relevant[order])[ends]
    gained = np.diff(hits, prepend=0) / total
    return float((gained * hits / (ends + 1)).sum())


def _unit(values: np.ndarray) -> np.ndarray:
    rows = np.asarray(values, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: np.ndarray = rows / np.where(lengths > 0, lengths, 1)
    return scaled
