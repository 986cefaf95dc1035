"""What a number carries beside its value: counts, groups, how its interval is made, and what a paired test needs."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.toy import toy_predictions, toy_protocol

from dfad_bench.core.labels import FAKE, REAL
from dfad_bench.core.record import MetricValue
from dfad_bench.metrics import METRICS, Metric
from dfad_bench.metrics.interval import ClusterBootstrap, bounds, stratified_wilson
from dfad_bench.metrics.paired import auc_covariance
from dfad_bench.metrics.spread import Spread, interval, share_interval, spread
from dfad_bench.report.attribution import SWEEP, _groups_set, registered_sources
from dfad_bench.report.face_set import FaceSet
from dfad_bench.report.record_diff import TOLERANCE, Difference, differences
from dfad_bench.report.score import numbers, score
from dfad_bench.report.scored_faces import Number, missing_label, number

PROTOCOL = toy_protocol()
SEEN, UNSEEN = [g.key for g in PROTOCOL.seen], [g.key for g in PROTOCOL.unseen]
FORGED, PRISTINE = "synthetic/synthetic-flow-a", "synthetic-outdoor/real"
VALUE = MetricValue("attribution", "oscr", "seen-vs-unseen", 0.5, 10, True)


def frame(seed: int = 0) -> pd.DataFrame:
    return toy_predictions(PROTOCOL, {g.key: 20 + 7 * i for i, g in enumerate(PROTOCOL.groups)}, seed)


def one(found: list[Number], metric: str, subset: str, averaging: str, threshold: float | None = None) -> Number:
    (mine,) = [
        n
        for n in found
        if (n.value.metric, n.value.subset, n.value.averaging) == (metric, subset, averaging)
        and n.value.params.get("threshold") == threshold
    ]
    return mine


def drawn(values: np.ndarray, **more: object) -> Number:
    """A number of 20 sources in one group, whose draws are the shares of `values` (20,) in 201 resamples."""
    bootstrap = ClusterBootstrap(np.zeros(20), np.arange(20), resamples=201, seed=7)
    return Number(
        VALUE, draws=lambda: bootstrap.macro_share_draws(values), bootstrap=lambda: bootstrap,
        counts={"seen sources": 50, "unseen sources": 40}, **more,
    )  # fmt: skip


HALF = np.arange(20) % 2
SAME = np.full(20, 0.5)


def test_an_interval_is_the_formula_else_made_of_the_spread_of_the_draws() -> None:
    made = drawn(HALF).with_interval(201, 7)
    boot = ClusterBootstrap(np.zeros(20), np.arange(20), resamples=201, seed=7)
    of = spread(boot.macro_share_draws(HALF), boot)
    assert of.df == 19
    assert of.error == pytest.approx(0.5 / np.sqrt(19), rel=0.15)
    assert made.ci95 == interval(0.5, of, (0.0, 1.0))
    assert (made.ci_method, made.ci_resamples, made.ci_seed) == ("bootstrap_t", 201, 7)
    assert (made.standard_error, made.df, made.sources) == (of.error, of.df, 40)
    assert drawn(HALF).with_interval(0, 7).ci95 is None
    biased = drawn(HALF, biased=True).with_interval(201, 7)
    assert (biased.ci95, biased.ci_reason) == (None, "no interval: resampling faces shifts this number")
    closed = drawn(HALF, formula=((0.4, 0.6), "delong_t")).with_interval(201, 7)
    assert (closed.ci95, closed.ci_method, closed.ci_resamples) == ((0.4, 0.6), "delong_t", None)
    assert Number(VALUE, formula=((0.4, 0.6), "wilson")).with_interval(0, 7).ci95 == (0.4, 0.6)
    assert drawn(HALF, formula=(None, "delong_t")).with_interval(201, 7).ci_method == "bootstrap_t"


def test_draws_without_spread_fall_back_to_wilson_or_say_so() -> None:
    bare = drawn(SAME).with_interval(201, 0)
    assert (bare.ci95, bare.ci_reason) == (None, "no interval: every resample has the same value")
    made = drawn(SAME, wilson_fallback=lambda: (0.3, 0.7)).with_interval(201, 3)
    assert (made.ci95, made.ci_method, made.ci_resamples, made.ci_seed) == ((0.3, 0.7), "wilson", 201, 3)
    assert drawn(HALF, wilson_fallback=lambda: (0.3, 0.7)).with_interval(201, 0).ci_method == "bootstrap_t"
    assert drawn(np.full(20, np.nan)).with_interval(201, 0).ci95 is None


def test_the_earlier_rule_takes_percentiles() -> None:
    draws = np.linspace(0, 1, 201)
    made = Number(VALUE, draws=lambda: draws, earlier=True).with_interval(201, 7)
    assert made.ci95 == pytest.approx((0.025, 0.975))
    assert (made.ci_method, made.standard_error, made.sources) == ("bootstrap_stratified", None, None)


def test_by_the_earlier_rule_an_area_without_variance_has_no_interval() -> None:
    """Percentiles of draws took no formula's place: a record made by that rule has none, and must still agree."""
    rows = frame()
    certain = rows.assign(p_fake=rows["detection_label"].astype(float))
    made = one(numbers(certain, PROTOCOL, resamples=201, earlier=True)[1], "auc", FORGED, "none")
    assert made.formula == (None, "delong")
    spread_out = replace(made, draws=lambda: np.linspace(0, 1, 201))
    assert (spread_out.with_interval(201, 7).ci95, spread_out.with_interval(201, 7).ci_method) == (None, "none")


