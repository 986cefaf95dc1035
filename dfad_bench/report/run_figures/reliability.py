"""Reliability: the share of faces named rightly against their confidence, in bins of as many faces each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dfad_bench.report.open_world.calibration_table import reliability_table
from dfad_bench.report.open_world.run_arrays import UNTRAINED
from dfad_bench.report.run_figures.base import (
    MARKS,
    AbsentFigure,
    Figures,
    FigureStyle,
    MadeFigure,
    ReportFacts,
    legend_below,
    look_of,
    panels,
    short_name,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def make(facts: ReportFacts) -> Figures:
    """One panel with a line a run, of the seen test faces."""
    untrained = [label for label in facts.runs if facts.record(label).model.heads == "detection"]
    absent = [AbsentFigure("reliability", UNTRAINED, label) for label in untrained]
    runs = {label: run for label, run in facts.runs.items() if label not in untrained}
    if not runs:
        return absent
    table = reliability_table(runs)
    shown = {
        label: [row for row in table.rows if row["model"] == label and row["group"] == "all seen"] for label in runs
    }
    faces = max(sum(row["n"] for row in rows) for rows in shown.values())
    note = (
        f"{faces:,} seen test faces of a run; bins of as many faces each. Below the"
        " diagonal a model is too sure. Few faces a bin scatter by chance alone; rows of the table by group count"
        " faces and sources."
    )

    def draw(style: FigureStyle) -> Figure:
        return _draw(shown, style)

    alt = "Share named rightly against mean confidence of bins, a line a run, the diagonal dotted."
    return [MadeFigure("reliability", "Reliability of attribution", note, alt, table, draw), *absent]


def _draw(shown: dict[str, list[Any]], style: FigureStyle) -> Figure:
    figure, (axis,) = panels(style, 1, height=0.95)
    axis.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=(0, (1, 2)))
    for number, (label, rows) in enumerate(shown.items()):
        x, y = [row["confidence"] for row in rows], [row["accuracy"] for row in rows]
        look = look_of(number)
        mark = MARKS[number % len(MARKS)]
        axis.plot(x, y, label=short_name(label), marker=mark, markersize=3.5, linewidth=0.8, **look)
    axis.set(xlabel="confidence", ylabel="share named rightly", xlim=(0, 1.01), ylim=(0, 1.01))
    axis.grid()
    legend_below(figure, axis)
    return figure
