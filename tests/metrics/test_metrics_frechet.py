from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfad_bench.gaze.backends import pytorch_fid_function
from dfad_bench.metrics.frechet import covariance_part_2d, frechet_distance, gaussian, gaussian_frechet_2d, mean_part


def random_gaussian(rng: np.random.Generator, d: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    factor = rng.standard_normal((d, d)) * scale
    return rng.standard_normal(d) * scale, factor @ factor.T


@pytest.fixture(scope="module")
def oracle():
    """pytorch-fid's distance, whatever SciPy's `sqrtm` takes."""
    pytest.importorskip("pytorch_fid.fid_score")
    function = pytorch_fid_function()

    def distance(*arguments: np.ndarray) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(function(*arguments))

    return distance


@pytest.mark.parametrize("d", [2, 3, 8])
def test_agrees_with_pytorch_fid(oracle, d: int) -> None:
    rng = np.random.default_rng(d)
    for _ in range(60):
        scale = 10.0 ** rng.uniform(-2, 1)
        a, b = random_gaussian(rng, d, scale), random_gaussian(rng, d, scale)
        expected = oracle(*a, *b)
        assert frechet_distance(*a, *b) == pytest.approx(expected, abs=1e-9, rel=1e-9)
        if d == 2:
            assert float(gaussian_frechet_2d(*a, *b)) == pytest.approx(expected, abs=1e-9, rel=1e-9)


@pytest.mark.parametrize("rank", [0, 1])
def test_singular_covariances_agree_with_pytorch_fid(oracle, rank: int) -> None:
    rng = np.random.default_rng(3)
    vector = rng.standard_normal((2, rank))
    a = (np.zeros(2), vector @ vector.T)
    b = random_gaussian(rng, 2)
    assert frechet_distance(*a, *b) == pytest.approx(oracle(*a, *b), abs=1e-6)
    assert float(gaussian_frechet_2d(*a, *b)) == pytest.approx(frechet_distance(*a, *b), abs=1e-7)


def test_closed_form_broadcasts_over_leading_axes() -> None:
    rng = np.random.default_rng(0)
    many = [random_gaussian(rng, 2) for _ in range(12)]
    means = np.stack([m for m, _ in many]).reshape(3, 4, 2)
    covs = np.stack([c for _, c in many]).reshape(3, 4, 2, 2)
    one = random_gaussian(rng, 2)
    found = gaussian_frechet_2d(means, covs, *one)
    assert found.shape == (3, 4)
    expected = [frechet_distance(m, c, *one) for m, c in many]
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-9)


seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.sampled_from([1, 2, 5]))
def test_symmetric_zero_for_itself_and_never_negative(seed: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = random_gaussian(rng, d), random_gaussian(rng, d)
    size = 1 + np.trace(a[1]) + np.trace(b[1])
    assert frechet_distance(*a, *b) == pytest.approx(frechet_distance(*b, *a), abs=1e-9 * size)
    # roots of eigenvalues near 0 amplify rounding to its square root
    assert 0 <= frechet_distance(*a, *a) <= 1e-6 * size


@given(seeds)
def test_equal_covariances_leave_the_distance_of_the_means(seed: int) -> None:
    rng = np.random.default_rng(seed)
    (mean_a, cov), (mean_b, _) = random_gaussian(rng, 2), random_gaussian(rng, 2)
    expected = ((mean_a - mean_b) ** 2).sum()
    assert frechet_distance(mean_a, cov, mean_b, cov) == pytest.approx(expected, abs=1e-6 * (1 + np.trace(cov)))
    assert float(mean_part(mean_a, mean_b)) == pytest.approx(expected)
    assert float(covariance_part_2d(cov, cov)) == pytest.approx(0, abs=1e-6 * (1 + np.trace(cov)))


@given(seeds)
def test_rotation_changes_nothing_and_scale_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    (m_a, s_a), (m_b, s_b) = random_gaussian(rng, 2), random_gaussian(rng, 2)
    turn, _ = np.linalg.qr(rng.standard_normal((2, 2)))
    plain = frechet_distance(m_a, s_a, m_b, s_b)
    turned = frechet_distance(turn @ m_a, turn @ s_a @ turn.T, turn @ m_b, turn @ s_b @ turn.T)
    scaled = frechet_distance(3 * m_a, 9 * s_a, 3 * m_b, 9 * s_b)
    assert turned == pytest.approx(plain, abs=1e-6)
    assert scaled == pytest.approx(9 * plain, abs=1e-5)


def test_gaussian_is_numpy_cov() -> None:
    rows = np.random.default_rng(1).standard_normal((40, 2))
    mean, cov = gaussian(rows)
    np.testing.assert_allclose(mean, rows.mean(axis=0))
    np.testing.assert_allclose(cov, np.cov(rows, rowvar=False))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 2.0]], "two rows"),
        ([[1.0, np.nan], [0.0, 1.0]], "nan or inf"),
        ([1.0, 2.0], r"\(n, d\)"),
        (np.zeros((3, 2, 2)), r"\(n, d\)"),
    ],
)
def test_gaussian_refuses(rows, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gaussian(rows)


def test_distance_refuses_nan_and_wrong_shapes() -> None:
    with pytest.raises(ValueError, match="finite"):
        frechet_distance([0, np.nan], np.eye(2), [0, 0], np.eye(2))
    with pytest.raises(ValueError, match="shapes do not fit"):
        frechet_distance([0, 0], np.eye(3), [0, 0], np.eye(2))
    assert np.isnan(gaussian_frechet_2d([0, np.nan], np.eye(2), [0, 0], np.eye(2)))


def test_a_covariance_that_rounding_left_below_zero_is_a_line() -> None:
    """The determinant is -1e-16, whose root is no number."""
    line, round_one = [[1.0, 1.0], [1.0, 1.0 - 2**-53]], [[2.0, 0.0], [0.0, 3.0]]
    expected = 2.0 + 5.0 - 2 * np.sqrt(5.0)  # tr A + tr B - 2 sqrt(tr AB + 2 sqrt(det A det B))
    for pair in ((line, round_one), (round_one, line)):
        assert covariance_part_2d(*pair) == pytest.approx(expected)


@pytest.mark.parametrize("wrong", range(4))
def test_each_shape_must_fit(wrong: int) -> None:
    given: list[np.ndarray] = [np.zeros(2), np.eye(2), np.zeros(2), np.eye(2)]
    given[wrong] = np.zeros((2, 1)) if wrong in (0, 2) else np.eye(3)
    with pytest.raises(ValueError, match="shapes do not fit"):
        frechet_distance(*given)
