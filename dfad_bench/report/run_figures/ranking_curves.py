"""ROC and precision-recall curves with bands over sources: forged against real, and seen against unseen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.core.labels import FAKE, REAL
from dfad_bench.core.record import MetricValue, ResultRecord
from dfad_bench.metrics.curves import band, precision_at, roc_at
from dfad_bench.report.run_figures.base import (
    RESAMPLES,
    AbsentFigure,
    Figures,
    FigureStyle,
    MadeFigure,
    ReportFacts,
    legend_below,
    look_of,
    panels,
    short_name,
)
from dfad_bench.report.score import faces_of
from dfad_bench.report.scored_faces import Faces
from dfad_bench.report.table import Column, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GRID = np.linspace(0, 1, 101)
Read = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class _Question:
    """What is ranked: positives against negatives by a score; `number`: task, metric and subset of the records."""

    title: str
    head: str
    subset: str
    roc: str
    precision: str


_QUESTIONS = (
    _Question("forged or real, unseen groups", "detection", "unseen", "auc", "ap"),
    _Question("forged or real, seen groups", "detection", "seen", "auc", "ap"),
    _Question("seen or unseen generator", "attribution", "seen-vs-unseen", "auroc", "ap"),
)


@dataclass(frozen=True)
class _Line:
    question: _Question
    label: str
    value: MetricValue | None
    middle: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None
    n: int
    sources: int


def make_roc(facts: ReportFacts) -> Figures:
    """Hits against alarms of all runs."""
    return _make(facts, "roc", "ROC curves", roc_at, ("share of alarms", "share of hits"), lambda q: q.roc)


def make_precision(facts: ReportFacts) -> Figures:
    """Precision against recall of all runs."""
    axes = ("recall", "precision")
    return _make(facts, "precision-recall", "Precision and recall", precision_at, axes, lambda q: q.precision)


def _make(
    facts: ReportFacts, name: str, title: str, read: Read, axes: tuple[str, str], metric: Callable[[_Question], str]
) -> Figures:
    lines: list[_Line] = []
    absent: list[AbsentFigure] = []
    for label, run in facts.runs.items():
        faces = faces_of(run.test_frame, run.protocol, RESAMPLES, facts.seed)
        mine = [_line(faces, run.record, question, label, read, metric(question)) for question in _QUESTIONS]
        found = [line for line in mine if line is not None]
        lines += found
        if not found:
            absent.append(AbsentFigure(name, "no set of test faces has both classes", label))
    if not lines:
        return absent
    sources = min(line.sources for line in lines)
    note = (
        f"Bands: pointwise 95 % of {RESAMPLES} resamples of sources (seed {facts.seed}), faces of a source together;"
        f" {sources:,} sources in the smallest set, with few of which they are too narrow. Numbers are the records',"
        " with intervals over sources. Positives: forged faces; or faces of seen generators."
    )
    shown = [question for question in _QUESTIONS if any(line.question is question for line in lines)]

    def draw(style: FigureStyle) -> Figure:
        return _draw(lines, shown, axes, style, chance=read is roc_at)

    alt = f"{len(shown)} panels: " + "; ".join(question.title for question in shown)
    return [MadeFigure(name, title, note, f"{alt}; a curve a run.", _table(title, lines, axes), draw), *absent]


def _line(faces: Faces, record: ResultRecord, question: _Question, label: str, read: Read, metric: str) -> _Line | None:
    if record.model.heads not in ("both", question.head):
        return None
    rows, labels, scores = _ranked_faces(faces, question)
    if not 0 < labels[rows].sum() < rows.sum():
        return None
    labels, scores = labels[rows].astype(int), scores[rows]
    limits = band(read, labels, scores, _GRID, faces.bootstrap(rows).samples())
    low, high = limits or (None, None)
    value = next(
        (
            one for one in record.metrics
            if (one.task, one.metric, one.subset) == (question.head, metric, question.subset)
            and one.averaging in ("none", "micro")
        ),
        None,
    )  # fmt: skip
    middle = read(labels, scores, _GRID)
    return _Line(question, label, value, middle, low, high, int(rows.sum()), faces.sources_of(rows))


def _ranked_faces(faces: Faces, question: _Question) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (n,) bool, labels and scores (n,) of a question, as `report.score` has its sets."""
    if question.head == "attribution":
        return faces.of([*faces.seen, *faces.averaged]), faces.of(faces.seen), faces.confidence
    keys = faces.unseen if question.subset == "unseen" else faces.seen
    reals = [key for key in keys if faces.detection_label_of[key] == REAL]
    reals = reals or [key for key in faces.seen if faces.detection_label_of[key] == REAL]
    fakes = [key for key in keys if faces.detection_label_of[key] == FAKE]
    return faces.of([*fakes, *reals]), faces.truth == FAKE, faces.p_fake


