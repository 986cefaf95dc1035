from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.toy import toy_predictions as predictions
from helpers.toy import toy_protocol
from sklearn import metrics as oracle

from dfad_bench.core.errors import IntegrityError
from dfad_bench.core.protocol import AttributionRule, Group, load_protocol
from dfad_bench.metrics.interval import wilson
from dfad_bench.report.score import Score, score
from dfad_bench.report.trivial import ALWAYS_FAKE, MAJORITY, planned, trivial_scores


def value(scored: Score, metric: str, subset: str, averaging: str | None = None, **params: float) -> float | None:
    named = [m for m in scored.metrics if (m.metric, m.subset) == (metric, subset)]
    found = [m for m in named if averaging in (None, m.averaging) and params.items() <= m.params.items()]
    found = [m for m in found if averaging or m.averaging != "macro"] or found  # a mean over groups only where asked
    assert len(found) == 1, found
    return found[0].value


@pytest.mark.parametrize("seed", range(3))
def test_numbers_equal_a_slow_computation(seed: int) -> None:
    protocol = toy_protocol()
    frame = predictions(protocol, {g.key: 20 + 9 * i for i, g in enumerate(protocol.groups)}, seed)
    scored = score(frame, protocol, resamples=20)
    p = frame[["p_0", "p_1", "p_2"]].to_numpy()
    confidence = p.max(1)
    seen_keys, unseen_keys = [g.key for g in protocol.seen], [g.key for g in protocol.unseen]
    shares = [np.mean(p[frame.group == k].argmax(1) == frame.attribution_label[frame.group == k]) for k in seen_keys]
    assert value(scored, "seen_accuracy", "seen") == pytest.approx(np.mean(shares))
    for threshold in (0.7, 0.9):
        shares = [np.mean(confidence[frame.group == k] < threshold) for k in unseen_keys]
        assert value(scored, "unseen_accuracy", "unseen", threshold=threshold) == pytest.approx(np.mean(shares))
    is_seen = frame.group.isin(seen_keys)
    assert value(scored, "auroc", "seen-vs-unseen") == pytest.approx(oracle.roc_auc_score(is_seen, confidence))
    for subset, rows in (("unseen", frame[~is_seen]), ("seen", frame[is_seen])):
        truth, called = rows.detection_label, rows.p_fake > 0.5
        assert value(scored, "accuracy", subset) == pytest.approx(oracle.accuracy_score(truth, called))
        assert value(scored, "balanced_accuracy", subset) == pytest.approx(
            oracle.balanced_accuracy_score(truth, called)
        )
        assert value(scored, "auc", subset, "micro") == pytest.approx(oracle.roc_auc_score(truth, rows.p_fake))


def test_counts_give_the_ratios_again() -> None:
    protocol = toy_protocol()
    scored = score(predictions(protocol), protocol, resamples=0)
    groups = scored.groups
    unseen = [groups[g.key] for g in protocol.unseen]
    assert value(scored, "unseen_accuracy", "unseen", threshold=0.9) == np.mean([g.below["0.9"] / g.n for g in unseen])
    assert value(scored, "seen_accuracy", "seen") == np.mean(
        [groups[g.key].correct / groups[g.key].n for g in protocol.seen]
    )
    right = sum(g.tp + g.tn for g in unseen) / sum(g.n for g in unseen)
    assert value(scored, "accuracy", "unseen") == pytest.approx(right)
    assert all(g.tp + g.fp + g.fn + g.tn == g.n for g in groups.values())


