"""FID by generator, above each bar a face: with its gaze (GazeCLIP Fig. 1) or its parsing map (BMRL Fig. 7)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.report.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEG2_PER_RAD2 = math.degrees(1.0) ** 2
_ORDER = list(style.FORGERY_COLOURS)
_LEFT, _RIGHT, _GAP = 0.42, 0.05, 0.04
_BARS = 0.8  # height of a row of bars
_FEW = 5  # generators that one paper column holds
_MOST = 10  # that a row of both columns holds
_LARGEST_FACE = 0.9
_BAR = 0.7  # of a generator's place
_READING = (
    "Bar: {bar}, n faces a side. Dot and whisker: FID less its sampling bias, with the 95 % "
    "bootstrap interval (an arrow: it goes on). Grey line: floor, real against real at the same n; band: 95 % of "
    "such draws."
)


@dataclass(frozen=True)
class Unit:
    """What distances are in: the end of their keys in rows, the factor to what is drawn, and how that is printed."""

    suffix: str
    factor: float
    label: str
    digits: int
    bar: str = "FID as the paper takes it"


GAZE_UNIT = Unit("_rad2", DEG2_PER_RAD2, "FID, deg²", 1)


@dataclass(frozen=True)
class DrawnFace:
    """A face and what is below it, both (H, W, 3) uint8 RGB.

    With its gaze and the normalised patch, and whether the gaze is confident; or with its parsing map.
    """

    face: np.ndarray
    patch: np.ndarray
    confident: bool = True


@dataclass(frozen=True)
class Column:
    """One column of the figure, in the unit that is drawn; `value` None: the real faces, which have only a floor."""

    name: str
    forgery: str
    family: str
    n: int
    value: float | None
    unbiased: float | None
    low: float
    high: float
    floor: float | None
    floor_high: float | None
    shown: DrawnFace | None
    few: bool = False  # too few faces for a bar


def draw_fid_figure(
    rows: Sequence[Mapping[str, Any]],
    shown: Mapping[tuple[str, str], DrawnFace],
    *,
    title: str,
    rule: str,
    names: Mapping[tuple[str, str], str],
    least: int,
    unit: Unit = GAZE_UNIT,
) -> Figure:
    """Bars by forgery type, then FID; in several rows on one scale where they are many.

    Args:
        rows: of `GazeReport.flat`, or the `flat` of another study; generators without a distance are named below.
        shown: faces by (dataset, generator); ("", "real") stands before the generators.
        title: of the figure.
        rule: how the faces were chosen.
        names: printed names by (dataset, generator).
        least: faces of a side that a bar needs; with fewer the place of the bar says how many.
        unit: of the distances.
    """
    columns, without = _columns(rows, shown, names, least, unit)
    wide = style.COLUMN_IN if len(columns) <= _FEW else style.WIDE_IN
    lines, places = style.rows_of(len(columns), _FEW if wide == style.COLUMN_IN else _MOST)
    pitch = min((wide - _LEFT - _RIGHT) / places, _LARGEST_FACE + _GAP)
    labels = [_label(column, pitch - _GAP, max(c.n for c in columns), unit.digits) for column in columns]
    below = 0.04 + max(style.text_height(label) for label in labels)
    band = 2 * pitch + _BARS + below + 0.06
    legends = [
        style.forgery_handles(column.forgery for column in columns if column.value is not None),
        style.family_handles(column.family for column in columns if column.value is not None),
    ]
    note = style.wrapped(_note(rule, columns, without, least, unit), wide - 0.1)
    heading = style.wrapped(title, wide - 0.1, style.TITLE_PT)
    top = style.heading_height(heading)
    figure = style.figure_between(heading, top + lines * band, legends, note, wide)
    limit = _limit(columns)
    for line in range(lines):
        span = slice(line * places, (line + 1) * places)
        _row(figure, columns[span], labels[span], top + line * band, pitch, limit, unit.label)
    return figure


def _columns(
    rows: Sequence[Mapping[str, Any]],
    shown: Mapping[tuple[str, str], DrawnFace],
    names: Mapping[tuple[str, str], str],
    least: int,
    unit: Unit,
) -> tuple[list[Column], list[str]]:
    def drawn(row: Mapping[str, Any], key: str) -> float | None:
        value = row.get(f"{key}{unit.suffix}")
        return None if value is None else float(value) * unit.factor

    columns, without = [], []
    for row in rows:
        key = (str(row["dataset"]), str(row["generator"]))
        if row["forgery"] == "control":
            continue
        value = drawn(row, "fid")
        if value is None:
            without.append(names[key])
            continue
        low, high = drawn(row, "low"), drawn(row, "high")
        columns.append(
            Column(
                names[key],
                str(row["forgery"]),
                str(row["family"]),
                int(row["n"]),
                value,
                drawn(row, "unbiased"),
                value if low is None else low,
                value if high is None else high,
                drawn(row, "floor"),
                drawn(row, "floor_high"),
                shown.get(key),
                int(row["n"]) < least,
            )
        )
    columns.sort(key=lambda column: (_ORDER.index(column.forgery), column.few, column.value, column.name))
    return [*_real(columns, shown.get(("", "real"))), *columns], without


def _real(columns: Sequence[Column], shown: DrawnFace | None) -> list[Column]:
    """The real faces' own column, with the floor at the number of faces most generators have."""
    floors = [column for column in columns if column.floor is not None and not column.few]
    if shown is None or not floors:
        return []
    usual = max(floors, key=lambda column: column.n)
    return [Column("Real", "none", "none", usual.n, None, None, 0.0, 0.0, usual.floor, usual.floor_high, shown)]


