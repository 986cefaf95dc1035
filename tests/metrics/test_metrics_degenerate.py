"""Where the faces do not vary, tests count what chance could do instead of taking it for certainty."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from dfad_bench.metrics import permutation
from dfad_bench.metrics.detection import auc
from dfad_bench.metrics.paired import delong, mcnemar
from dfad_bench.metrics.permutation import permutation_test

LABELS = np.array([1, 1, 0, 0])
PERFECT = np.array([0.9, 0.8, 0.2, 0.1])


def plain_p(labels: np.ndarray, a: np.ndarray, b: np.ndarray, clusters: np.ndarray) -> tuple[float, int]:
    """The p-value by building every assignment of labels to sources; and how many there are."""
    names = np.unique(clusters)
    pure = [name for name in names if len(set(labels[clusters == name])) == 1]
    mixed = [name for name in names if name not in pure]
    positive = [name for name in pure if labels[clusters == name][0] == 1]
    observed, reached, ways = abs(auc(labels, a) - auc(labels, b)), 0, 0
    for chosen in combinations(pure, len(positive)):
        for flips in product([False, True], repeat=len(mixed)):
            dealt = labels.copy()
            for name in pure:
                dealt[clusters == name] = int(name in chosen)
            for name, flip in zip(mixed, flips, strict=True):
                dealt[clusters == name] ^= int(flip)
            reached += abs(auc(dealt, a) - auc(dealt, b)) >= observed - 1e-12
            ways += 1
    return reached / ways, ways


def test_perfect_against_constant_on_four_faces_is_two_of_six() -> None:
    found = delong(LABELS, PERFECT, np.full(4, 0.5))
    assert found is not None
    assert (found.p, found.test, found.assignments, found.standard_error) == (2 / 6, "permutation exact", 6, 0.0)
    reversed_one = delong(LABELS, PERFECT, -PERFECT)
    assert reversed_one is not None
    assert reversed_one.p == 2 / 6
    same = delong(LABELS, PERFECT, PERFECT**2)  # both perfect: nothing differs
    assert same is not None
    assert (same.p, same.test) == (1.0, "delong")


@pytest.mark.parametrize("seed", range(6))
def test_the_permutation_test_equals_building_every_assignment(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 10
    labels = np.concatenate([[1, 0], rng.integers(0, 2, n - 2)])
    a, b = rng.integers(0, 4, n) / 4, rng.random(n)
    clusters = np.arange(n) if seed % 2 else rng.integers(0, 6, n)
    found = permutation_test(labels, a, b, clusters)
    assert found is not None
    p, ways = plain_p(labels, a, b, clusters)
    assert (found.p, found.assignments, found.exact) == (pytest.approx(p), ways, True)


def test_many_faces_are_drawn_and_never_certain() -> None:
    labels = np.repeat([1, 0], 500)
    found = delong(labels, labels.astype(float), np.zeros(1000))
    assert found is not None
    assert (found.test, found.assignments) == ("permutation", permutation.DRAWS)
    assert found.p == 1 / (permutation.DRAWS + 1)


def test_drawn_assignments_agree_with_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    labels, a, b = np.repeat([1, 0], [9, 4]), rng.random(13) + np.repeat([0.3, 0], [9, 4]), rng.random(13)
    clusters = np.array([0, 0, 1, 2, 3, 4, 5, 6, 6, 6, 7, 8, 9])
    exact = permutation_test(labels, a, b, clusters)
    monkeypatch.setattr(permutation, "MOST_ASSIGNMENTS", 1)
    drawn = permutation_test(labels, a, b, clusters)
    assert exact is not None
    assert drawn is not None
    assert (exact.exact, drawn.exact) == (True, False)
    assert drawn.p == pytest.approx(exact.p, abs=0.02)


def test_few_of_many_are_counted_without_all_combinations_of_halves() -> None:
    """398 of 400 sources: 79,800 ways, though halves of 400 are beyond counting."""
    labels = np.array([1] * 398 + [0] * 2)
    found = permutation_test(labels, labels.astype(float), np.zeros(400))
    assert found is not None
    assert (found.assignments, found.exact) == (79_800, True)
    assert found.p == pytest.approx(1 / 79_800)


def test_one_class_has_no_test() -> None:
    assert permutation_test(np.ones(3), np.arange(3), np.zeros(3)) is None


def test_no_p_value_is_zero() -> None:
    """The normal approximation of a large difference is too small for a float; it is still no certainty."""
    right = np.ones(5000, dtype=bool)
    assert 0 < mcnemar(right, ~right).p < 1e-300
    rng, labels = np.random.default_rng(0), np.repeat([1, 0], 5000)
    found = delong(labels, labels + 0.3 * rng.normal(size=10_000), rng.normal(size=10_000))
    assert found is not None
    assert 0 < found.p < 1e-300
