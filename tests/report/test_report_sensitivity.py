"""Numbers of one run under several conditions: on common faces, paired by source."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.toy import toy_predictions, toy_protocol

from dfad_bench.core.errors import IntegrityError
from dfad_bench.report.score import score
from dfad_bench.report.sensitivity import KEYS, Condition, Sensitivity, compare_conditions, sensitivity_table

PROTOCOL = toy_protocol()


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return toy_predictions(PROTOCOL, 120)


def better(frame: pd.DataFrame, pull: float, seed: int = 0) -> pd.DataFrame:
    """The same faces, with answers pulled to (or away from) their detection labels."""
    rng = np.random.default_rng(seed)
    logit = np.log(frame["p_fake"] / (1 - frame["p_fake"])) + pull * (2 * frame["detection_label"] - 1)
    return frame.assign(p_fake=1 / (1 + np.exp(-logit - 0.01 * rng.normal(size=len(frame)))))


def compared(frame: pd.DataFrame, **others: pd.DataFrame) -> Sensitivity:
    conditions = [Condition(name, "crops", other) for name, other in others.items()]
    return compare_conditions(Condition("learnt", "crops", frame), conditions, PROTOCOL, resamples=300)


def rows(found: Sensitivity, condition: str) -> dict[tuple[str, str], dict]:
    return {(row["metric"], row["subset"]): row for row in found.rows if row["condition"] == condition}


def test_equal_predictions_hold_in_every_number(frame: pd.DataFrame) -> None:
    found = compared(frame, same=frame.sample(frac=1, random_state=1))
    assert {row["verdict"] for row in found.rows} == {None, "holds"}
    assert {row["difference"] for row in found.rows} == {None, 0.0}
    assert len(found.rows) == 2 * len(KEYS)


def test_worse_drops_and_better_rises(frame: pd.DataFrame) -> None:
    found = compared(frame, worse=better(frame, -2), better=better(frame, 2))
    for condition, word, sign in (("worse", "drops", -1), ("better", "rises", 1)):
        for where in (("auc", "unseen"), ("auc", "seen")):
            row = rows(found, condition)[where]
            assert row["verdict"] == word
            assert sign * row["difference_low"] > 0 or sign * row["difference_high"] > 0
        assert rows(found, condition)["seen_accuracy", "seen"]["verdict"] == "holds"  # attribution is as it was


def test_a_loss_that_cannot_be_ruled_out_is_no_survival(frame: pd.DataFrame) -> None:
    few = frame[frame["source_key"].isin([f"source{k}" for k in range(24)])]
    other = few.assign(p_fake=np.random.default_rng(3).permutation(few["p_fake"].to_numpy()))
    row = rows(compared(few, shuffled=other), "shuffled")["auc", "unseen"]
    assert row["verdict"] in ("undecided", "drops")
    assert row["difference_low"] < -0.05


def test_faces_a_condition_lost_are_left_out_of_all_and_counted(frame: pd.DataFrame) -> None:
    """Losing the hard faces of one condition must not look like a rise."""
    hard = (frame["p_fake"] > 0.5) != (frame["detection_label"] == 1)
    easy = frame[~hard]
    found = compared(frame, lossy=easy, whole=frame)
    assert found.faces == len(easy)
    row = rows(found, "lossy")["auc", "unseen"]
    assert (row["difference"], row["verdict"]) == (0.0, "holds")
    alone = score(easy, PROTOCOL, resamples=0).metrics
    area = next(v.value for v in alone if (v.metric, v.subset, v.averaging) == ("auc", "unseen", "micro"))
    assert rows(found, "learnt")["auc", "unseen"]["value"] == pytest.approx(area, abs=1e-12)
    assert [about["lost"] for about in found.counts] == [0, int(hard.sum()), 0]
    text = sensitivity_table(found, "title").render("markdown")
    assert f"lossy: {int(hard.sum())} of the faces the run was tested on are lost, 0 further" in text


def test_faces_that_only_a_condition_has_are_counted(frame: pd.DataFrame) -> None:
    found = compared(frame.iloc[5:], more=frame)
    assert [about["further"] for about in found.counts] == [0, 5]
    assert found.faces == len(frame) - 5


def test_no_common_face_and_other_labels_are_refused(frame: pd.DataFrame) -> None:
    with pytest.raises(IntegrityError, match="no face is in all of learnt, other"):
        compared(frame.iloc[:50], other=frame.iloc[50:])
    with pytest.raises(IntegrityError, match="^other: faces have another source_key than in learnt"):
        compared(frame, other=frame.assign(source_key="one"))


def test_an_expert_that_was_not_trained_says_so(frame: pd.DataFrame) -> None:
    learnt, other = (Condition(name, "crops", frame) for name in ("learnt", "other"))
    found = compare_conditions(learnt, [other], PROTOCOL, heads="detection", resamples=50)
    assert rows(found, "other")["seen_accuracy", "seen"]["verdict"] == "the attribution expert was not trained"
    assert rows(found, "other")["auc", "seen"]["verdict"] == "holds"