@pytest.mark.parametrize(("name", "detection_acc"), [("gazeclip-df40", 0.9), ("gazeclip-celebdfpp", 8 / 9)])
def test_constant_answers_score_what_the_papers_print(name: str, detection_acc: float) -> None:
    """Tables II and III: always saying fake is 90.00 and 88.89, no confidence is 100."""
    protocol = load_protocol(name)
    scores = trivial_scores(protocol, {key: count // 100 for key, count in planned(protocol).items()})
    constant = scores[ALWAYS_FAKE]
    assert value(constant, "unseen_accuracy", "unseen", threshold=0.9) == 1.0
    assert value(constant, "seen_accuracy", "seen") == pytest.approx(1 / 11)
    assert value(constant, "accuracy", "unseen") == pytest.approx(detection_acc)
    assert value(constant, "balanced_accuracy", "unseen") == 0.5
    assert value(constant, "auc", "unseen", "micro") == 0.5
    assert value(constant, "auroc", "seen-vs-unseen") == 0.5
    assert value(scores[MAJORITY], "unseen_accuracy", "unseen", threshold=0.9) == 0.0


def test_majority_follows_the_training_counts() -> None:
    protocol = toy_protocol()
    tested = {group.key: 10 for group in protocol.groups}
    trained = {"synthetic/real": 50, "synthetic/synthetic-gan-a": 5, "synthetic/synthetic-diffusion-a": 5}
    majority = trivial_scores(protocol, tested, trained)[MAJORITY]
    assert majority.groups["synthetic/real"].correct == 10
    assert value(majority, "accuracy", "seen") == pytest.approx(1 / 3)  # more real than fake: always real


def test_planned_faces_are_those_of_the_protocol_or_one_a_group() -> None:
    protocol = toy_protocol()
    first, *others = protocol.seen
    asked = replace(protocol, seen=(replace(first, test=7), *others), test_per_group=30)
    assert planned(asked) == {g.key: 7 if g.key == first.key else 30 for g in asked.groups}
    assert planned(replace(protocol, test_per_group=None)) == {g.key: 1 for g in protocol.groups}


def test_a_group_without_training_faces_is_not_the_majority() -> None:
    protocol = toy_protocol()
    tested = {group.key: 10 for group in protocol.groups}
    majority = trivial_scores(protocol, tested, {"synthetic/synthetic-gan-a": 1})[MAJORITY]
    right = {key: counts.correct for key, counts in majority.groups.items() if counts.seen}
    assert right == {"synthetic/real": 0, "synthetic/synthetic-gan-a": 10, "synthetic/synthetic-diffusion-a": 0}
    assert value(majority, "tpr", "seen") == 1.0  # more forged than real faces: always forged
    unknown = trivial_scores(protocol, tested)[MAJORITY]
    assert unknown.groups == {}
    assert value(unknown, "tpr", "seen") is None  # not taken for even


def test_without_unseen_reals_the_seen_reals_stand_against_the_fakes() -> None:
    protocol = toy_protocol(unseen=(Group("synthetic-flow-a", "synthetic"),))
    scored = score(predictions(protocol), protocol, resamples=0)
    pooled = next(m for m in scored.metrics if (m.metric, m.subset) == ("accuracy", "unseen"))
    assert pooled.params["reals"] == ["synthetic/real"]
    assert (pooled.n_pos, pooled.n_neg) == (40, 40)


def test_undefined_numbers_are_null_with_a_reason() -> None:
    protocol = toy_protocol(
        seen=(Group("synthetic-gan-a", "synthetic", 0),), unseen=(Group("synthetic-flow-a", "synthetic"),)
    )
    scored = score(predictions(protocol), protocol, resamples=10)
    found = {(m.metric, m.subset): m for m in scored.metrics}
    assert found["auc", "unseen"].value is None
    assert found["auc", "unseen"].null_reason
    assert found["balanced_accuracy", "unseen"].null_reason == "no real faces"
    assert found["balanced_accuracy", "unseen"].ci95 is None
    assert (found["accuracy", "unseen"].value, found["accuracy", "unseen"].null_reason) == (None, "no real faces")
    before = score(predictions(protocol), protocol, resamples=0, earlier=True)  # records of schema 1.1 have it
    assert value(before, "accuracy", "unseen") is not None
    alone = score(predictions(replace(protocol, unseen=())), replace(protocol, unseen=()), resamples=0)
    reasons = {m.metric: m.null_reason for m in alone.metrics if m.subset in ("unseen", "seen-vs-unseen")}
    assert reasons["unseen_accuracy"] == "no unseen groups"
    assert reasons["oscr"] == "needs seen and unseen faces"


def test_an_expert_that_was_not_trained_has_no_numbers() -> None:
    protocol = toy_protocol()
    scored = score(predictions(protocol), protocol, heads="attribution", resamples=0)
    assert {m.null_reason for m in scored.metrics if m.task == "detection"} == {"the detection expert was not trained"}
    undefined = {m.null_reason for m in scored.metrics if m.task == "attribution" and m.value is None}
    nowhere = ("far", "near-family", "far-forgery")  # the one unseen forged group is of another family, entirely made
    assert undefined == {f"no {name} groups" for name in nowhere} | {f"needs seen and {name} faces" for name in nowhere}
    assert all(g.tp + g.fp + g.fn + g.tn == 0 for g in scored.groups.values())


def test_a_group_outside_the_average_is_scored_but_not_averaged() -> None:
    protocol = toy_protocol(
        unseen=(Group("real", "synthetic-outdoor", in_average=False), Group("synthetic-flow-a", "synthetic"))
    )
    scored = score(predictions(protocol), protocol, resamples=0)
    own = value(scored, "unseen_accuracy", "synthetic/synthetic-flow-a", threshold=0.9)
    assert value(scored, "unseen_accuracy", "unseen", threshold=0.9) == own
    assert value(scored, "unseen_accuracy", "synthetic-outdoor/real", threshold=0.9) is not None
    assert next(m for m in scored.metrics if (m.metric, m.subset) == ("accuracy", "unseen")).n_neg == 40


def test_row_order_does_not_matter_and_intervals_hold_their_value() -> None:
    protocol = toy_protocol(attribution=AttributionRule())
    frame = predictions(protocol)
    one, other = score(frame, protocol, resamples=200), score(frame[::-1], protocol, resamples=200)
    assert [m.value for m in one.metrics] == pytest.approx([m.value for m in other.metrics])
    with_interval = [m for m in one.metrics if m.ci95]
    assert len(with_interval) >= 10
    for m in with_interval:
        assert m.ci95[0] - 1e-9 <= m.value <= m.ci95[1] + 1e-9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="p_2"), "lack columns"),
        (lambda f: f.assign(p_3=0.0), "more classes"),
        (lambda f: f.assign(group="ffhq/real"), "groups protocol toy does not have"),
        (lambda f: pd.concat([f, f[:1]]), "name a face twice"),
        (lambda f: f.assign(p_0=2.0), "not probabilities"),
        (lambda f: f.assign(p_fake=np.nan), "not probabilities"),
        (lambda f: f[:0], "empty"),
    ],
)
def test_predictions_that_cannot_be_scored_are_refused(change, message: str) -> None:
    protocol = toy_protocol()
    with pytest.raises(IntegrityError, match=message):
        score(change(predictions(protocol)), protocol)


