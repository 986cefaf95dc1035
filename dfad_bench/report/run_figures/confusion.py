"""The confusion matrix with unseen rows (BMRL's Fig. 8): of each group, the share named as each seen generator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.core.protocol import Protocol
from dfad_bench.report.run_figures.base import (
    SHADES,
    AbsentFigure,
    Figures,
    FigureStyle,
    MadeFigure,
    ReportFacts,
    about_run,
    group_names,
    new_figure,
    short_name,
)
from dfad_bench.report.run_tables import confusion_table
from dfad_bench.report.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DARK = 0.6  # shares from here on have dark figures: cividis is light above


def make(facts: ReportFacts) -> Figures:
    """A matrix a run."""
    made: list[MadeFigure | AbsentFigure] = []
    for label in facts.runs:
        table, protocol = confusion_table(facts.record(label)), facts.protocol(label)
        order = {group.key: place for place, group in enumerate(protocol.groups)}
        table = replace(table, rows=sorted(table.rows, key=lambda row: order.get(row["group"], len(order))))
        if not table.rows:
            made.append(AbsentFigure("confusion", table.notes[0], label))
            continue
        faces = sum(row["n"] for row in table.rows)
        note = f"{about_run(facts.record(label))}; {faces:,} test faces, each row of one group, % of its faces."
        note += " Below the line: groups the model was not trained on. " + " ".join(table.notes)
        made.append(
            MadeFigure(
                facts.stem_of("confusion", label),
                f"Confusion of generators, {label}",
                note,
                f"Matrix of {len(table.rows)} groups by {len(protocol.seen)} seen generators; shares in the table.",
                table,
                _drawer(table, protocol),
            )
        )
    return made


def _drawer(table: Table, protocol: Protocol) -> Any:
    def draw(style: FigureStyle) -> Figure:
        return _draw(table.rows, protocol, style)

    return draw


def _draw(rows: Any, protocol: Protocol, style: FigureStyle) -> Figure:
    seen = [column.key for column in sorted(protocol.seen, key=lambda group: group.label)]
    names, shares = group_names(protocol), np.array([[row[key] for key in seen] for row in rows])
    wide = len(seen) > 6
    cell = (style.wide_in * 0.66 if wide else style.column_in * 0.55) / len(seen)
    height = max(0.2, min(cell, 0.24)) * len(rows) * style.text_pt / 8 + 1.5
    figure = new_figure(style.wide_in if wide else style.column_in, height)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(seen)), [short_name(names[key], 20) for key in seen], rotation=45, ha="right")
    axes.set_yticks(range(len(rows)), [f"{short_name(names.get(row['group'], row['group']))}" for row in rows])
    axes.set_xlabel("named as")
    axes.set_ylabel("faces of")
    _write_shares(axes, shares, style)
    unseen_from = next((place for place, row in enumerate(rows) if not _is_seen(row, seen)), len(rows))
    if 0 < unseen_from < len(rows):
        axes.axhline(unseen_from - 0.5, color="white", linewidth=3)
        axes.axhline(unseen_from - 0.5, color="black", linewidth=1)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02)
    bar.set_ticks([0, 0.5, 1], labels=["0", "50", "100 %"])
    return figure


def _is_seen(row: Mapping[str, Any], seen: list[str]) -> bool:
    return row["group"] in seen


def _write_shares(axes: Any, shares: np.ndarray, style: FigureStyle) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.005:
            text = f"{100 * share:.0f}"
            colour = "black" if share >= _DARK else "white"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=style.text_pt - 1.5)
