"""Enrolment: new generators learnt from a few faces without training, as further prototypes in embedding space.

Each episode enrols `shots` faces of every new generator, of as many sources; faces of enrolled sources, of whatever
generator, are asked nothing. A gallery holds a prototype a class: the mean of embeddings of length 1, of length 1 too.
`metrics.enrolment_neighbours` names faces by single ones instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

_TIE = 1e-9


class Episode(NamedTuple):
    """The rows that are enrolled, by generator, and which rows (n,) bool are of none of their sources."""

    enrolled: Mapping[str, np.ndarray]
    asked: np.ndarray


class NamedRows(NamedTuple):
    """Which share of each row (n,) is named as its own class, as any new one, and as its own among new ones alone.

    Shares are 0 or 1 but for ties; rows that were not asked, or are of no new generator (`among_new`), are NaN.
    """

    rightly: np.ndarray
    as_new: np.ndarray
    among_new: np.ndarray


def drawn_episodes(
    group: np.ndarray, source: np.ndarray, keys: Sequence[str], shots: int, count: int, seed: int
) -> Iterator[Episode]:
    """Episodes with one face of each of `shots` sources a generator.

    Sources come in one random order for all generators, so that those which share sources (targets) enrol the same ones
    and few are lost as queries. Episodes of one seed are the same for every model and nested in `shots`.

    Args:
        group: (n,) generator of each row.
        source: (n,) its source.
        keys: the new generators.
        shots: faces of each; 0 enrols none.
        count: of episodes.
        seed: of the draws.

    Raises:
        ValueError: a generator has no source left to ask.
    """
    names, place = np.unique(source, return_inverse=True)
    rows_of = {key: np.flatnonzero(group == key) for key in keys}
    for key, rows in rows_of.items():
        if len(np.unique(place[rows])) <= shots:
            raise ValueError(f"{key} has {len(np.unique(place[rows]))} sources; {shots} are enrolled, one must be left")
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        order, face = rng.permutation(len(names)), rng.random(len(source))
        enrolled = {}
        for key, rows in rows_of.items():
            ranked = rows[np.lexsort((face[rows], order[place[rows]]))]
            first = np.unique(order[place[ranked]], return_index=True)[1]  # a face a source
            enrolled[key] = ranked[first[:shots]]
        used = place[np.concatenate([*enrolled.values(), np.zeros(0, dtype=int)])]
        yield Episode(enrolled, ~np.isin(place, used))


def prototypes_of(embedding: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A prototype of length 1 for each label (k, d), and the labels, sorted.

    >>> prototypes_of(np.array([[2.0, 0.0], [0.0, 3.0]]), np.array([1, 0]))[0].tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    rows = unit_length(embedding)
    names, place = np.unique(labels, return_inverse=True)
    return unit_length(np.stack([rows[place == k].mean(axis=0) for k in range(len(names))])), names


def name_rows(
    points: np.ndarray, own: np.ndarray, gallery: np.ndarray, new: np.ndarray, asked: np.ndarray
) -> NamedRows:
    """Name rows by the nearest prototype, cosine; rows equally near several are shared among them.

    Args:
        points: (n, d) embeddings of length 1.
        own: (n,) which prototype is right, -1 for none.
        gallery: (k, d) prototypes of length 1.
        new: (k,) bool, which are of new generators.
        asked: (n,) bool.

    >>> corners = np.eye(2)
    >>> name_rows(corners, np.array([0, 1]), corners, np.array([False, True]), np.ones(2, bool)).rightly.tolist()
    [1.0, 1.0]
    """
    similar = points @ gallery.T
    return named_rows(similar, np.where(new, similar, -np.inf), own, new, asked)


def named_rows(
    scores: np.ndarray, scores_new: np.ndarray, own: np.ndarray, new: np.ndarray, asked: np.ndarray
) -> NamedRows:
    """Name rows by the class of the largest score; rows with several of these are shared among them.

    Args:
        scores: (n, k) of each row for each class.
        scores_new: (n, k) where new classes alone are known, -inf for others.
        own: (n,) which class is right, -1 for none.
        new: (k,) bool, which are of new generators.
        asked: (n,) bool.
    """
    rows = np.arange(len(scores))
    rightly, among_new, as_new = (np.full(len(scores), np.nan) for _ in range(3))
    near = _shares(scores)
    rightly[asked] = np.where(own >= 0, near[rows, own], 0.0)[asked]
    as_new[asked] = near[asked][:, new].sum(axis=1)
    if new.any():
        of_new = asked & (own >= 0) & new[own]
        among_new[of_new] = _shares(scores_new)[rows, own][of_new]
    return NamedRows(rightly, as_new, among_new)


def unit_length(values: np.ndarray) -> np.ndarray:
    """Rows (n, d) of length 1, in double precision; rows of zeros stay."""
    rows = np.asarray(values, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: np.ndarray = rows / np.where(lengths > 0, lengths, 1)
    return scaled


def _shares(similar: np.ndarray) -> np.ndarray:
    """Of each row (n, k), one share for each of the columns that are largest."""
    near = similar >= similar.max(axis=1, keepdims=True, initial=-np.inf) - _TIE
    shares: np.ndarray = near / near.sum(axis=1, keepdims=True)
    return shares