def test_no_interval_claims_certainty() -> None:
    """All right, or constant in each group: no resample differs, and yet ten faces do not prove 100 %."""
    protocol = toy_protocol()
    frame = predictions(protocol, 10)
    frame = frame.assign(source_key=frame["sample_id"])
    columns = [f"p_{k}" for k in range(protocol.num_generators)]
    even = frame.assign(**dict.fromkeys(columns, 1 / len(columns)), p_fake=frame["detection_label"].astype(float))
    scored = score(even, protocol, resamples=50)
    wide = 0
    for value in scored.metrics:
        if value.ci95 is not None:
            assert value.value is not None
            low, high = value.ci95
            assert high - low > 1e-6, value
            assert low - 1e-9 <= value.value <= high + 1e-9, value
            wide += 1
    assert wide > 10
    found = {(v.metric, v.subset, v.averaging): v for v in scored.metrics}
    assert found["unseen_accuracy", "unseen", "macro"].ci95 == pytest.approx(wilson(10, 10))
    assert found["unseen_accuracy", "unseen", "macro"].ci_method == "wilson"
    assert found["balanced_accuracy", "unseen", "micro"].ci95 == pytest.approx(wilson(10, 10))
    assert found["auc", "unseen", "micro"].ci95 is None  # perfect: nothing shows by how little
