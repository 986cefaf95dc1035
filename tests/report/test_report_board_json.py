"""Boards as JSON and CSV: of the published form, and with all it takes to rank the rows again."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from helpers.boards import fewer_faces, record
from helpers.toy import toy_protocol

from dfad_bench.core.escape import json_text
from dfad_bench.core.json_schema import schema
from dfad_bench.core.protocol import Protocol, load_protocol
from dfad_bench.core.record import ResultRecord, plain
from dfad_bench.report.board_checks import Check
from dfad_bench.report.board_json import board_values
from dfad_bench.report.leaderboard import board
from dfad_bench.report.reported import reported_scores
from dfad_bench.report.table import Table

FORM = jsonschema.Draft202012Validator(schema("board"))


def parsed(table: Table) -> dict[str, Any]:
    """A board as a program of others reads it; of the published form."""
    value: dict[str, Any] = json.loads(json_text(board_values(table)))
    assert [f"{error.json_path}: {error.message}"[:300] for error in FORM.iter_errors(value)] == []
    return value


def runs(protocol: Protocol) -> list[ResultRecord]:
    found = [record(protocol, name, seed=seed, draw=10 * n + seed) for n, name in enumerate("abc") for seed in (0, 1)]
    half = record(protocol, "half", draw=90, status="partial")
    facts = {"run.config": {"views": {"gaze": {"estimator": "geometric"}}, "recipe": {"name": "mine", "version": 1}}}
    odd = record(
        protocol, "odd", draw=91, run={**plain(half.run), "config": facts["run.config"], "config_sha256": "1" * 64}
    )
    return [*found, half, odd]


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a section as their numbers rank them: an independent count of who is better."""

    def worse_than(row: dict[str, Any]) -> int:
        def key(one: dict[str, Any]) -> tuple[float, float]:
            return one["oscr"], one["detection_auc"]

        return sum(key(other) > key(row) for other in rows)

    return sorted(rows, key=worse_than)


@pytest.mark.parametrize("every_seed", [False, True])
def test_the_order_follows_from_the_numbers(every_seed: bool) -> None:
    protocol = toy_protocol()
    value = parsed(board(protocol, runs(protocol), every_seed=every_seed))
    begins = [section["row"] for section in value["sections"]]
    assert begins[0] == 0
    assert begins == sorted(begins)
    for begin, end in zip(begins, [*begins[1:], len(value["rows"])], strict=True):
        ranked = [row for row in value["rows"][begin:end] if row.get("rank") is not None]
        assert ranked == in_order(ranked)
        assert [row["rank"] for row in ranked] == list(range(1, len(ranked) + 1))
    kinds = [row["kind"] for row in value["rows"]]
    assert kinds.index("measured") > max(place for place, kind in enumerate(kinds) if kind == "trivial")
    assert next(row for row in value["rows"] if row["model"] == "Half").get("rank") is None


def test_csv_has_the_columns_and_the_rows_of_json() -> None:
    protocol = toy_protocol()
    table = board(protocol, runs(protocol), per_group=True)
    value = parsed(table)
    rows = list(csv.DictReader(io.StringIO(table.render("csv"))))
    assert list(rows[0]) == [column["key"] for column in value["columns"]]
    assert len(rows) == len(value["rows"])
    for mine, theirs in zip(rows, value["rows"], strict=True):
        for column in value["columns"]:
            stated = theirs.get(column["key"])
            text = mine[column["key"]]
            if column["kind"] in ("percent", "number", "count"):
                assert (float(text) if text else None) == stated  # the same number to the last bit
            elif isinstance(stated, str):
                assert text == stated
    groups = [key for key in rows[0] if key.startswith("unseen_acc:")]
    assert groups == [f"unseen_acc:{group.key}" for group in protocol.unseen]
    assert "oscr" in rows[0]


def test_the_same_runs_in_another_order_give_the_same_bytes() -> None:
    protocol = toy_protocol()
    found = runs(protocol)
    for format in ("csv", "json", "markdown"):
        first, second = (board(protocol, some, per_group=True).render(format) for some in (found, found[::-1]))
        assert first == second


def test_every_kind_of_board_is_of_the_form() -> None:
    protocol = fewer_faces(load_protocol("gazeclip-df40"))
    one = record(protocol, "xception")
    doubtful = {one.record_id: Check("contradicted", "oscr is 0.1, the record says 0.9")}
    value = parsed(board(protocol, [one], reported_scores("gazeclip-df40"), checks=doubtful, by_group=True))
    assert {row["kind"] for row in value["rows"]} == {"trivial", "measured", "reported"}
    (struck,) = value["struck"]
    assert value["rows"][struck]["why_not"].startswith("oscr is 0.1")
    parsed(board(protocol, [], columns=["eer", "fpr95"]))
    nothing = parsed(board(replace(toy_protocol(), name="other"), []))
    assert nothing["sections"][0]["heading"] == "Nothing measured yet"


@pytest.mark.parametrize(
    "change",
    [{"form": "2"}, {"rows": [{"model": "x"}]}, {"struck": [-1]}, {"more": 1}, {"columns": [{"key": "a"}]}],
)
def test_other_forms_are_refused(change: dict[str, Any]) -> None:
    protocol = toy_protocol()
    value = parsed(board(protocol, [record(protocol)]))
    assert not FORM.is_valid({**value, **change})
    assert not FORM.is_valid({**value, "rows": [{**value["rows"][0], "oscr": "high"}]})
