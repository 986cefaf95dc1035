"""The permutation test against a plain loop over all ways to deal the labels."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from dfad_bench.metrics.detection import auc
from dfad_bench.metrics.permutation import permutation_test


def by_hand(labels: np.ndarray, a: np.ndarray, b: np.ndarray, clusters: np.ndarray) -> tuple[float, int]:
    """p and the number of ways, one way after the other."""

    def apart(dealt: np.ndarray) -> float:
        if dealt.all() or not dealt.any():
            return float("nan")
        return abs(auc(dealt, a) - auc(dealt, b))

    names = np.unique(clusters)
    of = {name: labels[clusters == name] for name in names}
    pure = [name for name in names if len(set(of[name])) == 1]
    mixed = [name for name in names if name not in pure]
    chosen = sum(int(of[name][0] == 1) for name in pure)
    observed, found = apart(labels), []
    for positive in combinations(pure, chosen):
        for swaps in product((False, True), repeat=len(mixed)):
            dealt = labels.copy()
            for name in pure:
                dealt[clusters == name] = int(name in positive)
            for name, swap in zip(mixed, swaps, strict=True):
                dealt[clusters == name] = 1 - of[name] if swap else of[name]
            found.append(apart(dealt))
    return sum(value >= observed * (1 - 1e-9) for value in found) / len(found), len(found)


@pytest.mark.parametrize("seed", range(6))
def test_every_way_is_counted_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(6), [1, 3, 2, 1, 2, 2])  # two of six are forged: another number counts other ways
    labels = np.array([1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0])
    a, b = rng.random(len(labels)), rng.integers(0, 3, len(labels)).astype(float)
    p, ways, exact = permutation_test(labels, a, b, clusters)
    assert (pytest.approx(p), ways, exact) == (*by_hand(labels, a, b, clusters), True)


def test_of_drawn_ways_the_one_that_was_seen_counts_beside_those_that_reach_it() -> None:
    rng = np.random.default_rng(1)
    counted = []
    for _ in range(6):
        labels = rng.permutation(np.repeat([0, 1], 15))
        p, ways, exact = permutation_test(labels, rng.random(30), rng.random(30))
        assert not exact
        counted.append(round(p * (ways + 1)))
        assert p == pytest.approx(counted[-1] / (ways + 1))
    assert {count % 2 for count in counted} == {0, 1}  # one more than any number of those that reach it
