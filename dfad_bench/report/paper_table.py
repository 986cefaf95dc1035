"""A table in its paper's layout: measured rows, printed ones in a block of their own, differences where they may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ResultRecord
from dfad_bench.report.best_marks import best_marks
from dfad_bench.report.headline import Key, at_headline
from dfad_bench.report.reported import AVERAGE, COSTS, SEEN, ReportedColumn, ReportedRow, ReportedTable
from dfad_bench.report.table import Column, Table
from dfad_bench.report.table_check import MeasuredRun, unlike_the_paper

_TASKS = {"attribution": "Attribution", "detection": "Detection"}
_ONLY = {"both": "both experts", "attribution": "attribution expert only", "detection": "detection expert only"}
_SYNTHETIC = "Synthetic faces show that the chain works; they say nothing about real generators."

Costs = Mapping[str, Mapping[str, float | None]]  # of a row by name: params_m, flops_g, inference_s


def shown_columns(table: ReportedTable, protocol: Protocol) -> list[ReportedColumn]:
    """The table's columns; under another protocol than its own, a column for each unseen group of that one."""
    if protocol.name == table.protocol:
        return list(table.columns)
    found: list[ReportedColumn] = []
    for column in table.columns:
        if column.group is None:
            found.append(column)
            continue
        alike = [
            replace(column, split=f"{group.dataset}/{group.taxon.display}", group=group.key)
            for group in protocol.unseen
            if group.in_average
        ]
        found += [one for one in alike if one not in found]
    return found


def column_title(column: ReportedColumn, columns: Sequence[ReportedColumn]) -> str:
    """The head of a column: task, test set, metric, and what else tells it from the others."""
    if column.task == "efficiency":
        return COSTS[column.metric]
    words = [] if column.group else [_TASKS[column.task]]
    words += [column.split, column.metric.upper()]
    words += [f"@{column.threshold:g}"] if column.threshold is not None else []
    words += [f"({_ONLY[column.heads]})"] if any(other.heads != column.heads for other in columns) else []
    return " ".join(words)


def column_value(column: ReportedColumn, record: ResultRecord, protocol: Protocol) -> float | None:
    """The number of a record that belongs into a column, a share; None where it has none."""
    threshold = column.threshold or protocol.attribution.headline
    found = at_headline(record.metrics, threshold).get(_key(column))
    return None if found is None else found.value


def _key(column: ReportedColumn) -> Key:
    if column.task == "detection":
        metric = {"acc": "accuracy", "auc": "auc"}[column.metric]
        return "detection", metric, SEEN if column.split == SEEN else "unseen", "micro"
    if column.group:
        return "attribution", "unseen_accuracy", column.group, "none"
    if column.split == SEEN:
        return "attribution", "seen_accuracy", "seen", "macro"
    return "attribution", "unseen_accuracy", "unseen", "macro"


def paper_table(
    table: ReportedTable, runs: Sequence[MeasuredRun], protocol: Protocol, costs: Costs, notes: Sequence[str] = ()
) -> Table:
    """A table as its paper lays it out.

    Args:
        table: rows, columns and printed cells.
        runs: what was measured, the runs of one row one after another.
        protocol: that of the runs.
        costs: parameters, operations and seconds by row.
        notes: more lines below the table.
    """
    columns = shown_columns(table, protocol)
    rows: list[dict[str, Any]] = [_measured_row(group, columns, protocol, costs) for group in _by_row(runs)]
    sections = {0: f"Measured, protocol {protocol.name}"}
    shown = [run.row for run in runs]
    printed = [_printed_row(row, table, columns) for row in table.rows if row in shown]
    unlike = unlike_the_paper(table, runs)
    if table.has_numbers:
        sections[len(rows)] = f"As printed, protocol {table.protocol}" + (" (inferred)" * table.protocol_inferred)
    more = [] if unlike else _differences(rows, printed, columns)
    if more:
        sections[len(rows) + len(printed)] = "Measured minus printed, points"
    heads = (Column("row", "Row", "text"), Column("seeds", "Seeds", "text"))
    kinds = tuple(
        Column(f"c{i}", column_title(c, columns), _kind(c), better="higher" if _kind(c) == "percent" else None)
        for i, c in enumerate(columns)
    )
    lines = [*_about(table, runs, protocol), *notes]
    if unlike and table.has_numbers:
        lines.append(f"No difference to printed values: {'; '.join(unlike)}.")
    blocks = [*rows, *(printed if table.has_numbers else []), *more]
    title = f"{table.paper.split(' (')[0]}, {table.table}: {table.title}"
    competing = [range(len(rows)), range(len(rows), len(rows) + len(printed) * table.has_numbers)]
    marks = best_marks(blocks, kinds, competing)
    return Table(title, (*heads, *kinds), blocks, tuple(lines), sections, marks)


