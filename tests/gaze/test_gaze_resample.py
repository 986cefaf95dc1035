from __future__ import annotations

import numpy as np
import pytest
from scipy.special import stdtrit

from dfad_bench.data.pools import effective_sources
from dfad_bench.gaze.resample import (
    choose,
    drawn_gaussians,
    mean_interval,
    resampled_gaussians,
    source_sums,
)


def test_choice_ignores_order_and_moves_little_with_more_data() -> None:
    ids = [f"{i:016x}" for i in range(400)]
    few, more = ({group[i] for i in choose(group, 50, seed=3)} for group in (ids[:360], ids))
    assert len(few) == 50
    assert len(few & more) >= 35
    assert {ids[i] for i in choose(ids, 50, seed=4)} != more
    assert choose(ids, 1000, seed=0).tolist() == list(range(400))


def test_resampled_gaussians_are_those_of_weighted_faces() -> None:
    """One weight a source, the same wherever the source occurs; the oracle is numpy's weighted covariance."""
    rng = np.random.default_rng(0)
    vectors, sources = rng.standard_normal((30, 2)) * 0.1 + [3.0, -2.0], np.repeat([f"v{i}" for i in range(10)], 3)
    means, covs = resampled_gaussians(vectors, sources, 8, seed=7)
    singles = {name: resampled_gaussians(np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([name, "other"]), 8, 7)[0][:, 0]
               for name in np.unique(sources)}  # fmt: skip
    # of two faces, the mean is the share of the second: w_other / (w_name + w_other)
    weights = np.stack([1 / singles[name] - 1 for name in sources])  # in units of the other's weight
    for row in range(8):
        w = weights[:, row]
        np.testing.assert_allclose(means[row], np.average(vectors, axis=0, weights=w))
        biased = np.cov(vectors, rowvar=False, aweights=w, ddof=0)
        np.testing.assert_allclose(covs[row], biased * 30 / 29, atol=1e-12)


def test_a_resampled_mean_varies_as_the_mean_of_sources_does() -> None:
    """Frames that repeat their video add nothing: the spread is that of the videos, 16 times wider in variance."""
    own = np.random.default_rng(1).standard_normal((40, 2))
    names = np.array([f"v{i}" for i in range(40)])
    plain = resampled_gaussians(own, names, 4000, 0)[0].var(axis=0)
    repeated = resampled_gaussians(np.repeat(own, 16, axis=0), np.repeat(names, 16), 4000, 0)[0].var(axis=0)
    np.testing.assert_allclose(plain, own.var(axis=0, ddof=1) / 40 * 39 / 41, rtol=0.1)
    np.testing.assert_allclose(repeated, plain)


def test_drawn_gaussians_have_the_variance_of_so_many_sources() -> None:
    vectors = np.random.default_rng(0).standard_normal((200, 2))
    _, sums = source_sums(vectors, np.arange(200))
    for size in (10, 50):
        means, covs = drawn_gaussians(sums, size, 3000, np.random.default_rng(1))
        np.testing.assert_allclose(means.var(axis=0), vectors.var(axis=0) / size, rtol=0.1)
        np.testing.assert_allclose(covs.mean(axis=0), np.cov(vectors, rowvar=False), atol=0.08)


def test_effective_sources_count_equal_sizes_and_discount_a_large_one() -> None:
    assert effective_sources(np.repeat(np.arange(12), 5)) == 12
    assert effective_sources(np.array([0] * 1000 + list(range(1, 50)))) == 1
    assert effective_sources(np.zeros(0)) == 0


def test_interval_of_a_mean_is_the_normal_one_for_many_values() -> None:
    values = np.random.default_rng(1).standard_normal(2000) + 4
    low, high = mean_interval(values, np.arange(2000), np.arange(2000), 10, (-9.0, 9.0))
    half = 1.96 * values.std() / np.sqrt(2000)
    assert low == pytest.approx(values.mean() - half, abs=0.002)
    assert high == pytest.approx(values.mean() + half, abs=0.002)


@pytest.mark.parametrize("n", [10, 20, 40])
def test_interval_of_the_mean_of_a_few_skewed_sources_covers_it(n: int) -> None:
    """Four values of each source, of a skewed distribution; plain Student intervals of values cover 63 of 100."""
    rng = np.random.default_rng(n)
    found = []
    sources = np.repeat(np.arange(n), 4)
    for _ in range(600):
        values = np.repeat(rng.exponential(1.0, n), 4) + rng.normal(0, 0.05, 4 * n)
        found.append(mean_interval(values, sources, sources, 10, (-9.0, 9.0)))
    covered = np.mean([low <= 1.0 <= high for low, high in found])
    assert 0.93 - 2 * 0.0104 <= covered <= 0.99


def test_values_that_share_a_target_are_not_independent() -> None:
    """Sixty faces of five targets: what counts is the five, whether forgeries or targets share the name."""
    rng = np.random.default_rng(0)
    targets = np.repeat(np.arange(10), 12)
    values = rng.standard_normal(10)[targets] + rng.normal(0, 0.1, 120)
    own = np.arange(120) + 1000
    apart = mean_interval(values, own, own, 5, (-9.0, 9.0))
    for sides in ((own, targets), (targets, own), (targets, targets)):
        low, high = mean_interval(values, *sides, 5, (-9.0, 9.0))
        assert high - low > 2.5 * (apart[1] - apart[0])


def test_the_variance_is_the_sum_over_pairs_that_share_a_source() -> None:
    """Against a plain double loop; with as many sources as here Student's factor and the skewness are known."""
    rng = np.random.default_rng(3)
    one, other = rng.integers(0, 8, 40), rng.integers(4, 12, 40)
    values = rng.standard_normal(40)
    e = values - values.mean()
    total = sum(e[i] * e[j] for i in range(40) for j in range(40) if {one[i], other[i]} & {one[j], other[j]})
    sides = [np.bincount(side, e) for side in (one, other)]
    total = max(total, *((side**2).sum() for side in sides))
    low, high = mean_interval(values, one, other, 2, (-99.0, 99.0))
    count = min(effective_sources(one), effective_sources(other))
    error = np.sqrt(total * count / (count - 1)) / 40
    assert (high - low) / error == pytest.approx(2 * stdtrit(count - 1, 0.975), rel=0.25)


def test_no_interval_leaves_what_is_possible_and_too_few_sources_have_none() -> None:
    values = np.array([1.0] * 29 + [0.2])
    low, high = mean_interval(values, np.arange(30), np.arange(30), 10, (-1.0, 1.0))
    assert -1 <= low < values.mean() < high <= 1
    assert mean_interval(np.arange(9.0), np.arange(9), np.arange(9), 10, (0.0, 9.0)) is None
    frames = np.repeat(np.arange(3), 100)
    assert mean_interval(np.arange(300.0), frames, frames, 10, (0.0, 300.0)) is None


def test_resamples_of_few_faces_are_covariances() -> None:
    """Three faces, often all drawn alike: symmetric, no negative variance, no correlation beyond one."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        _, covs = resampled_gaussians(rng.standard_normal((3, 2)) * 0.1 + 1.0, np.arange(3), 200, seed)
        np.testing.assert_array_equal(covs, covs.transpose(0, 2, 1))
        assert covs[:, [0, 1], [0, 1]].min() >= 0
        assert (covs[:, 0, 1] ** 2 <= covs[:, 0, 0] * covs[:, 1, 1] * (1 + 1e-12)).all()