def test_too_few_sources_have_no_interval_and_are_counted() -> None:
    few = replace(drawn(HALF), counts={"seen sources": 50, "unseen sources": 1}).with_interval(201, 0)
    assert few.ci95 is None
    assert few.ci_reason.startswith("no interval: 1 unseen sources, ")
    rows = frame()
    alone = rows["group"] == FORGED
    rows.loc[alone, "source_key"] = "only"
    _, found = numbers(rows, PROTOCOL, resamples=20)
    for metric, subset, averaging in (("accuracy", "unseen", "micro"), ("auc", FORGED, "none")):
        made = one(found, metric, subset, averaging).with_interval(20, 0)
        assert (made.ci95, made.value is None) == (None, False)
        assert "1 " in made.ci_reason
    macro = one(found, "unseen_accuracy", "unseen", "macro", 0.9).with_interval(20, 0)
    assert macro.ci95 is None
    assert macro.ci_reason.startswith("no interval: 1 sources in a group")


def test_a_mean_of_one_group_has_that_groups_interval() -> None:
    _, found = numbers(frame()[lambda rows: rows["group"] != PRISTINE], PROTOCOL, resamples=20)
    macro = one(found, "unseen_accuracy", "unseen", "macro", 0.9).with_interval(20, 0)
    group = one(found, "unseen_accuracy", FORGED, "none", 0.9).with_interval(20, 0)
    assert macro.ci95 == group.ci95 is not None
    assert macro.ci_method == group.ci_method


def test_a_number_without_value_has_a_reason_and_nothing_else() -> None:
    made = number("attribution", "fpr95", "seen-vs-unseen", 0.5, "because", {"n": 3}, draws=lambda: np.ones(3))
    assert made == Number(MetricValue("attribution", "fpr95", "seen-vs-unseen", None, 3, False, null_reason="because"))
    assert made.with_interval(10, 0).ci95 is None
    assert number("attribution", "fpr95", "x", 0.5, None, {"n": 3}).value.value == 0.5


@pytest.mark.parametrize(
    ("labels", "reasons"),
    [
        ([], ["no faces", "no forged faces", "no real faces", "no forged faces"]),
        ([FAKE], [None, None, "no real faces", "no real faces"]),
        ([REAL], [None, "no forged faces", None, "no forged faces"]),
        ([REAL, FAKE], [None, None, None, None]),
    ],
)
def test_labels_that_are_missing_are_named(labels: list[int], reasons: list[str | None]) -> None:
    found = [missing_label(np.array(labels, dtype=int), needs) for needs in ("any", "forged", "real", "both")]
    assert found == reasons


def test_counts_and_groups_of_numbers() -> None:
    rows = frame()
    _, found = numbers(rows, PROTOCOL, resamples=0)
    sizes = rows["group"].value_counts()
    seen, unseen = sizes[SEEN].sum(), sizes[UNSEEN].sum()
    ranking = one(found, "auroc", "seen-vs-unseen", "micro").value
    assert (ranking.n, ranking.n_pos, ranking.n_neg) == (seen + unseen, seen, unseen)
    assert ranking.members == (*SEEN, *UNSEEN)
    detection = one(found, "accuracy", "unseen", "micro").value
    assert (detection.n, detection.n_pos, detection.n_neg) == (unseen, sizes[FORGED], sizes[PRISTINE])
    assert (detection.members, detection.params) == ((FORGED, PRISTINE), {"reals": [PRISTINE]})
    assert one(found, "ece", "unseen", "micro").value.params == {"reals": [PRISTINE], "bins": 15}
    group = one(found, "unseen_accuracy", FORGED, "none", 0.7).value
    assert (group.n, group.members, group.n_pos, group.n_neg) == (sizes[FORGED], (FORGED,), None, None)
    area = one(found, "auc", FORGED, "none").value
    assert (area.n, area.n_pos, area.members) == (unseen, sizes[FORGED], (FORGED, PRISTINE))
    assert [one(found, "auc", "seen", "macro").value.n, one(found, "seen_accuracy", "seen", "macro").value.n] == [
        seen, seen,
    ]  # fmt: skip


