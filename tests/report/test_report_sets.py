"""Which faces form which set of the evaluation: near and far, videos, retrieval, sweep, confusion, constants."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.toy import toy_predictions, toy_protocol
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from dfad_bench.core.labels import FAKE
from dfad_bench.core.protocol import Group, Protocol, load_protocol, protocol_names
from dfad_bench.core.record import MetricValue
from dfad_bench.report.attribution import nearness
from dfad_bench.report.score import Score, score
from dfad_bench.report.scored_faces import Faces

SHIPPED = ("gazeclip-df40", "gazeclip-celebdfpp", "gazeclip-wild", "gazeclip-recent", "bmrl-1", "bmrl-2")


def found(scored: Score, metric: str, subset: str, averaging: str | None = None, **params: float) -> MetricValue:
    named = [m for m in scored.metrics if (m.metric, m.subset) == (metric, subset)]
    mine = [m for m in named if averaging in (None, m.averaging) and params.items() <= m.params.items()]
    mine = [m for m in mine if averaging or m.averaging != "macro"] or mine  # a mean over groups only where asked
    assert len(mine) == 1, (metric, subset, mine)
    return mine[0]


def constant(protocol: Protocol, sizes: int, p_fake: float) -> pd.DataFrame:
    """A model that is never sure of a generator and always of its answer to real or fake."""
    frame = toy_predictions(protocol, sizes)
    columns = {f"p_{k}": 1 / protocol.num_generators for k in range(protocol.num_generators)}
    return frame.assign(p_fake=p_fake, **columns)


@pytest.mark.parametrize(
    ("name", "accuracy"), [("gazeclip-df40", 0.90), ("gazeclip-celebdfpp", 8 / 9), ("gazeclip-wild", 0.75)]
)
def test_simulated_constant_models_score_what_arithmetic_says(name: str, accuracy: float) -> None:
    """90.00, 88.89 and 75.00 are printed in Tables II, III and VII; nothing was learnt to get them."""
    protocol = load_protocol(name)
    scored = score(constant(protocol, 50, 1.0), protocol, resamples=20)
    assert found(scored, "unseen_accuracy", "unseen", threshold=0.9).value == 1.0
    assert found(scored, "seen_accuracy", "seen").value == pytest.approx(1 / 11)
    assert round(100 * found(scored, "accuracy", "unseen").value, 2) == round(100 * accuracy, 2)
    assert (found(scored, "tpr", "unseen").value, found(scored, "tnr", "unseen").value) == (1.0, 0.0)
    for metric in ("balanced_accuracy", "eer"):
        assert found(scored, metric, "unseen").value == 0.5
    for averaging in ("micro", "macro"):
        assert found(scored, "auc", "unseen", averaging).value == 0.5
    assert found(scored, "ap", "unseen").value == pytest.approx(accuracy)  # the share of forged faces
    assert found(scored, "ece", "unseen").value == pytest.approx(1 - accuracy)
    assert found(scored, "auroc", "seen-vs-unseen").value == 0.5
    assert found(scored, "oscr", "seen-vs-unseen").value == pytest.approx(0.5 / 11)
    assert found(scored, "fpr95", "seen-vs-unseen").value == 1.0
    retrieval = found(scored, "prototype_retrieval", "unseen")
    assert retrieval.value == pytest.approx(1 / len(retrieval.members))
    assert all(m.value in (None, 1.0) for m in scored.metrics if m.metric == "unseen_accuracy")


def test_protocols_of_the_papers_are_shipped_with_their_columns() -> None:
    assert set(SHIPPED) <= set(protocol_names())
    columns = {name: sum(group.in_average for group in load_protocol(name).unseen) for name in SHIPPED}
    assert list(columns.values()) == [10, 8, 3, 3, 9, 10]  # Tables II, III, VII, VIII; BMRL 1 and 3
    for name in SHIPPED:
        protocol = load_protocol(name)
        assert protocol.attribution.thresholds == ((0.7, 0.9) if name.startswith("bmrl") else (0.9,))
        assert (protocol.test_per_group, protocol.on_short, protocol.average) == (1250, "error", "macro")


def test_without_any_real_face_detection_is_null_with_a_reason() -> None:
    protocol = load_protocol("bmrl-1")
    scored = score(toy_predictions(protocol, 20), protocol, resamples=10)
    undefined = {(m.metric, m.null_reason) for m in scored.metrics if m.task == "detection" and m.value is None}
    assert {("auc", "no real faces"), ("balanced_accuracy", "no real faces"), ("tnr", "no real faces")} <= undefined
    assert {("accuracy", "no real faces"), ("ece", "no real faces")} <= undefined
    assert found(scored, "tpr", "unseen").value is not None
    assert all(m.ci95 is None for m in scored.metrics if m.value is None)


def test_near_and_far_by_the_taxonomy() -> None:
    table2 = nearness(load_protocol("gazeclip-df40"))
    assert table2["far"] == []  # swaps and whole syntheses were seen, by GANs and diffusion models
    assert table2["far-family"] == []  # Table I calls SiT a diffusion model
    assert "ffhq/real" not in sum(table2.values(), [])
    table3 = nearness(load_protocol("gazeclip-celebdfpp"))
    assert table3["near-forgery"] == []  # nobody saw reenactment
    assert {"celeb_df_pp/float", "celeb_df_pp/lia"} <= set(table3["far"])  # flow models
    assert "celeb_df_pp/liveportrait" in table3["near"]  # a GAN
    assert table3["near"] == table3["near-family"]
    assert set(table3["near"]).isdisjoint(table3["far"])


def test_near_and_far_numbers_are_means_over_their_groups() -> None:
    protocol = load_protocol("gazeclip-celebdfpp")
    frame = toy_predictions(protocol, 30)
    scored = score(frame, protocol, resamples=0)
    p = frame[[f"p_{k}" for k in range(11)]].to_numpy()
    seen = frame["attribution_label"] >= 0
    for name, keys in nearness(protocol).items():
        number = found(scored, "unseen_accuracy", name, threshold=0.9)
        ranked = found(scored, "auroc", f"seen-vs-{name}")
        if not keys:
            assert (number.value, number.null_reason) == (None, f"no {name} groups")
            assert ranked.null_reason == f"needs seen and {name} faces"
            continue
        assert number.members == tuple(keys)
        assert number.value == pytest.approx(np.mean([(p[frame.group == key].max(1) < 0.9).mean() for key in keys]))
        rows = seen | frame["group"].isin(keys)
        assert ranked.value == pytest.approx(oracle.roc_auc_score(seen[rows], p[rows].max(1)))


def test_sweep_and_confusion_follow_from_the_rows() -> None:
    protocol = toy_protocol()
    frame = toy_predictions(protocol, {g.key: 20 + 7 * i for i, g in enumerate(protocol.groups)})
    scored = score(frame, protocol, resamples=0)
    p = frame[["p_0", "p_1", "p_2"]].to_numpy()
    swept, at = scored.sweep, scored.sweep.thresholds.index(0.7)
    assert list(swept.thresholds) == sorted(swept.thresholds)
    assert swept.unseen_accuracy[at] == found(scored, "unseen_accuracy", "unseen", threshold=0.7).value
    assert list(swept.unseen_accuracy) == sorted(swept.unseen_accuracy)
    assert list(swept.seen_kept) == sorted(swept.seen_kept, reverse=True)
    assert all(right <= kept for right, kept in zip(swept.seen_right, swept.seen_kept, strict=True))
    assert swept.seen_right[0] == pytest.approx(found(scored, "seen_accuracy", "seen").value)  # all are surer than 0.05
    for group in protocol.groups:
        rows = (frame["group"] == group.key).to_numpy()
        assert scored.groups[group.key].named == tuple(np.bincount(p[rows].argmax(1), minlength=3))
    truth, called = frame["attribution_label"].to_numpy(), p.argmax(1)
    matrix = oracle.confusion_matrix(truth[truth >= 0], called[truth >= 0], labels=[0, 1, 2])
    assert [list(scored.groups[g.key].named) for g in sorted(protocol.seen, key=lambda g: g.label)] == matrix.tolist()


def test_videos_are_the_mean_of_their_frames_and_never_cross_groups() -> None:
    protocol = toy_protocol()
    frame = toy_predictions(protocol, 40)
    videos = "folder/" + (frame.groupby("group").cumcount() // 4).astype(str)  # the same names in every group
    frame["video"] = videos.where(~frame["group"].eq("synthetic-outdoor/real"), None)  # still images
    scored = score(frame, protocol, resamples=20)
    forged = frame[frame["group"] == "synthetic/synthetic-flow-a"].groupby("video")["p_fake"].mean()
    real = frame[frame["group"] == "synthetic-outdoor/real"]["p_fake"]
    truth, p = np.repeat([1, 0], [len(forged), len(real)]), np.concatenate([forged, real])
    auc = found(scored, "auc", "unseen-videos", "micro")
    assert (auc.n_pos, auc.n_neg) == (10, 40)
    assert auc.value == pytest.approx(oracle.roc_auc_score(truth, p))
    assert found(scored, "accuracy", "unseen-videos").value == pytest.approx(oracle.accuracy_score(truth, p > 0.5))
    assert found(scored, "auc", "synthetic/synthetic-flow-a-videos").n_pos == 10
    means = frame[frame["group"] == "synthetic/synthetic-flow-a"].groupby("video")[["p_0", "p_1", "p_2"]].mean()
    below = found(scored, "unseen_accuracy", "synthetic/synthetic-flow-a-videos", threshold=0.7)
    assert (below.n, below.value) == (10, pytest.approx((means.max(axis=1) < 0.7).mean()))
    assert found(scored, "seen_accuracy", "seen-videos", "macro").n == 30
    assert found(scored, "oscr", "seen-vs-unseen-videos", "micro").n_pos == 30
    frames = score(frame.drop(columns="video"), protocol, resamples=20)
    assert [m for m in scored.metrics if "videos" not in m.subset] == list(frames.metrics)
    mixed = frame.assign(p_fake=frame["p_0"]).sample(frac=1, random_state=0)  # rows of a video apart from each other
    rows = Faces(mixed, mixed[["p_0", "p_1", "p_2"]].to_numpy(), protocol, 0, 0).videos(mixed)
    np.testing.assert_array_equal(rows.p_fake, rows.probs[:, 0])
    single = frame.assign(video=[f"v{i}" for i in range(len(frame))])
    assert score(single, protocol, resamples=20) == frames  # one frame each: nothing new to say


def test_retrieval_registers_sources_and_asks_with_others() -> None:
    protocol = toy_protocol()
    frame = toy_predictions(protocol, 60)
    scored = score(frame, protocol, resamples=50)
    number = found(scored, "prototype_retrieval", "all")
    assert number.n + number.params["registered"] == len(frame)
    assert number.ci95[0] <= number.value <= number.ci95[1]
    assert number.params["space"] == "class probabilities"
    own = np.eye(3)[np.maximum(frame["attribution_label"], 0)]
    told = frame.assign(**{f"p_{k}": own[:, k] for k in range(3)})
    seen_only = toy_protocol(unseen=())
    perfect = score(told[told["attribution_label"] >= 0], seen_only, resamples=0)
    assert found(perfect, "prototype_retrieval", "all").value == 1.0
    lonely = score(frame.assign(source_key="one"), protocol, resamples=0)
    assert found(lonely, "prototype_retrieval", "unseen").null_reason == "needs two unseen groups of two sources"


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 6), min_size=5, max_size=5).filter(any))
def test_whatever_is_missing_or_tied_numbers_are_shares_or_null_with_a_reason(seed: int, sizes: list[int]) -> None:
    protocol = toy_protocol()
    frame = toy_predictions(protocol, dict(zip((g.key for g in protocol.groups), sizes, strict=True)), seed)
    columns = [*(f"p_{k}" for k in range(3)), "p_fake"]
    frame["p_fake"] = frame["p_fake"].round(seed % 3)
    if seed % 2:
        frame[columns[:3]] = np.eye(3)[seed % 3]
    scored = score(frame, protocol, resamples=10)
    for number in scored.metrics:
        if number.value is None:
            assert number.null_reason
            assert number.ci95 is None
        else:
            assert 0 <= number.value <= 1 + 1e-12
            assert number.null_reason is None
            assert number.ci95 is None or -1e-12 <= number.ci95[0] <= number.ci95[1] <= 1 + 1e-12
    keys = [(m.task, m.metric, m.subset, m.averaging, m.params.get("threshold")) for m in scored.metrics]
    assert len(set(keys)) == len(keys)


def test_reals_of_a_group_outside_the_average_stand_against_forged_faces_only() -> None:
    protocol = load_protocol("gazeclip-recent")
    scored = score(toy_predictions(protocol, 20), protocol, resamples=0)
    assert found(scored, "unseen_accuracy", "unseen", threshold=0.9).members == tuple(
        group.key for group in protocol.unseen if group.taxon.detection_label == FAKE
    )
    assert found(scored, "auc", "unseen", "micro").params["reals"] == ["ffhq/real"]
    assert "ffhq/real" not in found(scored, "prototype_retrieval", "unseen").members


def test_the_two_unseen_groups_of_one_generator_are_two_columns() -> None:
    protocol = toy_protocol(
        unseen=(Group("synthetic-flow-a", "synthetic"), Group("synthetic-flow-a", "synthetic-outdoor"))
    )
    scored = score(toy_predictions(protocol, 20), protocol, resamples=0)
    assert found(scored, "auc", "unseen", "macro").members[:2] == tuple(group.key for group in protocol.unseen)
