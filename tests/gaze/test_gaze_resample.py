from __future__ import annotations

import numpy as np
import pytest

from dfad_bench.gaze.resample import bootstrap_gaussians, bootstrap_mean, bootstrap_sums, choose, split_gaussians
from dfad_bench.metrics.frechet import gaussian


def test_choice_ignores_order_and_moves_little_with_more_data() -> None:
    ids = [f"{i:016x}" for i in range(400)]
    few, more = ({group[i] for i in choose(group, 50, seed=3)} for group in (ids[:360], ids))
    assert len(few) == 50
    assert len(few & more) >= 35
    assert {ids[i] for i in choose(ids, 50, seed=4)} != more
    assert choose(ids, 1000, seed=0).tolist() == list(range(400))


def test_resampled_gaussians_agree_with_a_plain_loop() -> None:
    vectors = np.random.default_rng(0).standard_normal((30, 2)) * 0.1 + [3.0, -2.0]
    means, covs = bootstrap_gaussians(vectors, 8, np.random.default_rng(7))
    drawn = np.random.default_rng(7).integers(0, 30, (8, 30))
    for row in range(8):
        mean, cov = gaussian(vectors[drawn[row]])
        np.testing.assert_allclose(means[row], mean)
        np.testing.assert_allclose(covs[row], cov, atol=1e-12)


def test_chunks_do_not_change_what_is_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.ones((40, 1))
    monkeypatch.setattr("dfad_bench.gaze.resample._CELLS", 90)
    sums = bootstrap_sums(features, 11, np.random.default_rng(0))
    assert sums.shape == (11, 1)
    np.testing.assert_array_equal(sums, 40)


def test_split_draws_are_disjoint_and_as_large_as_asked() -> None:
    vectors = np.arange(10.0)[:, None] * [1.0, 0.0] + [0.0, 5.0]
    (mean_a, cov_a), (mean_b, _) = split_gaussians(vectors, 5, 20, np.random.default_rng(0))
    centred_sum = (mean_a[:, 0] + mean_b[:, 0]) * 5
    np.testing.assert_allclose(centred_sum, 0, atol=1e-9)  # both halves together are everything
    assert cov_a.shape == (20, 2, 2)
    np.testing.assert_allclose(cov_a[:, 1, 1], 0, atol=1e-12)


def test_interval_of_a_mean_is_the_normal_one_for_many_values() -> None:
    values = np.random.default_rng(1).standard_normal(2000) + 4
    low, high = bootstrap_mean(values, 2000, np.random.default_rng(2))
    half = 1.96 * values.std() / np.sqrt(2000)
    assert low == pytest.approx(values.mean() - half, abs=0.006)
    assert high == pytest.approx(values.mean() + half, abs=0.006)


@pytest.mark.parametrize("n", [5, 8, 20])
def test_interval_of_the_mean_of_few_values_covers_it(n: int) -> None:
    """Plain percentiles cover 83, 89 and 93 of 100; the largest standard error here is 1.5."""
    rng = np.random.default_rng(n)
    true = 2 * np.sqrt(2 / np.pi)
    found = [bootstrap_mean(np.abs(rng.standard_normal((n, 2))).sum(axis=1), 400, rng) for _ in range(400)]
    covered = np.mean([low <= true <= high for low, high in found])
    assert {5: 0.87, 8: 0.91, 20: 0.92}[n] <= covered <= 0.99


def test_too_few_values_have_no_interval() -> None:
    rng = np.random.default_rng(0)
    assert bootstrap_mean(np.arange(4.0), 100, rng) is None
    assert bootstrap_mean(np.arange(5.0), 100, rng) is not None


def test_resamples_of_few_faces_are_covariances() -> None:
    """Three faces, often all drawn alike: symmetric, no negative variance, no correlation beyond one."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        _, covs = bootstrap_gaussians(rng.standard_normal((3, 2)) * 0.1 + 1.0, 200, rng)
        np.testing.assert_array_equal(covs, covs.transpose(0, 2, 1))
        assert covs[:, [0, 1], [0, 1]].min() >= 0
        assert (covs[:, 0, 1] ** 2 <= covs[:, 0, 0] * covs[:, 1, 1] * (1 + 1e-12)).all()