def _row(
    figure: Figure,
    columns: Sequence[Column],
    labels: Sequence[str],
    top: float,
    pitch: float,
    limit: float,
    axis: str,
) -> None:
    side = pitch - _GAP
    for place, column in enumerate(columns):
        left = _LEFT + place * pitch + _GAP / 2
        if column.shown is not None:
            style.image_at(figure, left, top, side, column.shown.face)
            style.image_at(figure, left, top + pitch, side, column.shown.patch)
    axes = style.axes_at(figure, _LEFT, top + 2 * pitch, len(columns) * pitch, _BARS)
    for place, column in enumerate(columns):
        _bar(axes, place, column, limit)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(0, limit)
    axes.set_xticks(range(len(columns)), labels, linespacing=1.1)
    axes.tick_params(axis="x", length=0, pad=2)
    axes.set_ylabel(axis, labelpad=2)
    axes.locator_params(axis="y", nbins=4)
    axes.spines[["top", "right"]].set_visible(False)


def _bar(axes: Axes, place: int, column: Column, limit: float) -> None:
    ends = (place - 0.46, place + 0.46)
    if column.few:
        axes.text(place, 0.03 * limit, f"n = {column.n}", ha="center", va="bottom", fontsize=style.SMALL_PT)
        return
    if column.floor_high is not None:
        axes.fill_between(ends, 0, min(column.floor_high, limit), color="#000000", alpha=0.1, linewidth=0)
    if column.value is not None:
        colour, hatch = style.FORGERY_COLOURS[column.forgery], style.FAMILY_HATCHES.get(column.family, "")
        axes.bar(place, column.value, _BAR, color=colour, edgecolor="black", linewidth=0.4, hatch=hatch)
        axes.vlines(place, column.low, min(column.high, limit), color="black", linewidth=0.8, zorder=4)
        if column.unbiased is not None:
            # white under black: seen on every bar and hatch
            axes.plot(place, column.unbiased, "o", color="black", markeredgecolor="white", ms=3, mew=0.5, zorder=5)
        if column.high > limit:
            axes.plot(place, limit, "^", color="black", ms=3.5, zorder=5, clip_on=False)
    if column.floor is not None:
        axes.hlines(column.floor, *ends, color=style.FLOOR_COLOUR, linewidth=1.2, zorder=3)


def _limit(columns: Sequence[Column]) -> float:
    """Upper end of all rows' scales: every bar, and nine whiskers of ten, fit."""
    columns = [column for column in columns if not column.few]
    bars = [column.value for column in columns if column.value is not None]
    floors = [column.floor for column in columns if column.floor is not None]
    whiskers = [column.high for column in columns if column.value is not None]
    usual = float(np.quantile(whiskers, 0.9)) if whiskers else 0.0
    return max(1.08 * max([*bars, *floors, 0.0]), 1.03 * usual) or 1.0


def _label(column: Column, width: float, usual: int, digits: int) -> str:
    name = column.name if column.shown is None or column.shown.confident else f"{column.name}*"
    if column.few:
        return style.wrapped_name(name, width)
    value = f"floor {column.floor:.{digits}f}" if column.value is None else f"{column.value:.{digits}f}"
    few = f"\nn = {column.n}" if column.n < usual else ""
    return f"{style.wrapped_name(name, width)}\n{value}{few}"


def _note(rule: str, columns: Sequence[Column], without: Sequence[str], least: int, unit: Unit) -> str:
    parts = [
        _READING.format(bar=unit.bar),
        f"n = {max(column.n for column in columns)} unless said." if columns else "",
        f"Faces: {rule}.",
    ]
    if any(column.shown is not None and not column.shown.confident for column in columns):
        parts.append("*: none of the faces has a confident gaze, so there is no arrow.")
    if any(column.few for column in columns):
        parts.append(f"No bar below {least} faces a side.")
    if without:
        parts.append(f"Without a distance: {', '.join(without)}.")
    return " ".join(part for part in parts if part)
