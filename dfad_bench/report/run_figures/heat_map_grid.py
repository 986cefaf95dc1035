"""Where models look: heat-maps of runs by generators (GazeCLIP's Fig. 8, BMRL's Fig. 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.core.protocol import Protocol
from dfad_bench.report.run_figures.base import (
    AbsentFigure,
    Figures,
    FigureStyle,
    HeatCell,
    MadeFigure,
    ReportFacts,
    RunHeat,
    group_names,
    new_figure,
    short_name,
)
from dfad_bench.report.table import Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 9
_WARM = "inferno"  # lightness rises with the value
_TITLE_LETTERS = 13  # of a line above a column
_CELLS = 8  # a side of the numbers in the table


def make(facts: ReportFacts) -> Figures:
    """One grid: a row a run, a column a group; faces under the maps where they may be shown."""
    found = {label: facts.heat(label) for label in facts.runs}
    absent = [AbsentFigure("heat-maps", heat.reason, label) for label, heat in found.items() if not heat.cells]
    shown = {label: heat for label, heat in found.items() if heat.cells}
    if not shown:
        return absent
    first = next(iter(shown))
    protocol = facts.protocol(first)
    present = {key for heat in shown.values() for key in heat.cells}
    keys = [group.key for group in protocol.groups if group.key in present]
    with_faces = any(cell.face is not None for heat in shown.values() for cell in heat.cells.values())
    methods = "; ".join(f"{label}: {heat.title}" for label, heat in shown.items())
    faces = max(cell.n for heat in shown.values() for cell in heat.cells.values())
    note = (
        f"{methods}. Mean over up to {faces} test faces of a group, of the answer each face was given; each row on one"
        " scale, so that rows cannot be compared in brightness. A map shows what a model used, not what is forged."
    )
    note += (
        " First of each pair: one face, and its own map." if with_faces else f" Faces are not shown: {facts.no_pixels}."
    )

    def draw(style: FigureStyle) -> Figure:
        return _draw(shown, keys, protocol, style)

    alt = f"{len(shown)} rows of models by {len(keys)} groups; brighter cells weigh more. Numbers in the table."
    table = _table(shown, keys)
    return [MadeFigure("heat-maps", "Where models look", note, alt, table, draw), *absent]


def _table(shown: Mapping[str, RunHeat], keys: Sequence[str]) -> Table:
    """Mean maps as numbers, eight cells a side."""
    rows: list[Mapping[str, Any]] = []
    for label, heat in shown.items():
        for key in keys:
            if (cell := heat.cells.get(key)) is None:
                continue
            for (y, x), value in np.ndenumerate(_coarse_cells(cell.mean)):
                rows.append({"run": label, "group": key, "n": cell.n, "row": y, "column": x, "value": float(value)})
    columns = (
        Column("run", "Run", "text"), Column("group", "Group", "text"), Column("n", "Faces", "count"),
        Column("row", "Row", "count"), Column("column", "Column", "count"), Column("value", "Value", "number", 4),
    )  # fmt: skip
    return Table("Mean heat-maps", columns, rows, names=2)


def _coarse_cells(values: np.ndarray) -> np.ndarray:
    rows = [part.mean(axis=0) for part in np.array_split(values, min(_CELLS, len(values)), axis=0)]
    columns = np.array_split(np.stack(rows), min(_CELLS, values.shape[1]), axis=1)
    return np.stack([part.mean(axis=1) for part in columns], axis=1)


def _draw(shown: Mapping[str, RunHeat], keys: Sequence[str], protocol: Protocol, style: FigureStyle) -> Figure:
    names = group_names(protocol)
    columns = min(len(keys), _COLUMNS)
    blocks = [keys[start : start + columns] for start in range(0, len(keys), columns)]
    parts = 2 if any(cell.face is not None for heat in shown.values() for cell in heat.cells.values()) else 1
    side = (style.wide_in - 1.0) / columns
    lines = len(shown) * parts
    figure = new_figure(style.wide_in, len(blocks) * (lines * side + 0.42))
    grid = figure.subplots(len(blocks) * lines, columns, squeeze=False)
    for axis in grid.ravel():
        axis.set_axis_off()
    for block, block_keys in enumerate(blocks):
        for place, (label, heat) in enumerate(shown.items()):
            top = block * lines + place * parts
            largest = max((float(cell.mean.max()) for cell in heat.cells.values()), default=1.0) or 1.0
            for column, key in enumerate(block_keys):
                cell = heat.cells.get(key)
                if place == 0:
                    title = "\n".join(_two_lines(names[key]))
                    grid[top, column].set_title(title, fontsize=style.text_pt - 1.5, pad=2)
                if column == 0:
                    _row_name(grid[top, 0], label, style)
                if cell is not None:
                    _cell([grid[top + k, column] for k in range(parts)], cell, largest)
    return figure


def _two_lines(name: str) -> list[str]:
    """A name in at most two lines of a narrow column."""
    name = short_name(name, 60)
    if len(name) <= _TITLE_LETTERS:
        return [name]
    cut = max((place for place, letter in enumerate(name[:_TITLE_LETTERS]) if letter in " -_,"), default=10)
    return [name[: cut + 1].rstrip(), short_name(name[cut + 1 :].lstrip(), _TITLE_LETTERS)]


def _row_name(axis: Any, label: str, style: FigureStyle) -> None:
    axis.text(
        -0.08, 0.5, short_name(label, 18), transform=axis.transAxes, rotation=90, ha="right", va="center",
        fontsize=style.text_pt - 1,
    )  # fmt: skip


def _cell(axes: Sequence[Any], cell: HeatCell, largest: float) -> None:
    """The mean map; with a face, the face and its own map over it above."""
    axes[-1].imshow(cell.mean / largest, cmap=_WARM, vmin=0, vmax=1, interpolation="bilinear")
    if len(axes) == 2 and cell.face is not None and cell.face_map is not None:
        axes[0].imshow(_grey(cell.face), cmap="gray", vmin=0, vmax=255, extent=(0, 1, 0, 1))
        axes[0].imshow(
            cell.face_map, cmap=_WARM, vmin=0, vmax=1, alpha=0.75 * np.clip(cell.face_map, 0, 1), extent=(0, 1, 0, 1)
        )


def _grey(face: np.ndarray) -> np.ndarray:
    grey: np.ndarray = face.astype(float) @ np.array([0.299, 0.587, 0.114])
    return grey
