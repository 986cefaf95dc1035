"""Retrieval: a few faces of each generator are registered, others are to find their generator again.

This asks of unseen generators what a blacklist asks: once some of its faces are known, is a generator found again?
"""

from __future__ import annotations

import numpy as np

_TIE = 1e-9  # squared distances nearer than this are equal


def prototype_retrieval(probs: np.ndarray, generators: np.ndarray, registered: np.ndarray) -> np.ndarray:
    """Hits of the queries: 1 where the nearest prototype is that of the query's own generator.

    A prototype is the mean of a generator's registered rows; the distance is Hellinger's, which is Euclid's between
    square roots of probabilities. Prototypes equally near share the hit, so a constant model scores one over the
    number of generators. NaN for registered rows, and for queries whose generator has no registered row.

    Args:
        probs: (n, d) rows that are not negative: class probabilities.
        generators: (n,) generator of each row.
        registered: (n,) bool; the other rows are queries.

    >>> p = np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.8, 0.2]])
    >>> prototype_retrieval(p, np.array(["a", "b", "a", "b"]), np.array([True, True, False, False]))
    array([nan, nan,  1.,  0.])
    """
    probs, generators = np.asarray(probs, dtype=float), np.asarray(generators)
    registered = np.asarray(registered, dtype=bool)
    if probs.ndim != 2 or len(probs) != len(generators) or len(probs) != len(registered):
        raise ValueError(f"shapes do not fit: {probs.shape}, {generators.shape}, {registered.shape}")
    if np.isnan(probs).any() or (probs < 0).any():
        raise ValueError("probabilities must not be NaN and not negative")
    hits = np.full(len(probs), np.nan)
    names, of_name = np.unique(generators[registered], return_inverse=True)
    queries = ~registered & np.isin(generators, names)
    if not queries.any():
        return hits
    sums = [np.bincount(of_name, weights=column, minlength=len(names)) for column in probs[registered].T]
    prototypes = np.sqrt(np.stack(sums, axis=1) / np.bincount(of_name)[:, None])
    points = np.sqrt(probs[queries])
    squared = (points**2).sum(1)[:, None] + (prototypes**2).sum(1) - 2 * points @ prototypes.T
    near = squared <= squared.min(axis=1, keepdims=True) + _TIE
    own = generators[queries][:, None] == names
    hits[queries] = (near & own).sum(axis=1) / near.sum(axis=1)
    return hits


def retrieval_share(probs: np.ndarray, generators: np.ndarray, registered: np.ndarray) -> float | None:
    """Mean of the hits of `prototype_retrieval` over the queries that can be found; None where there are none.

    Args:
        probs: as of `prototype_retrieval`.
        generators: likewise.
        registered: likewise.

    >>> p = np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.8, 0.2]])
    >>> retrieval_share(p, np.array(["a", "b", "a", "b"]), np.array([True, True, False, False]))
    0.5
    """
    hits = prototype_retrieval(probs, generators, registered)
    known = hits[~np.isnan(hits)]
    return float(known.mean()) if len(known) else None