def test_single_groups_have_intervals_from_formulas() -> None:
    rows = frame()
    _, found = numbers(rows, PROTOCOL, resamples=0)
    mine = rows[rows["group"] == FORGED]
    below = (mine[["p_0", "p_1", "p_2"]].max(axis=1) < 0.7).to_numpy()
    made = one(found, "unseen_accuracy", FORGED, "none", 0.7)
    assert made.with_interval(0, 0).ci95 == share_interval(below, mine["source_key"].to_numpy())
    assert made.with_interval(0, 0).ci_method == "wilson_t"
    both = rows[rows["group"].isin([FORGED, PRISTINE])]
    area, covariance = auc_covariance(both["detection_label"], both["p_fake"], both["source_key"])
    low, high = one(found, "auc", FORGED, "none").with_interval(0, 0).ci95
    rarer = both.groupby("detection_label")["source_key"].nunique().min()
    expected = interval(area[0], Spread(np.sqrt(covariance[0, 0]), rarer - 1), (0.0, 1.0))
    assert (low, high) == pytest.approx(expected)
    earlier = [n for n in numbers(rows, PROTOCOL, resamples=0, earlier=True)[1] if n.value.metric == "auc"]
    half = 1.959963984540054 * np.sqrt(covariance[0, 0])
    assert one(earlier, "auc", FORGED, "none").with_interval(0, 0).ci95 == pytest.approx(
        (max(0, area[0] - half), min(1, area[0] + half))
    )
    certain = rows.assign(p_fake=rows["detection_label"].astype(float))
    _, perfect = numbers(certain, PROTOCOL, resamples=0)
    assert one(perfect, "auc", FORGED, "none").formula == (None, "delong_t")


def test_shares_without_spread_get_wilson_of_their_own_faces() -> None:
    rows = frame()
    certain = rows.assign(p_fake=rows["detection_label"].astype(float), p_0=0.4, p_1=0.3, p_2=0.3)
    _, found = numbers(certain, PROTOCOL, resamples=20)
    for metric, group in (("tpr", [FORGED]), ("tnr", [PRISTINE]), ("accuracy", [FORGED, PRISTINE])):
        mine = certain[certain["group"].isin(group)]
        hits, strata, sources = np.ones(len(mine), bool), mine["group"].to_numpy(), mine["source_key"].to_numpy()
        made = one(found, metric, "unseen", "micro").with_interval(20, 0)
        assert made.ci95 == pytest.approx(stratified_wilson(hits, strata, sources, macro=False))
        assert made.ci_method == "wilson"
    sides = [one(found, name, "unseen", "micro").with_interval(20, 0).ci95 for name in ("tpr", "tnr")]
    balanced = one(found, "balanced_accuracy", "unseen", "micro").with_interval(20, 0)
    assert balanced.ci95 == pytest.approx(tuple(np.mean(sides, axis=0)))


def test_bootstraps_are_of_the_rows_of_the_set_by_source() -> None:
    rows = frame()
    _, found = numbers(rows, PROTOCOL, resamples=40, seed=3)
    mine = rows[rows["group"].isin(UNSEEN)]
    bootstrap = ClusterBootstrap(mine["group"], mine["source_key"], resamples=40, seed=3)
    below = (mine[["p_0", "p_1", "p_2"]].max(axis=1) < 0.9).to_numpy()
    made = one(found, "unseen_accuracy", "unseen", "macro", 0.9).with_interval(40, 3)
    of = spread(bootstrap.macro_share_draws(below), bootstrap)
    assert made.ci95 == pytest.approx(interval(made.value, of, (0.0, 1.0)))
    old = numbers(rows, PROTOCOL, resamples=40, seed=3, earlier=True)[1]
    percentiles = one(old, "unseen_accuracy", "unseen", "macro", 0.9).with_interval(40, 3).ci95
    assert percentiles == pytest.approx(bounds(bootstrap.macro_share_draws(below)))
    forged = (mine["detection_label"] == FAKE).to_numpy()
    area = bootstrap.ranking_draws(forged, mine["p_fake"].to_numpy(), only=("auc",))["auc"]
    auc = one(found, "auc", "unseen", "micro").with_interval(40, 3)
    assert auc.ci95 == pytest.approx(interval(auc.value, spread(area, bootstrap), (0.0, 1.0)))
    assert one(found, "ece", "unseen", "micro").with_interval(40, 3).ci95 is None


