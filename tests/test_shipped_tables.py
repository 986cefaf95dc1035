"""Shipped tables of papers: every name refers to something, every printed average recomputes or is flagged."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path

import pytest
from helpers.published import PUBLISHED, needs_published

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.protocol import load_protocol, protocol_names
from dfad_bench.core.registry import model_names
from dfad_bench.core.resources import shipped
from dfad_bench.core.strict import read_yaml
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.report.reported import (
    ReportedColumn,
    ReportedRow,
    ReportedScore,
    ReportedTable,
    read_table,
    reported_scores,
    reported_tables,
)

TWO_PAPERS = ("gazeclip-", "bmrl-")  # whose tables are all here, compared with a second transcription


def averages_in(table: ReportedTable) -> list[tuple[str, str | None, str, float | None, float, float]]:
    """Printed averages with cells behind them, and the means of those, read off the file itself."""
    raw = read_yaml(shipped("leaderboards") / "reported" / f"{table.name}.yaml")
    found = []
    for row in raw["rows"]:
        for place, column in enumerate(raw["columns"]):
            what = [column.get(key) for key in ("task", "metric", "threshold")]
            cells = [
                value
                for other, value in zip(raw["columns"], row["cells"], strict=True)
                if other.get("group") and [other.get(key) for key in ("task", "metric", "threshold")] == what
                if value is not None
            ]
            if column["split"] == "average" and row["cells"][place] is not None and cells:
                mean = sum(cells) / len(cells)
                key = (row["printed"], row.get("variant"), column["metric"], column.get("threshold"))
                found.append((*key, row["cells"][place], mean))
    return found


@pytest.mark.parametrize("table", reported_tables(), ids=lambda table: table.name)
def test_every_printed_average_is_recomputed(table: ReportedTable) -> None:
    averages = list(table.averages())
    ours = [
        (a.row.printed, a.row.variant, a.column.metric, a.column.threshold, a.printed, a.recomputed) for a in averages
    ]
    theirs = averages_in(table)
    assert [row[:5] for row in ours] == [row[:5] for row in theirs]
    assert [row[5] for row in ours] == pytest.approx([row[5] for row in theirs])


def test_of_the_two_papers_only_the_known_averages_do_not_recompute() -> None:
    off = {
        (table.name, a.row.model, a.column.threshold, a.printed, round(a.recomputed, 2))
        for table in reported_tables()
        for a in table.averages()
        if table.name.startswith(TWO_PAPERS) and not a.agrees
    }
    assert off == {
        ("gazeclip-table-02", "xception", 0.9, 64.02, 63.46),
        ("gazeclip-table-02", "repdfd", 0.9, 54.28, 54.34),
        ("bmrl-table-01", "dna_det", 0.9, 32.63, 37.63),
        ("bmrl-table-01", "cpl", 0.7, 26.68, 24.44),
        ("bmrl-table-03", "carzero", 0.7, 6.20, 5.58),
        ("bmrl-table-03", "carzero", 0.9, 11.72, 10.59),
    }


@pytest.mark.parametrize("table", reported_tables(), ids=lambda table: table.name)
def test_averages_recompute_or_are_flagged(table: ReportedTable) -> None:
    off = {a.row.printed: f"{a.recomputed:.2f}" for a in table.averages() if not a.agrees}
    flagged = {row.printed: row.mismatch for row in table.rows if row.mismatch}
    assert flagged.keys() == off.keys()
    assert all(off[name] in text for name, text in flagged.items())


@pytest.mark.parametrize("table", reported_tables(), ids=lambda table: table.name)
def test_reported_table_refers_to_things_that_exist(table: ReportedTable) -> None:
    protocol = load_protocol(table.protocol)
    counted = [group.key for group in protocol.unseen if group.in_average]
    columns = list(dict.fromkeys(column.group for column in table.columns if column.group))
    assert not columns or columns == counted, "columns in the order of the protocol's unseen groups"
    if table.name.startswith(TWO_PAPERS):
        assert {row.model for row in table.rows} <= set(model_names())
    for row in table.rows:
        for column, value in zip(table.columns, row.cells, strict=True):
            assert value is None or 0 <= value <= (100 if column.metric in ("acc", "auc") else 1000)
            if column.group:
                assert taxonomy()[column.split].key == column.group.split("/")[1]


def test_a_system_has_one_name_in_all_tables_and_no_name_is_a_slip() -> None:
    """A printed system is the same model everywhere; a model that is not registered is not nearly one that is."""
    names: dict[str, set[str]] = {}
    for table in reported_tables():
        for row in table.rows:
            system = re.sub(r"\[.*?\]|[^a-z0-9]", "", row.printed.lower())
            names.setdefault(system, set()).add(row.model)
            assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", row.model)
            if row.model not in model_names():
                near = get_close_matches(row.model, model_names(), cutoff=0.85)
                assert not near, f"{table.name}: {row.model!r} is not registered; {near} is"
    anonymous = ("", "ours")  # what papers call their own system
    assert {name: models for name, models in names.items() if len(models) > 1 and name not in anonymous} == {}


def scores_of(name: str) -> list[ReportedScore]:
    (table,) = [table for table in reported_tables() if table.name == name]
    return list(table.scores())


@pytest.mark.parametrize("name", protocol_names())
def test_scores_of_a_protocol_are_those_of_its_main_tables(name: str) -> None:
    """A row of each main table of the protocol, once a threshold; ablations are left out."""
    main = [table for table in reported_tables() if table.protocol == name and table.is_main]
    assert reported_scores(name) == [score for table in main for score in scores_of(table.name)]
    for table in main:
        thresholds = {column.threshold for column in table.columns} - {None}
        assert len(scores_of(table.name)) == len(table.rows) * len(thresholds)


def test_headline_of_gazeclip() -> None:
    (row,) = [score for score in scores_of("gazeclip-table-02") if score.model == "gazeclip"]
    assert (row.unseen_acc, row.unseen_acc_printed) == (pytest.approx(0.80664), pytest.approx(0.8066))
    assert (row.detection_acc, row.detection_auc, row.seen_acc) == (pytest.approx(0.898), pytest.approx(0.7735), None)
    assert row.groups["ffhq/real"] == pytest.approx(0.0512)
    assert len(scores_of("gazeclip-table-02")) == 14  # rows of Table II
    assert {score.table for score in scores_of("gazeclip-table-02")} <= {
        s.table for s in reported_scores("gazeclip-df40")
    }


def test_mismatch_travels_with_the_score() -> None:
    (row,) = [score for score in scores_of("gazeclip-table-02") if score.model == "xception"]
    assert (row.unseen_acc, row.unseen_acc_printed) == (pytest.approx(0.63464), pytest.approx(0.6402))
    assert "printed 64.02, mean of its 10 cells 63.46" in str(row.note)


def test_a_score_a_threshold_and_summaries_without_cells() -> None:
    assert {score.threshold for score in scores_of("bmrl-table-01")} == {0.7, 0.9}
    (table,) = [t for t in reported_tables() if t.name == "bmrl-table-07"]
    (row,) = [score for score in table.scores() if score.model == "bmrl"]
    assert not table.is_main
    assert row.groups == {}
    assert row.unseen_acc == row.unseen_acc_printed


def test_table_whose_rows_do_not_fit_is_refused(tmp_path: Path) -> None:
    column, row = ReportedColumn("FFHQ", "attribution", "acc", 0.9), ReportedRow("clip", "CLIP", (1.0,))
    table = ReportedTable("t", "p", "Table", "t", "gazeclip-df40", (column,), (row,))
    with pytest.raises(ValueError, match="row 'CLIP' has 2 cells for 1 columns"):
        replace(table, rows=(replace(row, cells=(1.0, 2.0)),))
    with pytest.raises(ValueError, match="rows listed twice"):
        replace(table, rows=(row, row))
    path = tmp_path / "other.yaml"
    path.write_text("name: t\npaper: p\ntable: T\ntitle: t\nprotocol: x\ncolumns: []\nrows: []\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="name 't' must equal the file's name"):
        read_table(path)


OURS = {"dna-det": "dna_det", "de-fake": "de_fake", "forensics-adapter": "forensics_adapter", "lin-et-al": "repdfd"}
Cell = tuple[str, str, str, str, str, str | None]


def printed_cells(path: Path) -> dict[tuple[Cell, str], float | None]:
    """(model, printed name, task, split, metric, threshold) and variant to value, from a transcription."""
    found: dict[tuple[Cell, str], float | None] = {}
    for row in csv.DictReader(path.open(encoding="utf-8")):
        variant = "; ".join(part for part in row["note"].split("; ") if part and part != "printed '-'")
        model = OURS.get(row["model"], row["model"])
        at = row["threshold"] or None
        cell = (model, row["model_as_printed"], row["subtask"], row["split"], row["metric"], at)
        assert (cell, variant) not in found
        found[cell, variant] = float(row["value"]) if row["value"] else None
    return found


@cache
def transcriptions() -> list[Path]:
    return [path for path in sorted(PUBLISHED.glob("*_table*.csv")) if not path.name.startswith("dataset_")]


@needs_published
@pytest.mark.parametrize("table", reported_tables(), ids=lambda table: table.name)
def test_cells_equal_the_transcription(table: ReportedTable) -> None:
    path = PUBLISHED / f"{table.name.replace('-table-', '_table')}.csv"
    if not table.has_numbers or (not table.name.startswith(TWO_PAPERS) and not path.is_file()):
        pytest.skip(f"no second transcription of {table.name}")
    ours = {}
    for row in table.rows:
        for column, value in zip(table.columns, row.cells, strict=True):
            at = None if column.threshold is None else str(column.threshold)
            cell = (row.model, row.printed, column.task, column.split, column.metric, at)
            ours[cell, row.variant or ""] = value
    assert ours == printed_cells(path)


@needs_published
def test_no_published_table_is_missing() -> None:
    with_cells = {path.stem.replace("_table", "-table-") for path in transcriptions() if printed_cells(path)}
    assert with_cells <= {table.name for table in reported_tables()}
    printed = {table.name for table in reported_tables() if table.has_numbers}
    assert with_cells >= {name for name in printed if name.startswith(TWO_PAPERS)}


def test_costs_for_the_profiler_are_those_of_table_seven() -> None:
    path = shipped("leaderboards") / "reported" / "efficiency.yaml"
    rows = read_yaml(path)["rows"]
    (table,) = [t for t in reported_tables() if t.name == "gazeclip-table-07"]
    metrics = {"params_m": "params_m", "flops_g": "flops_g", "inference_s": "seconds"}
    compared = 0
    for row in table.rows:
        for column, value in zip(table.columns, row.cells, strict=True):
            if column.metric in metrics and row.model in rows:
                assert rows[row.model].get(metrics[column.metric]) == value
                compared += 1
    assert compared >= 36
