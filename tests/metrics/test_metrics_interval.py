from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from dfad_bench.metrics import detection
from dfad_bench.metrics.interval import ClusterBootstrap, wilson


@given(st.integers(1, 2000), st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_wilson_equals_scipy(n: int, share: float) -> None:
    successes = round(share * n)
    expected = binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_half_widths_of_1250_faces() -> None:
    for share, half in ((0.5, 0.028), (0.8, 0.022), (0.95, 0.012)):
        low, high = wilson(int(share * 1250), 1250)
        assert (high - low) / 2 == pytest.approx(half, abs=6e-4)
    assert wilson(0, 0) is None
    with pytest.raises(ValueError, match="3 of 2"):
        wilson(3, 2)


def loop_auc(boot: ClusterBootstrap, labels: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """The same draws, one resample at a time, with rows really repeated."""
    values = []
    for weights in boot._weights():
        for row in weights:
            again = np.repeat(np.arange(len(labels)), row[boot.cluster].astype(int))
            values.append(detection.auc(labels[again], scores[again]))
    return tuple(np.percentile([v for v in values if v is not None], [2.5, 97.5]))


def test_auc_interval_equals_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    labels, strata = rng.integers(0, 2, 80), rng.integers(0, 3, 80)
    scores = (rng.random(80) + 0.4 * labels).round(1)
    boot = ClusterBootstrap(strata, rng.integers(0, 12, 80), resamples=60, seed=3)
    assert boot.auc(labels, scores) == pytest.approx(loop_auc(boot, labels, scores))


def test_macro_share_interval_equals_a_plain_loop() -> None:
    rng = np.random.default_rng(1)
    strata, clusters, hits = rng.integers(0, 3, 90), rng.integers(0, 10, 90), rng.random(90) < 0.6
    boot = ClusterBootstrap(strata, clusters, resamples=50, seed=5)
    values = []
    for weights in boot._weights():
        for row in weights:
            w = row[boot.cluster]
            values.append(np.mean([np.average(hits[strata == s], weights=w[strata == s]) for s in range(3)]))
    assert boot.macro_share(hits) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])))


def test_chunks_do_not_change_what_is_drawn_in_total(monkeypatch: pytest.MonkeyPatch) -> None:
    boot = ClusterBootstrap(np.zeros(50), np.arange(50), resamples=100, seed=0)
    monkeypatch.setattr("dfad_bench.metrics.interval._CHUNK_CELLS", 50 * 7)
    chunks = list(boot._weights())
    assert sum(map(len, chunks)) == 100
    assert max(map(len, chunks)) == 7
    assert all((chunk.sum(axis=1) == 50).all() for chunk in chunks)


def test_strata_keep_their_number_of_clusters() -> None:
    strata = np.repeat(["a", "b"], [30, 10])
    boot = ClusterBootstrap(strata, np.arange(40) // 5, resamples=20, seed=0)
    for weights in boot._weights():
        assert (weights[:, :6].sum(axis=1) == 6).all()
        assert (weights[:, 6:].sum(axis=1) == 2).all()


def test_same_cluster_name_in_two_strata_is_two_clusters() -> None:
    boot = ClusterBootstrap(np.array(["a", "b"]), np.array(["x", "x"]), resamples=5)
    assert len(set(boot.cluster)) == 2


def test_interval_of_independent_faces_matches_wilson_and_clusters_widen_it() -> None:
    hits = np.random.default_rng(2).random(1250) < 0.7
    strata = np.zeros(1250)
    low, high = ClusterBootstrap(strata, np.arange(1250), resamples=2000).macro_share(hits)
    expected = wilson(int(hits.sum()), 1250)
    assert (low, high) == pytest.approx(expected, abs=0.006)
    repeated = np.repeat(hits[:125], 10)  # ten copies of each face: no more is known than from 125
    low, high = ClusterBootstrap(strata, np.arange(1250) // 10, resamples=1000).macro_share(repeated)
    assert high - low > 2 * (expected[1] - expected[0])


def test_seed_decides() -> None:
    hits, strata, clusters = np.arange(60) % 3 == 0, np.zeros(60), np.arange(60) // 2
    draws = (ClusterBootstrap(strata, clusters, resamples=50, seed=s).macro_share(hits) for s in (1, 1, 2))
    first, again, other = draws
    assert first == again != other


def test_balanced_ratio_is_the_mean_of_both_shares() -> None:
    truth = np.repeat([1, 0], 50)
    hits = np.stack([truth == 1, np.zeros(100, bool)], axis=1)
    among = np.stack([truth == 1, truth == 0], axis=1)
    boot = ClusterBootstrap(truth, np.arange(100), resamples=20)
    assert boot.ratios(hits, among) == (0.5, 0.5)