def _table(title: str, lines: list[_Line], axes: tuple[str, str]) -> Table:
    rows: list[Mapping[str, Any]] = []
    for line in lines:
        for place, at in enumerate(_GRID):
            row: dict[str, Any] = {"run": line.label, "set": line.question.title, "at": float(at), "n": line.n}
            row |= {"sources": line.sources, "value": float(line.middle[place])}
            if line.low is not None and line.high is not None:
                row |= {"low": float(line.low[place]), "high": float(line.high[place])}
            rows.append(row)
    columns = (
        Column("run", "Run", "text"), Column("set", "Faces", "text"), Column("at", axes[0], "number", 2),
        Column("value", axes[1], "number", 4), Column("low", "95 % from", "number", 4),
        Column("high", "to", "number", 4), Column("n", "n", "count"), Column("sources", "Sources", "count"),
    )  # fmt: skip
    return Table(title, columns, rows, names=3)


def _draw(
    lines: list[_Line], shown: list[_Question], names: tuple[str, str], style: FigureStyle, *, chance: bool
) -> Figure:
    figure, axes = panels(style, len(shown), height=1.15)
    labels = list(dict.fromkeys(line.label for line in lines))
    for axis, question in zip(axes, shown, strict=True):
        mine = [line for line in lines if line.question is question]
        for place, line in enumerate(mine):
            look = look_of(labels.index(line.label))
            axis.plot(_GRID, line.middle, label=short_name(line.label), **look)
            if line.low is not None and line.high is not None:
                axis.fill_between(_GRID, line.low, line.high, color=look["color"], alpha=0.15, linewidth=0)
            text = "" if line.value is None else _number(line.value)
            at = len(mine) - 1 - place if chance else place
            across, up = 0.97 if chance else 0.04, 0.04 + 0.075 * at
            axis.text(
                across, up, text, transform=axis.transAxes, ha="right" if chance else "left", color=look["color"],
                fontsize=style.text_pt - 1.5,
            )  # fmt: skip
        if chance:
            axis.plot([0, 1], [0, 1], color="#999999", linewidth=0.7, linestyle=(0, (1, 2)))
        _frame(axis, question.title, names[0])
    axes[0].set_ylabel(names[1])
    _legend(figure, axes)
    return figure


def _frame(axis: Axes, title: str, x_label: str) -> None:
    axis.set(title=title, xlabel=x_label, xlim=(0, 1), ylim=(0, 1.02))
    axis.set_xticks([0, 0.5, 1], labels=["0", "0.5", "1"])
    axis.grid()


def _legend(figure: Figure, axes: list[Axes]) -> None:
    legend_below(figure, max(axes, key=lambda axis: len(axis.get_legend_handles_labels()[1])))


def _number(value: MetricValue) -> str:
    if value.value is None:
        return "not defined"
    text = f"{value.metric.upper()} {100 * value.value:.1f}"
    return text if value.ci95 is None else f"{text} [{100 * value.ci95[0]:.1f}, {100 * value.ci95[1]:.1f}]"
