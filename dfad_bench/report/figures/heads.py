"""One expert alone beside both: GazeCLIP's Fig. 9, bars of each model for attribution and for detection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfad_bench.report.figures import style
from dfad_bench.report.reported import ReportedColumn
from dfad_bench.report.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {False: "#0072B2", True: "#E69F00"}  # one expert, both
_HATCHES = {False: "", True: "////"}
_HEIGHT_IN, _LEFT_IN, _GAP_IN, _NAMES_IN = 1.6, 0.45, 0.25, 0.9  # of a panel; before the first; between; of model names
_BAR = 0.38  # in units of the distance between models

Pair = tuple[int, int]  # columns of one metric: of one expert alone, of both


def expert_pairs(columns: Sequence[ReportedColumn]) -> dict[tuple[str, str], Pair]:
    """By task and metric, the places of the columns of one expert alone and of both, where there are both columns."""
    places = {(column.task, column.metric, column.heads): place for place, column in enumerate(columns)}
    found: dict[tuple[str, str], Pair] = {}
    for (task, metric, heads), alone in places.items():
        if heads == task and (task, metric, "both") in places:
            found[task, metric] = (alone, places[task, metric, "both"])
    return found


def draw_heads(table: Table, columns: Sequence[ReportedColumn], out: Path, stem: str) -> list[Path]:
    """Write the measured rows of a table as bars; whiskers are standard deviations between seeds.

    Args:
        table: of `paper_table`.
        columns: those of the table, as `paper_table.shown_columns` gives them.
        out: folder.
        stem: name of the files without suffix.

    Returns:
        The files; none where nothing is measured.
    """
    pairs = expert_pairs(columns)
    rows = [row for row in table.rows if row["kind"] == "measured" and _has_numbers(row, pairs)]
    if not (rows and pairs):
        return []
    with style.drawing():
        return style.save(heads_figure(table, columns), out, stem, table.title)


def _has_numbers(row: Mapping[str, Any], pairs: Mapping[tuple[str, str], Pair]) -> bool:
    return any(row[f"c{place}"] is not None for pair in pairs.values() for place in pair)


def heads_figure(table: Table, columns: Sequence[ReportedColumn]) -> Figure:
    """The bars of the measured rows of a table; arguments as of `draw_heads`."""
    from matplotlib.patches import Patch

    pairs = expert_pairs(columns)
    rows = [row for row in table.rows if row["kind"] == "measured" and _has_numbers(row, pairs)]
    heading = style.wrapped(table.title, style.WIDE_IN - 0.1, style.TITLE_PT)
    note = style.wrapped(" ".join(table.notes), style.WIDE_IN - 0.1)
    top = style.heading_height(heading) + 0.2
    handles = [
        Patch(facecolor=_COLOURS[both], hatch=_HATCHES[both], edgecolor="black", linewidth=0.4, label=label)
        for both, label in ((False, "this expert only"), (True, "both experts"))
    ]
    figure = style.figure_between(heading, top + _HEIGHT_IN + _NAMES_IN, [handles], note, style.WIDE_IN)
    width = (style.WIDE_IN - _LEFT_IN - style.MARGIN_IN - _GAP_IN * (len(pairs) - 1)) / len(pairs)
    for number, ((task, metric), pair) in enumerate(pairs.items()):
        axes = style.axes_at(figure, _LEFT_IN + number * (width + _GAP_IN), top, width, _HEIGHT_IN)
        _bars(axes, rows, pair)
        axes.set_title(f"{task}, {metric.upper()} of unseen generators")
        if number == 0:
            axes.set_ylabel("%")
    return figure


def _bars(axes: Axes, rows: Sequence[Mapping[str, Any]], pair: Pair) -> None:
    for both, place in enumerate(pair):
        known = [(at, row) for at, row in enumerate(rows) if row[f"c{place}"] is not None]
        axes.bar(
            [at + (both - 0.5) * _BAR for at, _ in known],
            [100 * row[f"c{place}"] for _, row in known],
            _BAR,
            yerr=[100 * row["sd"].get(f"c{place}", nan) for _, row in known],
            error_kw={"elinewidth": 0.6, "capsize": 1.5, "capthick": 0.6},
            color=_COLOURS[bool(both)],
            hatch=_HATCHES[bool(both)],
            edgecolor="black",
            linewidth=0.4,
        )
    names = [style.wrapped_name(style.legend_name(str(row["row"])), 0.8) for row in rows]
    axes.set_xticks(range(len(rows)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set(xlim=(-0.6, len(rows) - 0.4), ylim=(0, 100))
    axes.grid(axis="y", alpha=0.3, linewidth=0.4)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
