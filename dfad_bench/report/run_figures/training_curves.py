"""Losses over steps and the value on validation faces, from the trace of a run."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.core.errors import IntegrityError
from dfad_bench.core.files import check_hash
from dfad_bench.report.run_figures.base import (
    COLOURS,
    LINES,
    AbsentFigure,
    Figures,
    FigureStyle,
    MadeFigure,
    ReportFacts,
    about_run,
    new_figure,
    short_name,
)
from dfad_bench.report.table import Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NO_LOSS = ("step", "stage", "epoch", "lr", "gradient_norm", "validation")
_MOST_BYTES = 256 * 2**20
_POINTS = 400  # a line; steps between are averaged
Row = dict[str, Any]


def make(facts: ReportFacts) -> Figures:
    """A figure a run."""
    made: list[MadeFigure | AbsentFigure] = []
    for label, run in facts.runs.items():
        files, record = run.own_run
        path = files.trace
        stated = record.run.files.get(path.name)
        if stated is None or not path.is_file():
            made.append(AbsentFigure("training", "no trace: imported, or made before traces were kept", label))
            continue
        check_hash(path, stated)
        rows = read_trace(path)
        if not rows:
            made.append(AbsentFigure("training", "nothing was trained", label))
            continue
        losses = [name for name in rows[0] if name not in _NO_LOSS]
        stages = list(dict.fromkeys(row["stage"] for row in rows))
        note = (
            f"{about_run(record)}; {len(rows):,} steps, stages {', '.join(stages)}. Losses without the"
            " weights they have in the sum; each point is the mean of the steps since the last one. Validation: the"
            " value the checkpoint was chosen by, where it was measured."
        )
        columns = [Column("step", "Step", "count"), Column("stage", "Stage", "text"), Column("epoch", "Epoch", "count")]
        columns += [Column(name, name, "number", 4) for name in (*losses, "lr", "gradient_norm", "validation")]
        title = f"Training, {label}"
        table = Table(title, tuple(columns), rows)
        alt = f"Losses ({', '.join(losses)}) and validation against {len(rows):,} steps."
        made.append(MadeFigure(facts.stem_of("training", label), title, note, alt, table, _drawer(rows, losses)))
    return made


def read_trace(path: Path) -> list[Row]:
    """The rows of a `trace.csv`, numbers as such, empty cells as None.

    Raises:
        IntegrityError: no trace.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("larger than a trace is")
        with path.open(encoding="utf-8", newline="") as file:
            rows = [_row(row) for row in csv.DictReader(file, strict=True)]
    except (csv.Error, ValueError, LookupError, TypeError, OSError) as error:
        raise IntegrityError(f"{path}: no trace of a run ({ascii(str(error))[1:-1][:120]})") from error
    return rows


def _row(row: Mapping[str, str]) -> Row:
    found: Row = {"step": int(row["step"]), "stage": row["stage"], "epoch": int(row["epoch"])}
    for name, text in row.items():
        if name not in found:
            value = float(text) if text else None
            found[name] = value if value is not None and isfinite(value) else None
    return found


def _drawer(rows: list[Row], losses: list[str]) -> Any:
    def draw(style: FigureStyle) -> Figure:
        return _draw(rows, losses, style)

    return draw


def _draw(rows: list[Row], losses: list[str], style: FigureStyle) -> Figure:
    valued = [row for row in rows if row.get("validation") is not None]
    count = 2 if valued else 1
    figure = new_figure(style.wide_in if count == 2 else style.column_in, style.column_in * 0.85)
    axes = list(figure.subplots(1, count, squeeze=False)[0])
    for number, name in enumerate(losses):
        steps, values = _thinned_points([(row["step"], row[name]) for row in rows if row.get(name) is not None])
        total = name == "loss"
        axes[0].plot(
            steps, values, color="black" if total else COLOURS[(number - 1) % (len(COLOURS) - 1)],
            linestyle="-" if total else LINES[number % len(LINES)], linewidth=1.4 if total else 1.0,
            label="sum" if total else short_name(name, 16),
        )  # fmt: skip
    axes[0].set(xlabel="step", ylabel="loss", ylim=(min(0.0, axes[0].get_ylim()[0]), None))
    if valued:
        x, y = [row["step"] for row in valued], [row["validation"] for row in valued]
        axes[1].plot(x, y, color=COLOURS[0], marker="o", markersize=3)
        axes[1].set(xlabel="step", ylabel="validation")
    for axis in axes:
        axis.grid()
        axis.locator_params(axis="x", nbins=5)
        for at in _stage_starts(rows):
            axis.axvline(at, color="#777777", linewidth=0.8, linestyle=":")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6 if count == 2 else 3, len(labels)))
    return figure


def _stage_starts(rows: list[Row]) -> list[int]:
    return [row["step"] for before, row in zip(rows, rows[1:], strict=False) if row["stage"] != before["stage"]]


def _thinned_points(points: list[tuple[int, float]]) -> tuple[list[float], list[float]]:
    parts = np.array_split(np.array(points, dtype=float).reshape(-1, 2), max(1, min(len(points), _POINTS)))
    means = [part.mean(axis=0) for part in parts if len(part)]
    return [float(mean[0]) for mean in means], [float(mean[1]) for mean in means]
