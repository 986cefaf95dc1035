from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from dfad_bench.metrics import detection, openset
from dfad_bench.metrics.interval import ClusterBootstrap, _pools, bounds, clustered_wilson, stratified_wilson, wilson


@given(st.integers(1, 2000), st.floats(0, 1))
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


def test_a_cluster_in_two_strata_is_drawn_for_both_at_once() -> None:
    strata, clusters = np.repeat(["a", "b", "c"], [4, 4, 3]), np.array([*"uvwx", *"uvwx", *"xyz"])
    boot = ClusterBootstrap(strata, clusters, resamples=50)
    assert (boot.cluster[:4] == boot.cluster[4:8]).all()
    assert boot.cluster[8] == boot.cluster[3]
    apart = ClusterBootstrap(strata, np.arange(11), resamples=50)  # nothing shared: each stratum keeps its size
    for weights in apart._weights():
        assert (weights[:, :4].sum(axis=1) == 4).all()
        assert (weights[:, 8:].sum(axis=1) == 3).all()


def test_pools_are_numbered_by_their_first_stratum() -> None:
    strata, names = np.array([0, 0, 1, 2, 3]), np.array([9, 7, 1, 9, 4])
    np.testing.assert_array_equal(_pools(strata, names), [0, 0, 1, 0, 2])
    assert _pools(np.empty(0, int), np.empty(0, int)).shape == (0,)


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


def test_strata_count_alike_or_by_their_rows() -> None:
    hits, strata = np.array([True] * 9 + [False]), np.repeat([0, 1], [9, 1])
    large, small = wilson(9, 9), wilson(0, 1)
    alike = stratified_wilson(hits, strata, np.arange(10), macro=True)
    by_rows = stratified_wilson(hits, strata, np.arange(10), macro=False)
    assert alike == pytest.approx([(a + b) / 2 for a, b in zip(large, small, strict=True)])
    assert by_rows == pytest.approx([0.9 * a + 0.1 * b for a, b in zip(large, small, strict=True)])


def test_draws_of_one_positive_or_one_negative_equal_a_plain_loop() -> None:
    scores, right = np.array([0.9, 0.4, 0.6, 0.8, 0.2]), np.ones(5, dtype=bool)
    for rare in (1, 0):
        positive = np.arange(5) == 1 if rare else np.arange(5) != 1
        boot = ClusterBootstrap(positive.astype(int), np.arange(5), resamples=6)  # each class is drawn within itself
        expected = loop_ranking(boot, positive, scores, right)
        found = boot.ranking_draws(positive, scores, right=right)
        for name, values in expected.items():
            assert np.allclose(found[name], values, equal_nan=True), name


def test_balanced_ratio_is_the_mean_of_both_shares() -> None:
    truth = np.repeat([1, 0], 50)
    hits = np.stack([truth == 1, np.zeros(100, bool)], axis=1)
    among = np.stack([truth == 1, truth == 0], axis=1)
    boot = ClusterBootstrap(truth, np.arange(100), resamples=20)
    assert boot.ratios(hits, among) == (0.5, 0.5)


def loop_ranking(
    boot: ClusterBootstrap, positive: np.ndarray, scores: np.ndarray, right: np.ndarray
) -> dict[str, list[float]]:
    """Every statistic of rows really repeated, by the functions for plain arrays."""
    found: dict[str, list[float]] = {name: [] for name in ("auc", "ap", "eer", "fpr95", "oscr")}
    nan = float("nan")
    for weights in boot._weights():
        for row in weights:
            again = np.repeat(np.arange(len(scores)), row[boot.cluster].astype(int))
            labels, s, good = positive[again].astype(int), scores[again], right[again]
            for name in ("auc", "ap", "eer"):
                value = getattr(detection, name)(labels, s)
                found[name].append(nan if value is None else value)
            p = np.stack([s, np.zeros(len(s))], axis=1)  # confidence is the first column
            p[~good, ::] = p[~good, ::-1]  # a wrong class of the same confidence
            seen, unseen = p[labels == 1], p[labels == 0]
            for name, value in (
                ("fpr95", openset.fpr95(seen, unseen)),
                ("oscr", openset.oscr(seen, np.zeros(len(seen), int), unseen)),
            ):
                found[name].append(nan if value is None else value)
    return found


