from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from dfad_bench.metrics.enrolment import unit_length
from dfad_bench.metrics.enrolment_neighbours import (
    Neighbours,
    merged_neighbours,
    nearest_faces,
    neighbours_asked,
    votes,
)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_the_class_of_most_neighbours_is_scikit_learns(k: int) -> None:
    rng = np.random.default_rng(k)
    known, place = unit_length(rng.normal(size=(300, 6))), rng.integers(0, 4, 300)
    points = unit_length(rng.normal(size=(2000, 6)))
    theirs = KNeighborsClassifier(k, algorithm="brute").fit(known, place).predict_proba(points)
    ours = votes(nearest_faces(points, known, place, k), 4)
    counts = np.where(np.isfinite(ours), np.floor(ours), 0)  # a cosine of 1 adds a half, never a vote
    assert np.array_equal(counts, np.rint(theirs * k))


def test_of_as_many_votes_the_nearer_class_wins_and_equal_ones_are_equal() -> None:
    near = Neighbours(np.array([[0.9, 0.7, 0.8, 0.1], [0.5, 0.5, 0.2, 0.2]]), np.array([[0, 0, 1, 1], [2, 1, 2, 1]]))
    found = votes(near, 3)
    assert found[0].argmax() == 0
    assert found[1, 1] == found[1, 2] > found[1, 0]


def test_parts_that_are_merged_are_the_whole() -> None:
    rng = np.random.default_rng(0)
    known, place, points = rng.normal(size=(60, 4)), rng.integers(0, 5, 60), rng.normal(size=(40, 4))
    whole = nearest_faces(points, known, place, 5)
    parts = [
        nearest_faces(points, known[rows], place[rows], 5) for rows in (slice(0, 50), slice(50, 53), slice(53, 60))
    ]
    both = merged_neighbours(merged_neighbours(parts[0], parts[1], 5), parts[2], 5)
    assert np.allclose(np.sort(both.similar), np.sort(whole.similar))
    assert np.allclose(votes(both, 5), votes(whole, 5))
    assert nearest_faces(points[:0], known, place).similar.shape == (0, 0)
    assert nearest_faces(points, known[:2], place[:2]).similar.shape == (40, 2)


def test_no_more_neighbours_are_asked_than_a_new_generator_has_faces() -> None:
    assert [neighbours_asked(shots) for shots in (0, 1, 2, 5, 10)] == [5, 1, 2, 5, 5]
