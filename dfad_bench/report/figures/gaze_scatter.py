"""Clouds of (yaw, pitch) of real and forged faces, with the Gaussians whose distance is the FID."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.report.figures import style
from dfad_bench.report.figures.gaze_fid import DEG2_PER_RAD2

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = Mapping[tuple[str, str], tuple[np.ndarray, np.ndarray]]
_LEFT, _RIGHT, _GAP, _FOOT = 0.42, 0.06, 0.07, 0.34
_MOST = 5  # panels a row of both columns
_SHOWN_POINTS = 400
_WIDEST_DEG = 60.0
_READING = (
    "Grey: real faces, coloured: forged ones; outlines at one (solid) and two (dashed) standard deviations. The yaw "
    "axis is turned: left looks to the image's left. At most 400 points a side are drawn, evenly from all."
)


def draw_scatter_figure(
    rows: Sequence[Mapping[str, Any]],
    points: Points,
    *,
    title: str,
    names: Mapping[tuple[str, str], str],
    least: int,
) -> Figure:
    """One panel a generator, all on the same axes, in the order of the FID figure.

    Args:
        rows: of `GazeReport.flat`; generators without a distance have no panel.
        points: of `GazeReport`; (pitch, yaw) in radians.
        title: of the figure.
        names: printed names by (dataset, generator).
        least: faces of a side that outlines need.
    """
    order = list(style.FORGERY_COLOURS)
    found = [row for row in rows if row.get("fid_rad2") is not None]
    found.sort(key=lambda row: (order.index(row["forgery"]), row["n"] < least, row["fid_rad2"]))
    wide = style.COLUMN_IN if len(found) <= 2 else style.WIDE_IN
    lines, places = style.rows_of(max(len(found), 1), 2 if wide == style.COLUMN_IN else _MOST)
    width = min((wide - _LEFT - _RIGHT) / places - _GAP, 2.3)
    reach = _reach([row for row in found if row["n"] >= least] or found)
    height = width * reach[0] / reach[1]
    labels = [_label(row, names, width, least) for row in found]
    above = max((style.text_height(label, style.TEXT_PT) for label in labels), default=0) + 0.06
    few = f" No outlines below {least} faces a side." if any(row["n"] < least for row in found) else ""
    note = style.wrapped(_READING + few, wide - 0.1)
    heading = style.wrapped(title, wide - 0.1, style.TITLE_PT)
    top = style.heading_height(heading)
    handles = style.forgery_handles(str(row["forgery"]) for row in found)
    foot = top + lines * (above + height + 0.06) + _FOOT
    figure = style.figure_between(heading, foot, [handles], note, wide)
    for index, row in enumerate(found):
        line, place = divmod(index, places)
        left, upper = _LEFT + place * (width + _GAP), top + line * (above + height + 0.06) + above
        axes = style.axes_at(figure, left, upper, width, height)
        _cloud(axes, row, *points[row["dataset"], row["generator"]], reach, outlined=row["n"] >= least)
        axes.set_title(labels[index], pad=2, linespacing=1.1)
        _axis_labels(axes, reach, first=place == 0, last=index + places >= len(found))
    return figure


def ellipse_rad(mean_rad: Sequence[float], cov_rad2: Sequence[Sequence[float]], sigma: float) -> np.ndarray:
    """(2, 91) outline of a Gaussian over (pitch, yaw) at `sigma` standard deviations, radians."""
    values, vectors = np.linalg.eigh(np.asarray(cov_rad2, dtype=np.float64))
    turn = np.linspace(0, 2 * np.pi, 91)
    circle = np.stack([np.cos(turn), np.sin(turn)])
    return np.asarray(mean_rad)[:, None] + sigma * vectors @ (np.sqrt(values.clip(min=0))[:, None] * circle)


def drawn_of(angles: np.ndarray) -> np.ndarray:
    """At most `_SHOWN_POINTS` rows, evenly from all of them."""
    count = min(len(angles), _SHOWN_POINTS)
    return angles[np.linspace(0, len(angles) - 1, count).round().astype(int)] if count else angles


def _cloud(
    axes: Axes,
    row: Mapping[str, Any],
    real: np.ndarray,
    fake: np.ndarray,
    reach: tuple[float, float],
    *,
    outlined: bool,
) -> None:
    for angles, colour, side in (
        (real, style.REAL_COLOUR, "real"),
        (fake, style.FORGERY_COLOURS[row["forgery"]], "fake"),
    ):
        shown = np.degrees(drawn_of(angles))
        axes.scatter(shown[:, 1], shown[:, 0], s=2.5, color=colour, alpha=0.5, linewidths=0, rasterized=True)
        for sigma, line in ((1, "-"), (2, "--")) if outlined else ():
            pitch, yaw = np.degrees(ellipse_rad(row[f"mean_{side}_rad"], row[f"cov_{side}_rad2"], sigma))
            axes.plot(yaw, pitch, line, color=colour, linewidth=0.9)
    # yaw > 0 looks toward the image's left: the axis is turned so that left is left
    axes.set_xlim(reach[1], -reach[1])
    axes.set_ylim(-reach[0], reach[0])


def _axis_labels(axes: Axes, reach: tuple[float, float], *, first: bool, last: bool) -> None:
    for axis, end in ((axes.yaxis, reach[0]), (axes.xaxis, reach[1])):
        step = next((step for step in (5, 10, 20) if end <= 3 * step), 30)
        most = int(0.9 * end / step)  # none at the ends, where labels of two panels would meet
        axis.set_ticks([step * tick for tick in range(-most, most + 1)])
    axes.tick_params(labelleft=first, labelbottom=last)
    if first:
        axes.set_ylabel("pitch, deg", labelpad=1)
    if last:
        axes.set_xlabel("yaw, deg", labelpad=1)


def _label(row: Mapping[str, Any], names: Mapping[tuple[str, str], str], width: float, least: int) -> str:
    name = style.wrapped_name(names[row["dataset"], row["generator"]], width, style.TEXT_PT)
    if row["n"] < least:
        return f"{name}\nn = {row['n']}"
    return f"{name}\nFID {row['fid_rad2'] * DEG2_PER_RAD2:.1f} deg², n = {row['n']}"


def _reach(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Half the height and width of every panel, degrees: each outline at two standard deviations fits."""
    ends = [
        [
            abs(mean) + 2.2 * math.sqrt(row[f"cov_{side}_rad2"][axis][axis])
            for axis, mean in enumerate(row[f"mean_{side}_rad"])
        ]
        for row in rows
        for side in ("real", "fake")
    ]
    pitch, yaw = np.degrees(np.max(ends, axis=0, initial=0.0)) if ends else (0.0, 0.0)
    # panels neither much higher than wide nor too flat to read
    return _tidy(max(float(pitch), 0.35 * float(yaw))), _tidy(max(float(yaw), 0.7 * float(pitch)))


def _tidy(end: float) -> float:
    return float(min(max(math.ceil(end / 5) * 5, 5), _WIDEST_DEG))
