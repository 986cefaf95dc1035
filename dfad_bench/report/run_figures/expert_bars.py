"""One expert alone beside both (GazeCLIP's Fig. 9), of runs of one model with and without `--heads`."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from dfad_bench.report.figures.heads import expert_pairs, heads_figure
from dfad_bench.report.paper_table import column_value
from dfad_bench.report.reported import ReportedColumn
from dfad_bench.report.run_figures.base import AbsentFigure, Figures, FigureStyle, MadeFigure, ReportFacts
from dfad_bench.report.table import Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = (
    ReportedColumn("average", "attribution", "acc", heads="attribution"),
    ReportedColumn("average", "attribution", "acc"),
    ReportedColumn("average", "detection", "acc", heads="detection"),
    ReportedColumn("average", "detection", "acc"),
    ReportedColumn("average", "detection", "auc", heads="detection"),
    ReportedColumn("average", "detection", "auc"),
)


def make(facts: ReportFacts) -> Figures:
    """Bars of every model of which one expert alone and both were trained under one protocol."""
    values: dict[tuple[str, str], dict[str, list[float]]] = {}
    for label in facts.runs:
        record, protocol = facts.record(label), facts.protocol(label)
        model = (record.model.display or record.model.name, record.protocol.sha256)
        for place, column in enumerate(_COLUMNS):
            if column.heads == record.model.heads and (value := column_value(column, record, protocol)) is not None:
                values.setdefault(model, {}).setdefault(f"c{place}", []).append(value)
    rows = [_row(name, cells) for (name, _), cells in values.items() if _has_both(cells)]
    if not rows:
        reason = "needs runs of one model and protocol with one expert alone (--heads) and with both"
        return [AbsentFigure("experts", reason)]
    title = "One expert alone and both, unseen generators"
    columns = [Column("row", "Model", "text")]
    columns += [
        Column(f"c{place}", f"{one.task} {one.metric}, {one.heads}", "percent") for place, one in enumerate(_COLUMNS)
    ]
    table = Table(title, tuple(columns), rows, ("Means over seeds; whiskers: standard deviations between them.",))

    def draw(style: FigureStyle) -> Figure:
        return heads_figure(table, _COLUMNS)

    note = f"{len(facts.runs)} runs. Means over seeds of the average over unseen generators; whiskers between seeds."
    return [MadeFigure("experts", title, note, "Bars in pairs: one expert only, both experts.", table, draw)]


def _has_both(cells: Mapping[str, list[float]]) -> bool:
    pairs = expert_pairs(_COLUMNS).values()
    return any(f"c{alone}" in cells and f"c{both}" in cells for alone, both in pairs)


def _row(name: str, cells: Mapping[str, list[float]]) -> dict[str, Any]:
    row: dict[str, Any] = {"row": name, "kind": "measured"}
    row |= {f"c{place}": None for place in range(len(_COLUMNS))}
    row |= {key: fmean(values) for key, values in cells.items()}
    return row | {"sd": {key: stdev(values) for key, values in cells.items() if len(values) > 1}}
