"""The tables of one run say what its record says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.runs import write_run
from helpers.toy import toy_predictions, toy_protocol

from dfad_bench.core.errors import IntegrityError
from dfad_bench.core.record import ResultRecord
from dfad_bench.report.run_tables import TABLES

PROTOCOL = toy_protocol()


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> ResultRecord:
    frame = toy_predictions(PROTOCOL, {g.key: 12 + 5 * i for i, g in enumerate(PROTOCOL.groups)})
    return write_run(tmp_path_factory.mktemp("tables") / "run", PROTOCOL, frame, resamples=20)


def test_every_number_is_a_row(record: ResultRecord) -> None:
    table = TABLES["metrics"](record)
    assert len(table.rows) == len(record.metrics)
    for row, value in zip(table.rows, record.metrics, strict=True):
        assert [row[key] for key in ("task", "metric", "subset", "averaging", "value", "n", "null_reason")] == [
            value.task, value.metric, value.subset, value.averaging, value.value, value.n, value.null_reason,
        ]  # fmt: skip
        assert (row["low"], row["high"]) == (value.ci95 or (None, None))
        assert row["threshold"] == value.params.get("threshold")


def test_groups_are_shares_of_their_counts(record: ResultRecord) -> None:
    table = TABLES["groups"](record)
    assert [row["group"] for row in table.rows] == list(record.groups)
    for row, counts in zip(table.rows, record.groups.values(), strict=True):
        assert (row["n"], row["seen"]) == (counts.n, "yes" if counts.seen else "no")
        assert row["correct"] == (None if counts.correct is None else pytest.approx(counts.correct / counts.n))
        assert row["below"] == pytest.approx(counts.below["0.9"] / counts.n)
        assert row["detected"] == pytest.approx((counts.tp + counts.tn) / counts.n)
        areas = [v.value for v in record.metrics if (v.metric, v.subset) == ("auc", row["group"])]
        assert row["auc"] == (areas[0] if areas else None)
    assert "2 real, 3 forged groups" in table.notes[0]
    assert "Below 0.9" in [column.title for column in table.columns]


def test_an_expert_that_was_not_trained_has_no_shares(tmp_path: Path, record: ResultRecord) -> None:
    frame = toy_predictions(PROTOCOL, 12)
    for heads, empty in (("attribution", ("detected", "auc")), ("detection", ("correct", "below"))):
        model = {"name": "x", "registry_sha256": "0" * 64, "params_total": 1, "params_trainable": 1, "heads": heads}
        model |= {"checkpoint_sha256": None, "init": {"kind": "random"}}
        half = write_run(tmp_path / heads, PROTOCOL, frame, resamples=0, model=model)
        rows = TABLES["groups"](half).rows
        assert {row[key] for row in rows for key in empty} == {None}
        full = {"correct", "below", "detected", "auc"} - set(empty)
        assert all(any(row[key] is not None for row in rows) for key in full)
    assert TABLES["sweep"](half).rows == []
    assert TABLES["confusion"](half).rows == []
    assert TABLES["confusion"](half).notes[0] == "no attribution expert"


def test_the_sweep_and_the_confusion_matrix_are_the_records(record: ResultRecord) -> None:
    swept = TABLES["sweep"](record).rows
    assert [row["threshold"] for row in swept] == list(record.sweep.thresholds)
    for key in ("unseen_accuracy", "seen_kept", "seen_right"):
        assert [row[key] for row in swept] == list(getattr(record.sweep, key))
    table = TABLES["confusion"](record)
    seen = sorted(PROTOCOL.seen, key=lambda group: group.label)
    assert [column.key for column in table.columns[2:]] == [group.key for group in seen]
    assert {(column.kind, column.digits) for column in table.columns[2:]} == {("percent", 1)}
    for row in table.rows:
        counts = record.groups[row["group"]]
        assert [row[group.key] for group in seen] == pytest.approx([n / counts.n for n in counts.named])
    assert table.notes[0].startswith("Most probable class")
    assert [row["group"] for row in table.rows] == [*(g.key for g in PROTOCOL.seen), *(g.key for g in PROTOCOL.unseen)]
    assert table.sections == {0: "Seen", len(PROTOCOL.seen): "Unseen, taken for"}


def test_what_a_reader_must_know_is_below_every_table(record: ResultRecord) -> None:
    partial = replace(record, status="partial", run=replace(record.run, stopped="interrupted"))
    deviating = replace(partial, protocol=replace(record.protocol, deviations=("fewer faces",)))
    for make in TABLES.values():
        assert make(deviating).notes[-2:] == ("partial: interrupted", "fewer faces")
        assert "partial" not in " ".join(make(record).notes)
        assert make(record).title.startswith("Toy, seed 0, toy: ")


def test_a_confusion_of_other_classes_than_the_protocols_is_refused(record: ResultRecord) -> None:
    first = next(iter(record.groups))
    groups = {**record.groups, first: replace(record.groups[first], named=(1, 2))}
    with pytest.raises(IntegrityError, match=f"record: {first} is named as 2 classes, not as 3"):
        TABLES["confusion"](replace(record, groups=groups))


def test_numbers_of_few_sources_say_how_many_there_are(tmp_path: Path) -> None:
    frame = toy_predictions(PROTOCOL, 12)
    alone = frame["group"] == PROTOCOL.unseen[0].key
    record = write_run(
        tmp_path, PROTOCOL, frame.assign(source_key=frame["source_key"].mask(alone, "one")), resamples=20
    )
    table = TABLES["metrics"](record)
    row = next(
        r for r in table.rows if (r["metric"], r["averaging"], r["threshold"]) == ("unseen_accuracy", "macro", 0.9)
    )
    assert (row["low"], row["ci_reason"]) == (None, "1 sources in a group, 2 are needed")
    assert table.columns[-1].title == "No interval"
    assert all((value.ci95 is None) or (value.ci_reason is None) for value in record.metrics)