@pytest.mark.parametrize("decimals", [1, 9])
def test_draws_of_every_ranking_statistic_equal_a_plain_loop(decimals: int) -> None:
    rng = np.random.default_rng(4)
    positive, strata = rng.random(60) < 0.5, rng.integers(0, 2, 60)
    scores = (rng.random(60) + 0.4 * positive).round(decimals) + 0.1
    right = rng.random(60) < 0.7
    boot = ClusterBootstrap(strata, rng.integers(0, 9, 60), resamples=40, seed=1)
    draws = boot.ranking_draws(positive, scores, right=right)
    for name, expected in loop_ranking(boot, positive, scores, right).items():
        np.testing.assert_allclose(draws[name], expected, atol=1e-12, err_msg=name)
    some = rng.random(60) < 0.6
    part = boot.ranking_draws(positive, scores, among=some, only=("auc",))
    assert list(part) == ["auc"]
    chosen = next(boot._weights())[0][boot.cluster].astype(int) * some
    again = np.repeat(np.arange(60), chosen)
    assert part["auc"][0] == pytest.approx(detection.auc(positive[again].astype(int), scores[again]))


def test_draws_of_the_calibration_error_equal_a_plain_loop() -> None:
    rng = np.random.default_rng(5)
    labels, p = rng.integers(0, 2, 50), rng.random(50)
    boot = ClusterBootstrap(np.zeros(50), rng.integers(0, 20, 50), resamples=30)
    expected = []
    for weights in boot._weights():
        for row in weights:
            again = np.repeat(np.arange(50), row[boot.cluster].astype(int))
            expected.append(detection.ece(labels[again], p[again]))
    np.testing.assert_allclose(boot.ece_draws(labels, p), expected)


