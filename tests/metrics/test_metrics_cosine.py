from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfad_bench.metrics.cosine import paired_cosine

seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.sampled_from([2, 3]))
def test_agrees_with_a_plain_loop(seed: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, 7, d))
    found = paired_cosine(a, b)
    for row, value in enumerate(found.values):
        dot = sum(x * y for x, y in zip(a[row], b[row], strict=True))
        assert value == pytest.approx(dot / (math.hypot(*a[row]) * math.hypot(*b[row])))
    assert found.undefined == 0
    assert found.mean == pytest.approx(found.values.mean())


@given(seeds)
def test_length_does_not_matter_and_sign_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, 5, 2))
    lengths = rng.uniform(0.1, 10, (5, 1))
    np.testing.assert_allclose(paired_cosine(a * lengths, b).values, paired_cosine(a, b).values)
    np.testing.assert_allclose(paired_cosine(-a, b).values, -paired_cosine(a, b).values)
    np.testing.assert_allclose(paired_cosine(a, a).values, 1)


def test_vectors_without_direction_are_counted_not_averaged() -> None:
    found = paired_cosine([[0, 0], [1, 1], [1e-12, 0]], [[1, 0], [1, 1], [1, 0]])
    assert found.undefined == 2
    assert found.mean == pytest.approx(1)
    assert np.isnan(found.values).tolist() == [True, False, True]
    nothing = paired_cosine(np.empty((0, 2)), np.empty((0, 2)))
    assert (nothing.mean, nothing.undefined) == (None, 0)


def test_tiny_vectors_do_not_underflow() -> None:
    assert paired_cosine([[1e-7, 0]], [[1e-7, 1e-7]]).mean == pytest.approx(math.sqrt(0.5))


def test_refuses_what_is_not_paired_or_finite() -> None:
    with pytest.raises(ValueError, match="both must be"):
        paired_cosine(np.zeros((3, 2)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="nan or inf"):
        paired_cosine([[np.nan, 0]], [[1, 0]])


def test_rounding_leaves_no_cosine_below_minus_one() -> None:
    a = np.random.default_rng(0).standard_normal((2000, 3))
    unit = a / np.linalg.norm(a, axis=1, keepdims=True)
    assert (unit * unit).sum(axis=1).max() > 1  # what rounding does before values are clipped
    assert paired_cosine(a, -a).values.min() == -1.0