def test_paired_tests_get_rows_scores_and_sources() -> None:
    rows = frame()
    _, found = numbers(rows, PROTOCOL, resamples=0)
    mine = rows[rows["group"].isin([FORGED, PRISTINE])]
    right = ((mine["p_fake"] > 0.5) == (mine["detection_label"] == FAKE)).to_numpy()
    accuracy = one(found, "accuracy", "unseen", "micro")
    assert accuracy.hits.tolist() == right.tolist()
    assert accuracy.sources.tolist() == mine["source_key"].tolist()
    for name in ("balanced_accuracy", "tpr", "tnr", "ap", "eer", "ece"):
        other = one(found, name, "unseen", "micro")
        assert (other.hits, other.ranked) == (None, None)
    labels, scores = one(found, "auc", "unseen", "micro").ranked
    assert (labels.tolist(), scores.tolist()) == (mine["detection_label"].tolist(), mine["p_fake"].tolist())
    labels, scores = one(found, "auroc", "seen-vs-unseen", "micro").ranked
    assert labels.tolist() == rows["group"].isin(SEEN).astype(int).tolist()
    assert scores.tolist() == rows[["p_0", "p_1", "p_2"]].max(axis=1).tolist()
    assert one(found, "oscr", "seen-vs-unseen", "micro").ranked is None
    assert one(found, "prototype_retrieval", "all", "macro").hits is None


def test_half_of_the_sources_are_registered_by_seed() -> None:
    sources = np.array([f"s{i}" for i in range(2000)] * 2)
    chosen = registered_sources(sources, 0)
    assert (chosen[:2000] == chosen[2000:]).all()
    assert 0.46 < chosen.mean() < 0.54
    assert registered_sources(sources, 0).tolist() == chosen.tolist()
    digests = [hashlib.sha256(f"0:retrieval:{source}".encode()).digest()[:6] for source in sources]
    assert chosen.tolist() == [digest < b"\x80" + bytes(5) for digest in digests]  # below a half, whatever the model
    assert 0.4 < (registered_sources(sources, 1) != chosen).mean() < 0.6
    assert registered_sources(sources[::-1], 0).tolist() == chosen[::-1].tolist()


def test_retrieval_counts_queries_and_needs_two_groups() -> None:
    rows = frame()
    chosen = registered_sources(rows["source_key"].to_numpy(dtype=str), PROTOCOL.seed)
    number = next(v for v in score(rows, PROTOCOL, resamples=0).metrics if v.metric == "prototype_retrieval")
    mine = rows["group"].isin(UNSEEN).to_numpy()
    assert (number.n, number.params["registered"]) == ((mine & ~chosen).sum(), (mine & chosen).sum())
    assert number.members == tuple(UNSEEN)
    whole = rows[~(rows["group"] == FORGED) | chosen]  # every source of one group is registered: one group is left
    left = [v for v in score(whole, PROTOCOL, resamples=0).metrics if v.metric == "prototype_retrieval"]
    assert left[0].null_reason == "needs two unseen groups of two sources"
    assert (left[0].value, left[0].members) == (None, (PRISTINE,))
    assert left[1].value is not None
    one_group = [v for v in score(rows[rows["group"] == SEEN[0]], PROTOCOL, resamples=0).metrics if v.subset == "all"]
    assert one_group[0].null_reason == "needs two groups of two sources"


def test_the_sweep_has_steps_of_five_percent_and_the_protocols_own() -> None:
    assert tuple(k / 100 for k in [*range(5, 100, 5), 97, 99]) == SWEEP
    swept = score(frame(), replace(PROTOCOL), resamples=0).sweep
    assert swept.thresholds == tuple(sorted({*SWEEP, 0.7, 0.9}))
    rows = frame()
    confidence = rows[["p_0", "p_1", "p_2"]].max(axis=1)
    right = rows[["p_0", "p_1", "p_2"]].to_numpy().argmax(axis=1) == rows["attribution_label"]
    for place, threshold in enumerate(swept.thresholds):
        kept = [(confidence[rows["group"] == key] >= threshold).mean() for key in SEEN]
        both = [((confidence >= threshold) & right)[rows["group"] == key].mean() for key in SEEN]
        below = [(confidence[rows["group"] == key] < threshold).mean() for key in UNSEEN]
        assert swept.seen_kept[place] == pytest.approx(np.mean(kept))
        assert swept.seen_right[place] == pytest.approx(np.mean(both))
        assert swept.unseen_accuracy[place] == pytest.approx(np.mean(below))