def test_a_second_statistic_sees_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    hits, strata = np.arange(60) % 3 == 0, np.zeros(60)
    kept = ClusterBootstrap(strata, np.arange(60) // 2, resamples=50)
    first, second = kept.macro_share_draws(hits), kept.macro_share_draws(hits)
    monkeypatch.setattr("dfad_bench.metrics.interval._KEPT_CELLS", 0)
    again = ClusterBootstrap(strata, np.arange(60) // 2, resamples=50)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, again.macro_share_draws(hits))
    np.testing.assert_array_equal(first, again.macro_share_draws(hits))


def test_bounds_leave_out_what_is_no_number() -> None:
    assert bounds(np.array([np.nan, 0.5, 0.5])) == (0.5, 0.5)
    assert bounds(np.array([np.nan])) is None


def test_clustered_wilson_is_wilson_of_the_effective_number() -> None:
    hits = np.random.default_rng(6).random(100) < 0.7
    low, high = clustered_wilson(np.repeat(hits, 5), np.repeat(np.arange(100), 5))
    expected = wilson(int(hits.sum()), 100)
    assert (low, high) == pytest.approx(expected, abs=0.003)  # five copies know no more
    assert clustered_wilson(hits, np.arange(100)) == expected
    assert clustered_wilson(np.ones(40, bool), np.arange(40) // 10) == wilson(4, 4)  # no spread seen: sources count
    assert clustered_wilson(np.empty(0, bool), np.empty(0)) is None


def clustered_faces(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two groups of 40 sources with 1 to 6 faces, faces of a source alike: strata, sources, labels, scores."""
    sizes = rng.integers(1, 7, 80)
    sources, strata = np.repeat(np.arange(80), sizes), np.repeat(np.repeat([0, 1], 40), sizes)
    scores = rng.normal(size=80)[sources] + 0.7 * rng.normal(size=len(sources)) + strata
    return strata, sources, strata, scores


@pytest.mark.heavy
def test_intervals_cover_what_they_should_and_forgetting_sources_does_not() -> None:
    """Simulated data with known truth: 95 % intervals hold it about 95 times in 100."""
    rng = np.random.default_rng(7)
    spread = np.sqrt(1 + 0.7**2)
    area = NormalDist().cdf(1 / (spread * np.sqrt(2)))  # P(N(1, s) > N(0, s))
    share = (NormalDist().cdf(0.2 / spread) + NormalDist().cdf(0.8 / spread)) / 2  # mean of P(score < cut) sides
    rounds, held = 200, {"auc": 0, "macro": 0, "wilson": 0, "naive": 0}
    for number in range(rounds):
        strata, sources, labels, scores = clustered_faces(rng)
        boot = ClusterBootstrap(strata, sources, resamples=200, seed=number)
        right = (scores > 0.2) == (labels == 1)
        own = right[strata == 1]
        truth = {"auc": area, "macro": share, "wilson": NormalDist().cdf(0.8 / spread), "naive": share}
        naive = ClusterBootstrap(strata, np.arange(len(strata)), resamples=200, seed=number)
        found = {
            "auc": boot.auc(labels, scores),
            "macro": boot.macro_share(right),
            "wilson": clustered_wilson(own, sources[strata == 1]),
            "naive": naive.macro_share(right),
        }
        for name, (low, high) in found.items():
            held[name] += low <= truth[name] <= high
    coverage = {name: count / rounds for name, count in held.items()}
    assert all(0.90 <= coverage[name] <= 0.985 for name in ("auc", "macro", "wilson")), coverage
    assert coverage["naive"] < 0.88, coverage


@pytest.mark.heavy
def test_intervals_cover_where_groups_are_forged_from_the_same_sources() -> None:
    """Nine groups of the same 60 targets, some targets harder in all: they are 60 independent faces, not 540."""
    rng, rounds = np.random.default_rng(8), 200
    strata, sources = np.repeat(np.arange(9), 60), np.tile(np.arange(60), 9)
    truth, held = NormalDist().cdf(0.5 / np.sqrt(1 + 0.7**2)), {"shared": 0, "as if apart": 0}
    for number in range(rounds):
        scores = rng.normal(size=60)[sources] + 0.7 * rng.normal(size=540)
        for name, clusters in (("shared", sources), ("as if apart", sources + 60 * strata)):
            low, high = ClusterBootstrap(strata, clusters, resamples=200, seed=number).macro_share(scores < 0.5)
            held[name] += low <= truth <= high
    assert 0.89 <= held["shared"] / rounds <= 0.985, held
    assert held["as if apart"] / rounds < 0.75, held


def test_faces_that_are_certainly_forged_are_in_the_last_bin() -> None:
    labels, p_fake = np.array([1, 0, 0, 1]), np.array([1.0, 1.0, 0.0, 0.0])
    bootstrap = ClusterBootstrap(np.zeros(4, int), np.arange(4), resamples=30)
    for drawn, value in zip(bootstrap.samples(), bootstrap.ece_draws(labels, p_fake), strict=True):
        assert value == pytest.approx(detection.ece(labels[drawn], p_fake[drawn]))


def test_samples_are_the_rows_of_the_drawn_clusters() -> None:
    strata, clusters = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 2, 3])
    bootstrap = ClusterBootstrap(strata, clusters, resamples=20, seed=1)
    hits = np.array([1.0, 0.0, 1.0, 0.0, 1.0])
    drawn = list(bootstrap.samples())
    assert len(drawn) == 20
    for rows, value in zip(drawn, bootstrap.macro_share_draws(hits), strict=True):
        assert (np.sort(rows) == rows).all()
        assert (rows == 0).sum() == (rows == 1).sum()  # one cluster
        assert (rows >= 3).sum() == 2  # two clusters of one row
        assert value == pytest.approx(np.mean([hits[rows[strata[rows] == k]].mean() for k in (0, 1)]))


def test_a_thousand_resamples_unless_others_are_asked_for() -> None:
    hits = np.arange(20) % 2
    assert len(ClusterBootstrap(np.zeros(20), np.arange(20)).macro_share_draws(hits)) == 1000
    assert len(ClusterBootstrap(np.zeros(20), np.arange(20), resamples=7).macro_share_draws(hits)) == 7


@pytest.mark.parametrize("seed", range(4))
def test_clusters_of_other_pools_are_never_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    strata = np.sort(rng.integers(0, 4, 40))
    clusters = strata * 100 + rng.integers(0, 5, 40)  # each in one stratum
    bootstrap = ClusterBootstrap(strata, clusters, resamples=5)
    _, expected = np.unique(clusters, return_inverse=True)
    assert bootstrap.cluster.tolist() == expected.tolist()
    sizes = [len(np.unique(clusters[strata == stratum])) for stratum in np.unique(strata)]
    assert bootstrap._sizes.tolist() == sizes


def test_the_design_effect_is_kishs_with_one_less_cluster() -> None:
    hits = np.array([1, 1, 1, 0, 0, 0, 1, 0])
    clusters = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    n, k, share = 8, 3, 0.5
    totals = [1.5, -1.5, 0.0]  # hits less the share, by cluster
    variance = k / (k - 1) * sum(total**2 for total in totals) / n**2
    effect = variance / (share * (1 - share) / n)
    assert effect > 1
    assert clustered_wilson(hits, clusters) == pytest.approx(wilson(share * n / effect, n / effect))


@pytest.mark.parametrize("rows", [1, 60, 61])
def test_blocks_smaller_than_a_resample_change_nothing(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    positive, scores, clusters = np.arange(rows) % 2 == 0, rng.random(rows).round(1), rng.integers(0, 9, rows)
    expected = ClusterBootstrap(np.zeros(rows), clusters, resamples=7).ranking_draws(positive, scores)
    monkeypatch.setattr("dfad_bench.metrics.interval._BLOCK_CELLS", 60)
    found = ClusterBootstrap(np.zeros(rows), clusters, resamples=7).ranking_draws(positive, scores)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, err_msg=name)


def test_one_source_for_all_groups_and_no_row_at_all() -> None:
    one = ClusterBootstrap(np.array([0, 0, 1]), np.array(["s", "s", "s"]), resamples=3)
    assert one.cluster.tolist() == [0, 0, 0]
    assert one.macro_share_draws(np.array([1.0, 0.0, 1.0])).tolist() == [0.75, 0.75, 0.75]
    none = ClusterBootstrap(np.empty(0), np.empty(0), resamples=3)
    assert (none.rows, none._sizes.tolist()) == (0, [])


@pytest.mark.parametrize(("room", "kept"), [(1500, True), (1499, False)])
def test_draws_are_kept_where_there_is_room_and_made_again_where_there_is_not(
    room: int, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dfad_bench.metrics.interval._KEPT_CELLS", room)
    bootstrap = ClusterBootstrap(np.zeros(60), np.arange(60) // 2, resamples=50)  # 50 draws of 30 clusters
    first = bootstrap.macro_share_draws(np.arange(60) % 3 == 0)
    made, fresh = [], np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed: made.append(seed) or fresh(seed))
    np.testing.assert_array_equal(bootstrap.macro_share_draws(np.arange(60) % 3 == 0), first)
    assert made == ([] if kept else [0])


@pytest.mark.parametrize(
    ("strata", "clusters"),
    [(np.zeros((2, 3)), np.zeros((2, 3))), (np.zeros(3), np.zeros(4)), (np.zeros(3), np.zeros((3, 1)))],
)
def test_groups_and_clusters_of_a_bootstrap_are_one_value_a_row(strata: np.ndarray, clusters: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"must be \(n,\)"):
        ClusterBootstrap(strata, clusters)
