"""The most confident mistakes of a run, and its most confident right answers, with faces where they may be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.metrics.detection import called_fake
from dfad_bench.report.mistakes import KINDS, TASKS, mistakes_tables
from dfad_bench.report.open_world.run_arrays import RunArrays
from dfad_bench.report.run_figures.base import (
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
from dfad_bench.report.table import Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 12  # of each kind
_COLUMNS = 6
_KINDS = {False: "most confident right answers", True: "most confident mistakes"}


def make(facts: ReportFacts) -> Figures:
    """A figure a run and task."""
    made: list[MadeFigure | AbsentFigure] = []
    for label, run in facts.runs.items():
        mistaken = mistakes_tables(run.record, run.test_frame, run.protocol)
        for task in TASKS:
            if run.record.model.heads not in ("both", task):
                made.append(AbsentFigure("mistakes", f"the {task} expert was not trained", label))
                continue
            wrong = [{**row, "wrong": True} for row in mistaken[task].rows[:SHOWN]]
            rows = [*wrong, *_right_answers(run, task)[:SHOWN]]
            pixels = facts.pixels([str(row["sample_id"]) for row in rows])
            title = f"Extreme faces of {task}, {label}"
            note = (
                f"{about_run(run.record)}; {mistaken[task].notes[0].split(';')[0]} are mistaken. The {SHOWN} most"
                " confident mistakes, and as many most confident right answers; ties by the face's name."
            )
            hidden = [row for row in rows if str(row["sample_id"]) not in pixels]
            if hidden:
                note += f" {len(hidden)} of {len(rows)} faces are not shown: {facts.no_pixels}."
            alt = f"{len(wrong)} mistaken faces and {len(rows) - len(wrong)} right ones with answers; all in the table."
            table = Table(title, _table_columns(), rows, names=1)
            name = facts.stem_of(f"mistakes-{task}", label)
            made.append(MadeFigure(name, title, note, alt, table, _drawer(rows, pixels, run)))
    return made


def _table_columns() -> tuple[Column, ...]:
    return (
        Column("sample_id", "Face", "text"), Column("wrong", "Wrong", "text"), Column("group", "Group", "text"),
        Column("source_key", "Source", "text"), Column("truth", "Is", "text"), Column("called", "Called", "text"),
        Column("confidence", "Confidence", "percent"),
    )  # fmt: skip


def _right_answers(run: RunArrays, task: str) -> list[dict[str, Any]]:
    """Faces answered rightly, the most confident first."""
    faces, frame = run.test, run.test_frame
    if task == "attribution":
        rows, confidence = faces.of(faces.seen) & faces.named_rightly, faces.confidence
    else:
        known = faces.of([*faces.seen, *faces.unseen]) & (faces.truth >= 0)
        rows = known & (called_fake(faces.p_fake) == (faces.truth == 1))
        confidence = np.maximum(faces.p_fake, 1 - faces.p_fake)
    names, display = frame["sample_id"].to_numpy(dtype=str), group_names(run.protocol)
    order = sorted(np.flatnonzero(rows), key=lambda place: (-confidence[place], names[place]))[:SHOWN]
    return [
        {
            "sample_id": names[place], "wrong": False, "group": faces.group[place], "source_key": faces.source[place],
            "truth": display[faces.group[place]] if task == "attribution" else KINDS[int(faces.truth[place])],
            "called": display[faces.group[place]] if task == "attribution" else KINDS[int(faces.truth[place])],
            "confidence": float(confidence[place]),
        }
        for place in order
    ]  # fmt: skip


def _drawer(rows: Sequence[Mapping[str, Any]], pixels: Mapping[str, np.ndarray], run: RunArrays) -> Any:
    def draw(style: FigureStyle) -> Figure:
        return _draw(rows, pixels, group_names(run.protocol), style)

    return draw


def _draw(
    rows: Sequence[Mapping[str, Any]], pixels: Mapping[str, np.ndarray], names: Mapping[str, str], style: FigureStyle
) -> Figure:
    """Faces in rows under their captions; where none may be shown, captions in a list."""
    parts = {wrong: [row for row in rows if row["wrong"] is wrong] for wrong in (True, False)}
    with_faces = any(str(row["sample_id"]) in pixels for row in rows)
    lines = sum(1 + -(-len(part) // (_COLUMNS if with_faces else 2)) for part in parts.values() if part)
    line = style.wide_in / _COLUMNS * 1.36 if with_faces else style.text_pt * 1.55 / 72
    columns = _COLUMNS if with_faces else 2
    heading = style.text_pt * 2.2 / 72
    shown = [part for part in parts.values() if part]
    height = (lines - len(shown)) * line + len(shown) * heading + 0.1
    figure = new_figure(style.wide_in, max(height, 0.6))
    figure.set_layout_engine("none")
    top = height
    for wrong, part in parts.items():
        if not part:
            continue
        figure.text(0.005, (top - heading * 0.3) / height, _KINDS[wrong], va="top", weight="bold")
        top -= heading
        for place, row in enumerate(part):
            left, down = place % columns / columns, top - place // columns * line
            _entry(
                figure, row, pixels.get(str(row["sample_id"])), names, style, left, down, height, columns, with_faces
            )
        top -= -(-len(part) // columns) * line
    return figure


def _entry(
    figure: Figure, row: Mapping[str, Any], face: np.ndarray | None, names: Mapping[str, str], style: FigureStyle,
    left: float, top: float, height: float, columns: int, with_faces: bool,
) -> None:  # fmt: skip
    called, sure = str(row["called"]), f"{100 * row['confidence']:.1f} %"
    truth = f"is {names.get(str(row['group']), row['group'])}" if row["wrong"] else "right"
    size = style.text_pt - 1.5
    if not with_faces:
        figure.text(
            left + 0.005,
            top / height,
            f"{sure} {short_name(called, 26)}, {short_name(truth, 30)}",
            va="top",
            fontsize=size,
        )
        return
    side = style.wide_in / columns * 0.94
    place = (left + 0.003, (top - side) / height, side / style.wide_in, side / height)
    axis = figure.add_axes(place)
    axis.set_xticks([])
    axis.set_yticks([])
    if face is None:
        axis.set_facecolor("#DDDDDD")
        axis.text(0.5, 0.5, "not shown", ha="center", va="center", fontsize=size, transform=axis.transAxes)
    else:
        axis.imshow(face, aspect="auto")
    text = "\n".join([short_name(called, 23), short_name(truth, 23), sure])
    figure.text(left + 0.003, (top - side - 0.03) / height, text, va="top", fontsize=size, linespacing=1.1)
