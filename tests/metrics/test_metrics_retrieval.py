from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfad_bench.metrics.retrieval import prototype_retrieval


@given(st.integers(0, 2**32 - 1))
def test_equals_a_double_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probs, names, registered = rng.dirichlet(np.ones(4), 40), rng.choice(list("abc"), 40), rng.random(40) < 0.5
    hits = prototype_retrieval(probs, names, registered)
    prototypes = {n: probs[registered & (names == n)].mean(axis=0) for n in np.unique(names[registered])}
    for row in range(40):
        if registered[row] or names[row] not in prototypes:
            assert np.isnan(hits[row])
            continue
        far = {n: ((np.sqrt(p) - np.sqrt(probs[row])) ** 2).sum() for n, p in prototypes.items()}
        assert hits[row] == (min(far, key=far.__getitem__) == names[row])


def test_a_constant_model_scores_chance_and_a_perfect_one_everything() -> None:
    names, registered = np.repeat(list("abcde"), 20), np.tile([True, False], 50)
    even = prototype_retrieval(np.full((100, 11), 1 / 11), names, registered)
    assert np.nanmean(even) == pytest.approx(1 / 5)
    perfect = prototype_retrieval(np.eye(5)[np.repeat(np.arange(5), 20)], names, registered)
    assert np.nanmean(perfect) == 1.0


def test_wrong_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes do not fit"):
        prototype_retrieval(np.ones((3, 2)), np.array(["a", "b"]), np.array([True, False]))
    with pytest.raises(ValueError, match="not negative"):
        prototype_retrieval(np.array([[-1.0]]), np.array(["a"]), np.array([True]))


@pytest.mark.parametrize("probs", [np.full(3, 0.5), np.full((3, 2, 2), 0.5)], ids=["a vector", "three dimensions"])
def test_only_a_matrix_of_probabilities_is_taken(probs: np.ndarray) -> None:
    with pytest.raises(ValueError, match="shapes do not fit"):
        prototype_retrieval(probs, np.array(["a", "b", "a"]), np.array([True, True, False]))


@pytest.mark.parametrize("lengths", [(2, 3), (3, 2)])
def test_names_and_registrations_are_one_a_row(lengths: tuple[int, int]) -> None:
    names, registered = np.array(["a", "b", "a"][: lengths[0]]), np.array([True, True, False][: lengths[1]])
    with pytest.raises(ValueError, match="shapes do not fit"):
        prototype_retrieval(np.eye(3), names, registered)
