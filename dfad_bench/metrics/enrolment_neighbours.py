"""Enrolment by nearest neighbours: a face gets the class of most of its k nearest faces, enrolled or of training.

A prototype stands for a generator whose faces lie together; neighbours do so for one whose faces lie in several places.
As many neighbours are asked as a new generator has faces at least, at most five: more could never be won by it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MOST_NEIGHBOURS = 5
_ROWS = 1024  # faces compared with all others at once


class Neighbours(NamedTuple):
    """Of each face (n,) its k nearest, in no order: their cosine (n, k), and the number of their class (n, k)."""

    similar: np.ndarray
    place: np.ndarray


def neighbours_asked(shots: int) -> int:
    """How many neighbours are asked where a new generator has so many faces; of none, as many as can be.

    >>> neighbours_asked(2), neighbours_asked(20), neighbours_asked(0)
    (2, 5, 5)
    """
    return min(shots, MOST_NEIGHBOURS) if shots else MOST_NEIGHBOURS


def nearest_faces(points: np.ndarray, known: np.ndarray, place: np.ndarray, k: int = MOST_NEIGHBOURS) -> Neighbours:
    """The k nearest of some known faces.

    Args:
        points: (n, d) embeddings of length 1.
        known: (m, d) those of the known faces.
        place: (m,) number of the class of each.
        k: all where there are fewer.
    """
    found = [_largest(points[begin : begin + _ROWS] @ known.T, place, k) for begin in range(0, len(points), _ROWS)]
    if not found:
        return Neighbours(np.zeros((0, 0)), np.zeros((0, 0), dtype=int))
    return Neighbours(np.concatenate([one.similar for one in found]), np.concatenate([one.place for one in found]))


def _largest(similar: np.ndarray, place: np.ndarray, k: int) -> Neighbours:
    """The k largest of each row (n, m), with the classes of their columns (m,)."""
    k = min(k, similar.shape[1])
    columns = np.argpartition(-similar, k - 1, axis=1)[:, :k] if k else np.zeros((len(similar), 0), dtype=int)
    return Neighbours(np.take_along_axis(similar, columns, axis=1), np.asarray(place)[columns])


def merged_neighbours(first: Neighbours, second: Neighbours, k: int) -> Neighbours:
    """The k nearest of both, each of at least k or of all there are."""
    similar = np.concatenate([first.similar, second.similar], axis=1)
    place = np.concatenate([first.place, second.place], axis=1)
    columns = np.argpartition(-similar, min(k, similar.shape[1]) - 1, axis=1)[:, :k]
    return Neighbours(np.take_along_axis(similar, columns, axis=1), np.take_along_axis(place, columns, axis=1))


def votes(nearest: Neighbours, classes: int) -> np.ndarray:
    """A score of each class (n, classes): its votes, of as many the nearer one's more; -inf without a vote.

    >>> near = Neighbours(np.array([[0.9, 0.2, 0.8]]), np.array([[1, 0, 1]]))
    >>> votes(near, 3).round(2).tolist()
    [[1.3, 2.48, -inf]]
    """
    rows = np.arange(len(nearest.similar))
    count, best = np.zeros((len(rows), classes)), np.full((len(rows), classes), -np.inf)
    for column in range(nearest.similar.shape[1]):
        at = (rows, nearest.place[:, column])
        count[at] += 1
        best[at] = np.maximum(best[at], nearest.similar[:, column])
    scores: np.ndarray = count + (1 + best) / 4  # cosines add 0 to 1/2
    return scores
