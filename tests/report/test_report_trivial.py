"""Constant answers know the training counts, or say that they do not; nothing is taken for even in silence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.runs import run_facts, write_run
from helpers.toy import toy_predictions, toy_protocol

from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ResultRecord
from dfad_bench.report.leaderboard import board
from dfad_bench.report.trivial import (
    ALWAYS_FAKE,
    MAJORITY,
    NOT_COUNTED,
    NOT_FIXED,
    _reduced_counts,
    planned_scores,
    trivial_scores,
    trivial_scores_of,
)

PROTOCOL = toy_protocol()
FORGED = {"real": 1, "synthetic-gan-a": 20, "synthetic-diffusion-a": 2}  # mostly forged, though evenly spread it is too
REAL = {"real": 30, "synthetic-gan-a": 2, "synthetic-diffusion-a": 2}


def made(folder: Path, *, trained: dict[str, int] | None = None, stated: dict[str, int] | None = None) -> ResultRecord:
    """A record of a run (`trained`: its training split), or of an evaluation (`stated`: what it says of its run)."""
    frame = toy_predictions(PROTOCOL, {group.key: 7 + 5 * place for place, group in enumerate(PROTOCOL.groups)})
    facts = run_facts(PROTOCOL, frame, "0" * 64)
    if trained is not None:
        groups = {f"synthetic/{name}": n for name, n in trained.items()}
        split = {"rows": sum(trained.values()), "content_sha256": "1" * 64, "generators": groups}
        facts["manifest"]["splits"]["train"] = split
    run = {**facts["run"], **({} if stated is None else {"trained_on": stated})}
    return write_run(folder, PROTOCOL, frame, resamples=0, manifest=facts["manifest"], run=run)


def accuracy(record: ResultRecord, *others: ResultRecord) -> float | None:
    scored = trivial_scores_of(record, PROTOCOL, others)[MAJORITY]
    return next(v.value for v in scored.metrics if (v.metric, v.subset) == ("accuracy", "unseen"))


@pytest.mark.parametrize("counts", [FORGED, REAL])
def test_an_evaluation_gets_the_majority_of_its_run(tmp_path: Path, counts: dict[str, int]) -> None:
    run, evaluation = made(tmp_path / "run", trained=counts), made(tmp_path / "other", stated=counts)
    forged = next(counts.n for key, counts in run.groups.items() if "flow" in key)
    real = run.groups["synthetic-outdoor/real"].n
    expected = (real if counts is REAL else forged) / (real + forged)
    assert accuracy(run) == accuracy(evaluation) == pytest.approx(expected)
    lost = made(tmp_path / "lost")  # made before evaluations stated it; the run's own record says it
    assert accuracy(lost, run) == pytest.approx(expected)
    assert accuracy(lost) is None


def test_what_depends_on_the_majority_is_null_with_a_reason_where_counts_are_missing(tmp_path: Path) -> None:
    lost = made(tmp_path / "lost")
    unknown = {(v.metric, v.subset): v for v in trivial_scores_of(lost, PROTOCOL)[MAJORITY].metrics}
    for key in (("accuracy", "unseen"), ("tpr", "unseen"), ("seen_accuracy", "synthetic/real")):
        assert (unknown[key].value, unknown[key].null_reason) == (None, NOT_COUNTED)
        assert (unknown[key].ci95, unknown[key].ci_method, unknown[key].sources) == (None, "none", None)
    assert unknown["seen_accuracy", "seen"].value == pytest.approx(1 / 3)  # whichever class it is
    assert unknown["auc", "unseen"].value == 0.5
    for trained in (FORGED, REAL, {"real": 1, "synthetic-gan-a": 1, "synthetic-diffusion-a": 9}):
        by_group = {f"synthetic/{name}": n for name, n in trained.items()}
        tested = {key: counts.n for key, counts in lost.groups.items()}
        for value in trivial_scores(PROTOCOL, tested, by_group)[MAJORITY].metrics:
            mine = unknown[value.metric, value.subset]
            if value.params == mine.params and value.averaging == mine.averaging and mine.value is not None:
                assert value.value == pytest.approx(mine.value)


def test_the_board_says_why_there_is_a_dash(tmp_path: Path) -> None:
    table = board(PROTOCOL, [made(tmp_path / "lost")])
    majority = next(row for row in table.rows if row["model"] == MAJORITY)
    assert majority["detection_acc"] is None
    assert f"{MAJORITY}: a dash where {NOT_COUNTED}." in table.notes
    whole = board(PROTOCOL, [made(tmp_path / "known", stated=FORGED)])
    assert not any(NOT_COUNTED in note for note in whole.notes)
    assert all(row["detection_acc"] is not None for row in whole.rows)


def value(protocol: Protocol, name: str, metric: str) -> tuple[float | None, str | None]:
    scored = planned_scores(protocol)[name]
    return next((v.value, v.null_reason) for v in scored.metrics if (v.metric, v.subset) == (metric, "unseen"))


def test_counts_that_a_protocol_leaves_open_are_not_taken_for_one() -> None:
    fixed = replace(PROTOCOL, test_per_group=30, train_per_group=10)
    assert value(fixed, ALWAYS_FAKE, "accuracy") == (0.5, None)
    assert value(fixed, MAJORITY, "accuracy") == (0.5, None)
    untold = replace(fixed, train_per_group=None)
    assert value(untold, MAJORITY, "accuracy") == (0.5, None)  # half are real: whichever it is
    assert value(untold, MAJORITY, "tpr") == (None, NOT_COUNTED)
    open_ = replace(fixed, test_per_group=None)
    assert value(open_, ALWAYS_FAKE, "accuracy") == (None, NOT_FIXED)
    assert value(open_, ALWAYS_FAKE, "balanced_accuracy") == (0.5, None)
    assert any(NOT_FIXED in note for note in board(open_, []).notes)


def test_fewer_faces_keep_their_proportions() -> None:
    tested = {"a": 12_000, "b": 18_000, "c": 30_000}
    fewer = _reduced_counts(tested)
    assert sum(fewer.values()) < sum(tested.values())
    assert {key: n * tested["a"] for key, n in fewer.items()} == {key: n * fewer["a"] for key, n in tested.items()}
    assert _reduced_counts({"a": 2, "b": 3}) == {"a": 2, "b": 3}