def _by_row(runs: Sequence[MeasuredRun]) -> list[list[MeasuredRun]]:
    groups: dict[int, list[MeasuredRun]] = {}
    for run in runs:
        groups.setdefault(id(run.row), []).append(run)
    return list(groups.values())


def _measured_row(
    group: Sequence[MeasuredRun], columns: Sequence[ReportedColumn], protocol: Protocol, costs: Costs
) -> dict[str, Any]:
    """Means over seeds of each column; `sd` holds their standard deviations where there are several."""
    name = group[0].name
    row: dict[str, Any] = {"row": name, "kind": "measured", "model": group[0].row.model}
    row["seeds"] = ", ".join(dict.fromkeys(str(record.run.seed) for run in group for record in run.records)) or None
    row["sd"] = {}
    for place, column in enumerate(columns):
        if column.task == "efficiency":
            row[f"c{place}"] = costs.get(name, {}).get(column.metric)
            continue
        records = [record for run in group if run.heads == column.heads for record in run.records]
        values = [column_value(column, record, protocol) for record in records]
        known = [value for value in values if value is not None]
        row[f"c{place}"] = fmean(known) if known and len(known) == len(values) else None
        if len(known) == len(values) > 1:
            row["sd"][f"c{place}"] = stdev(known)
    return row


def _printed_row(row: ReportedRow, table: ReportedTable, columns: Sequence[ReportedColumn]) -> dict[str, Any]:
    cells = dict(zip(table.columns, row.cells, strict=True))
    found: dict[str, Any] = {"row": row.printed, "kind": "printed", "model": row.model}
    for place, column in enumerate(columns):
        value = cells.get(column)
        found[f"c{place}"] = value if value is None or _kind(column) == "number" else value / 100
    if row.variant:
        found["variant"] = row.variant
    return found


def _differences(
    rows: Sequence[Mapping[str, Any]], printed: Sequence[Mapping[str, Any]], columns: Sequence[ReportedColumn]
) -> list[dict[str, Any]]:
    """Measured minus printed of each row that has both; rows stand in the same order."""
    found = []
    for mine, theirs in zip(rows, printed, strict=False):
        pairs = {f"c{place}": (mine[f"c{place}"], theirs[f"c{place}"]) for place in range(len(columns))}
        values = {key: None if a is None or b is None else a - b for key, (a, b) in pairs.items()}
        if any(value is not None for value in values.values()):
            found.append({"row": mine["row"], "kind": "difference", "model": mine["model"], **values})
    return found


def _kind(column: ReportedColumn) -> Any:
    return "percent" if column.metric in ("acc", "auc") else "number"


def _about(table: ReportedTable, runs: Sequence[MeasuredRun], protocol: Protocol) -> list[str]:
    """Lines about what was measured and what was not."""
    notes = [_SYNTHETIC] if protocol.synthetic else []
    if protocol.name != table.protocol and any(column.group for column in table.columns):
        notes.append(f"Columns are the unseen groups of {protocol.name}; the table's are in the printed paper only.")
    if len({record.run.seed for run in runs for record in run.records}) > 1:
        notes.append("Means over seeds; `sd` in JSON is between seeds, n - 1.")
    if any(column.split == AVERAGE for column in table.columns):
        notes.append("Averages are means over unseen groups; detection is pooled over their faces.")
    sets = {record.manifest.content_sha256[:8] for run in runs for record in run.records}
    notes += [f"Faces {', '.join(sorted(sets))}."] if sets else []
    partial = [run.name for run in runs if any(record.status != "complete" for record in run.records)]
    notes += [f"Partial runs: {'; '.join(dict.fromkeys(partial))}."] if partial else []
    absent: dict[str, list[str]] = {}
    for run in runs:
        if run.note:
            absent.setdefault(run.note, []).append(run.name)
    notes += [f"Not measured: {', '.join(dict.fromkeys(names))}: {why}." for why, names in absent.items()]
    return [*notes, *table.notes]
