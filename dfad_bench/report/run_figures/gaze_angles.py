"""Gaze of real and forged faces, for runs that read it: the clouds of the gaze study, without faces."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dfad_bench.report.figures.gaze_scatter import draw_scatter_figure
from dfad_bench.report.gaze.tables import flat_table
from dfad_bench.report.run_figures.base import AbsentFigure, Figures, FigureStyle, GazeClouds, MadeFigure, ReportFacts
from dfad_bench.report.table import Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST = 10  # faces of a side that outlines need


def make(facts: ReportFacts) -> Figures:
    """A figure an estimator that a run reads."""
    found = facts.gaze()
    if isinstance(found, str):
        return [AbsentFigure("gaze-angles", found)]
    made: list[MadeFigure | AbsentFigure] = []
    for clouds in found:
        if not any(row.get("fid_rad2") is not None for row in clouds.rows):
            made.append(AbsentFigure("gaze-angles", f"no generator has a distance by {clouds.estimator}"))
            continue
        title = f"Gaze of real and forged faces, estimator {clouds.estimator}"
        faces = sum(row.get("n") or 0 for row in clouds.rows)
        note = (
            f"{faces:,} forged faces of the manifests, read by {', '.join(clouds.runs)}; the distance of each generator"
            " with its interval and floor is in the table. Studies with more settings: `dfad gaze-fid`."
        )
        alt = f"{len(clouds.rows)} panels, one a generator: gaze of its faces beside that of real ones."
        name = f"gaze-angles-{clouds.estimator.replace('_', '-')}"
        made.append(MadeFigure(name, title, note, alt, _typed_table(clouds, title), _drawer(clouds, title)))
    return made


def _typed_table(clouds: GazeClouds, title: str) -> Table:
    """Every plain number of every row, for the page, too."""
    flat = flat_table(clouds.rows, title)
    texts = {key for row in flat.rows for key, value in row.items() if isinstance(value, str | bool | dict)}
    columns = (Column(one.key, one.key, "text" if one.key in texts else "number", 4) for one in flat.columns)
    return replace(flat, columns=tuple(columns))


def _drawer(clouds: GazeClouds, title: str) -> Any:
    def draw(style: FigureStyle) -> Figure:
        return draw_scatter_figure(clouds.rows, clouds.points, title=title, names=clouds.names, least=LEAST)

    return draw
