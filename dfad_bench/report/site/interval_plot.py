"""The ranked rows of a section with both of their intervals: over faces, and over generators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dfad_bench.report.board_ranks import ranking_column
from dfad_bench.report.site import svg

MOST = 40  # rows; a table beside the figure holds all
_WIDTH, _SIDE, _ROW, _TOP = 480, 16, 38, 4  # narrow enough for a phone; names stand above their lines
Bounds = tuple[float | None, float | None]


@dataclass(frozen=True)
class Interval:
    """One row: its value and what bounds it has, all as shares."""

    name: str
    value: float
    faces: Bounds
    generators: Bounds


RANK_TITLES = {"oscr": "OSCR", "detection_auc": "AUC of detection"}


def ranked_column(rows: Sequence[Mapping[str, Any]]) -> tuple[str, list[Mapping[str, Any]]]:
    """By which number the rows of a section have places, and the rows that have both."""
    ranked = [row for row in rows if row.get("rank") is not None]
    column = ranking_column(ranked)
    return column, [row for row in ranked if row.get(column) is not None]


def ranked_intervals(rows: Sequence[Mapping[str, Any]]) -> tuple[str, list[Interval]]:
    """The number that decides places and its title, and of each row with a place the bounds that the board states."""
    column, ranked = ranked_column(rows)
    found = []
    for row in ranked:
        generators = row.get(f"{column}_generators_low"), row.get(f"{column}_generators_high")
        faces = row.get(f"{column}_low"), row.get(f"{column}_high")
        found.append(Interval(str(row["model"]), row[column], faces, generators))
    return RANK_TITLES[column], found


def interval_figure(name: str, title: str, number: str, rows: Sequence[Interval]) -> svg.Figure | None:
    """A line a row: thick over faces, thin with ends over generators, a dot at the value; None for no rows.

    Args:
        name: of the element, unique on its page.
        title: of the figure.
        number: what the values are of.
        rows: in the order drawn; of more than `MOST` the first ones.
    """
    drawn = rows[:MOST]
    if not drawn:
        return None
    height = _TOP + _ROW * len(drawn) + 40
    left, right, bottom = float(_SIDE), float(_WIDTH - _SIDE), float(_TOP + _ROW * len(drawn))
    parts = svg.percent_axis(left, right, float(_TOP), bottom)

    def at(share: float) -> float:
        return left + (right - left) * share

    for place, row in enumerate(drawn):
        y = _TOP + _ROW * (place + 0.75)
        parts.append(svg.text(left, y - 11, row.name, longest=58))
        low, high = row.generators
        if low is not None and high is not None:
            parts.append(svg.line(at(low), y, at(high), y, 1.5))
            parts += [svg.line(at(end), y - 5, at(end), y + 5, 1.5) for end in (low, high)]
        low, high = row.faces
        if low is not None and high is not None:
            parts.append(svg.line(at(low), y, at(high), y, 6, ' opacity=".45"'))
        parts.append(svg.dot(at(row.value), y))
    parts.append(svg.text((left + right) / 2, height - 6, f"{number}, %", "middle"))
    left_out = f" The first {MOST} of {len(rows)} rows." if len(rows) > MOST else ""
    about = (
        f"Dot: {number}. Thick line: 95 % interval over faces of these generators. Thin line with ends: 95 % interval"
        f" over generators. The numbers are in the table behind this figure.{left_out}"
    )
    return svg.Figure(name, title, about, _WIDTH, height, parts)
