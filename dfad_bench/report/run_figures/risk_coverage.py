"""Risk against coverage: the share of wrong answers among the surest faces, over the share of faces answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.metrics.selective import risk_curve
from dfad_bench.report.open_world.risk_table import answers
from dfad_bench.report.run_figures.base import (
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
from dfad_bench.report.table import Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POINTS = 200
_TITLES = {
    "attribution": "attribution, seen faces", "detection": "detection, all faces", "both": "both, seen faces",
}  # fmt: skip
Curves = dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]


def make(facts: ReportFacts) -> Figures:
    """A panel a kind of answer, a line a run."""
    curves: Curves = {}
    counts: dict[str, int] = {}
    for label, run in facts.runs.items():
        for answer, (rows, confidence, losses) in answers(run.test).items():
            if run.record.model.heads in ("both", answer) and rows.any():
                risks = risk_curve(confidence[rows], losses[rows])
                chosen = np.unique(np.linspace(0, len(risks) - 1, _POINTS).astype(int))
                curves.setdefault(answer, {})[label] = ((chosen + 1) / len(risks), risks[chosen])
                counts[answer] = max(counts.get(answer, 0), int(rows.sum()))
    if not curves:
        return [AbsentFigure("risk-coverage", "no faces to answer")]
    sizes = ", ".join(f"{_TITLES[answer]} {n:,}" for answer, n in counts.items())
    note = (
        f"Test faces: {sizes}. The surest are answered first; equal confidences are a straight line of expected losses."
        " Areas with intervals over sources: `dfad scores --table risk`."
    )

    def draw(style: FigureStyle) -> Figure:
        return _draw(curves, list(facts.runs), style)

    alt = f"{len(curves)} panels: wrong answers among the surest faces rise or fall with the share answered."
    return [MadeFigure("risk-coverage", "Risk against coverage", note, alt, _table(curves), draw)]


def _table(curves: Curves) -> Table:
    rows: list[Mapping[str, Any]] = [
        {"run": label, "answer": answer, "coverage": float(x), "risk": float(y)}
        for answer, of in curves.items()
        for label, (coverage, risks) in of.items()
        for x, y in zip(coverage, risks, strict=True)
    ]
    columns = (
        Column("run", "Run", "text"), Column("answer", "Answer", "text"),
        Column("coverage", "Faces answered", "percent"), Column("risk", "Wrong among them", "percent"),
    )  # fmt: skip
    return Table("Risk against coverage", columns, rows, names=2)


def _draw(curves: Curves, labels: list[str], style: FigureStyle) -> Figure:
    figure, axes = panels(style, len(curves), height=1.1)
    for axis, (answer, of) in zip(axes, curves.items(), strict=True):
        for label, (coverage, risks) in of.items():
            axis.plot(100 * coverage, 100 * risks, label=short_name(label), **look_of(labels.index(label)))
        axis.set(title=_TITLES[answer], xlabel="faces answered, %", xlim=(0, 100), ylim=(0, None))
        axis.set_xticks([0, 50, 100])
        axis.grid()
    axes[0].set_ylabel("wrong among them, %")
    legend_below(figure, max(axes, key=lambda axis: len(axis.get_legend_handles_labels()[1])))
    return figure