def test_differences_are_beyond_the_tolerance_and_short() -> None:
    assert list(differences("x", 0.5, 0.5 + 0.9 * TOLERANCE)) == []
    assert list(differences("x", 0.5, 0.5 + 1.1 * TOLERANCE)) == [Difference("x", 0.5, 0.5 + 1.1 * TOLERANCE)]
    assert list(differences("x", True, 1)) == []
    assert [d.name for d in differences("", {"a": [1, 2]}, {"a": [1, 3], "b": 1})] == ["a[1]", "b"]
    assert [d.name for d in differences("x", [1], [1, 2])] == ["x"]
    assert str(Difference("x", "a" * 40, None)) == f"x is missing, the record says {'a' * 40}"
    assert str(Difference("x", 1, "b" * 41)) == f"x is {'b' * 16}..., the record says 1"


def test_a_set_without_faces_has_no_values_by_face() -> None:
    faces, _ = numbers(frame(), PROTOCOL, resamples=0)
    empty = _groups_set(faces, "seen", "seen", [])
    assert empty.values_by_face(METRICS["seen_accuracy"], empty.rows).shape == (0,)
    assert empty.mean_value(METRICS["seen_accuracy"], np.flatnonzero(empty.rows)) == (None, "no seen groups")
    assert empty.value(METRICS["seen_accuracy"], np.flatnonzero(empty.rows)) == (None, "no seen groups")


def test_videos_do_not_depend_on_the_order_of_faces() -> None:
    rows = frame()
    rows["video"] = "v" + (rows.groupby("group").cumcount() // 3).astype(str)
    shuffled = rows.sample(frac=1, random_state=0)
    one_order, other = (score(part, PROTOCOL, resamples=0).metrics for part in (rows, shuffled))
    assert any("-videos" in value.subset for value in one_order)
    assert [(v.metric, v.subset, v.n) for v in one_order] == [(v.metric, v.subset, v.n) for v in other]
    assert [v.value for v in one_order] == pytest.approx([v.value for v in other])


def test_videos_are_rows_in_the_order_of_their_groups_and_names() -> None:
    rows = frame()[::-1].reset_index(drop=True)
    rows["video"] = "v" + (rows.groupby("group").cumcount() // 3).astype(str)
    faces, _ = numbers(rows, PROTOCOL, resamples=0)
    videos = faces.videos(rows)
    assert videos is not None
    means = rows.groupby(["group", "video"])["p_fake"].mean()
    assert videos.group.tolist() == means.index.get_level_values("group").tolist()
    assert videos.p_fake.tolist() == pytest.approx(means.tolist())
    labels = rows.groupby(["group", "video"])["attribution_label"].first()
    assert videos.label.tolist() == labels.tolist()


def test_no_function_is_called_for_a_resample_where_the_table_says_what_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    value = FaceSet.value

    def counted(self: FaceSet, metric: Metric, chosen: np.ndarray) -> tuple[float | None, str | None]:
        calls.extend([metric.function] if metric.draws or metric.per_face else [])
        return value(self, metric, chosen)

    monkeypatch.setattr(FaceSet, "value", counted)
    made = []
    for resamples in (0, 20):
        calls.clear()
        score(toy_predictions(toy_protocol(), 20), toy_protocol(), resamples=resamples)
        made.append(sorted(calls))
    assert made[0] == made[1] != []


def test_a_mean_over_groups_without_spread_counts_groups_alike() -> None:
    """Groups of 34 and of 41 faces, all below the threshold: their bounds are averaged, not weighted by size."""
    rows = frame().assign(p_0=0.4, p_1=0.3, p_2=0.3)
    _, found = numbers(rows, PROTOCOL, resamples=20)
    mine = rows[rows["group"].isin(UNSEEN)]
    sources, groups = mine["source_key"].to_numpy(), mine["group"].to_numpy()
    assert len(set(mine["group"].value_counts())) > 1
    alike, by_size = (
        stratified_wilson(np.ones(len(mine), bool), groups, sources, macro=macro) for macro in (True, False)
    )
    made = one(found, "unseen_accuracy", "unseen", "macro", 0.9).with_interval(20, 0)
    assert made.ci95 == pytest.approx(alike)
    assert alike != pytest.approx(by_size, abs=1e-6)
