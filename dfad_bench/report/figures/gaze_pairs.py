"""Forged faces beside their real targets, each with its gaze, and the cosine between (GazeCLIP Fig. 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.report.figures import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEFT, _RIGHT, _GAP = 0.2, 0.05, 0.1
_MOST = 5  # generators a row of both columns
_FEW = 2  # that one paper column holds
_WIDEST = 1.7  # of a pair
_TEXT = 0.25  # two lines below the faces of one estimator
_READING = (
    "Left: real target, right: forged face; arrows: gaze. Below: mean 2-D cosine of (pitch, yaw) over all pairs "
    "compared, its 95 % interval (n instead where there are too few sources), and the cosine of the pair shown."
)


@dataclass(frozen=True)
class PairPanel:
    """One generator's pair: (target, forged) crops with arrows and their cosine, by estimator."""

    key: tuple[str, str]  # dataset, generator
    name: str
    forgery: str
    crops: Mapping[str, tuple[np.ndarray, np.ndarray]]
    cosines: Mapping[str, float | None]
    confident: bool


def draw_pairs_figure(
    panels: Sequence[PairPanel],
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    title: str,
    rule: str,
    left_out: Sequence[str],
) -> Figure:
    """A block a generator, in it a line of faces an estimator.

    Args:
        panels: at least one.
        rows: of `GazeReport.flat`, by estimator; its control stands in the note.
        title: of the figure.
        rule: how the pairs were chosen.
        left_out: printed names of the generators without pairs, with the reason.
    """
    estimators = list(rows)
    order = list(style.FORGERY_COLOURS)
    panels = sorted(panels, key=lambda panel: (order.index(panel.forgery), panel.name))
    wide = style.COLUMN_IN if len(panels) <= _FEW else style.WIDE_IN
    lines, places = style.rows_of(len(panels), _FEW if wide == style.COLUMN_IN else _MOST)
    block = min((wide - _LEFT - _RIGHT) / places - _GAP, _WIDEST)
    labels = [
        style.wrapped_name(panel.name + ("" if panel.confident else "*"), block, style.TEXT_PT) for panel in panels
    ]
    above = max(style.text_height(label, style.TEXT_PT) for label in labels) + 0.06
    height = above + len(estimators) * (block / 2 + _TEXT) + 0.08
    note = style.wrapped(_note(rule, rows, panels, left_out), wide - 0.1)
    heading = style.wrapped(title, wide - 0.1, style.TITLE_PT)
    top = style.heading_height(heading)
    handles = style.forgery_handles(panel.forgery for panel in panels)
    figure = style.figure_between(heading, top + lines * height, [handles], note, wide)
    for index, (panel, label) in enumerate(zip(panels, labels, strict=True)):
        line, place = divmod(index, places)
        left, upper = _LEFT + place * (block + _GAP), top + line * height
        _block(figure, panel, label, rows, (left, upper, block, above))
        for number, estimator in enumerate(estimators if place == 0 and len(estimators) > 1 else []):
            middle = upper + above + number * (block / 2 + _TEXT) + block / 4
            style.text_at(figure, 0.06, middle, estimator, rotation=90, va="center")
    return figure


def _block(
    figure: Figure,
    panel: PairPanel,
    label: str,
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    place: tuple[float, float, float, float],
) -> None:
    left, top, width, above = place
    style.text_at(figure, left, top, label)
    bar = style.axes_at(figure, left, top + above - 0.045, width, 0.03)
    bar.set_axis_off()
    bar.set_xlim(0, 1)
    bar.axvspan(0, 1, color=style.FORGERY_COLOURS[panel.forgery])
    side = width / 2 - 0.01
    for number, estimator in enumerate(rows):
        upper = top + above + number * (width / 2 + _TEXT)
        for index, crop in enumerate(panel.crops[estimator]):
            style.image_at(figure, left + index * (side + 0.02), upper, side, crop)
        text = f"{_mean(_row_of(rows[estimator], panel.key))}\nthis pair {_number(panel.cosines[estimator])}"
        style.text_at(figure, left, upper + width / 2 + 0.01, text, fontsize=style.SMALL_PT)


def _row_of(rows: Sequence[Mapping[str, Any]], key: tuple[str, str]) -> Mapping[str, Any]:
    return next((row for row in rows if (row["dataset"], row["generator"]) == key), {})


def _mean(row: Mapping[str, Any]) -> str:
    value = row.get("cosine_2d")
    if value is None:
        return "mean –"
    low, high = row["cosine_2d_low"], row["cosine_2d_high"]
    ends = f"n = {row['pairs']}" if low is None else f"{_number(low)} to {_number(high)}"
    return f"mean {_number(value)} ({ends})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def _note(
    rule: str,
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    panels: Sequence[PairPanel],
    left_out: Sequence[str],
) -> str:
    parts = [_READING, f"Pairs: {rule}."]
    controls = [
        (estimator, row)
        for estimator, of_estimator in rows.items()
        for row in of_estimator
        if row["forgery"] == "control" and row.get("cosine_2d") is not None
    ]
    if controls:
        control_text = "; ".join(f"{estimator} {_mean(row).removeprefix('mean ')}" for estimator, row in controls)
        parts.append(f"Each forged face against another one's target: {control_text}.")
    if not all(panel.confident for panel in panels):
        parts.append("*: none of the pairs is confident, so there are no arrows.")
    if left_out:
        parts.append(f"Left out: {', '.join(left_out)}.")
    return " ".join(parts)
