"""Curves of the open world: risk over coverage, and new generators named rightly over enrolled faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.core.files import atomic_path
from dfad_bench.metrics.selective import risk_curve
from dfad_bench.report.figures.style import PLAIN_TEXT, legend_name
from dfad_bench.report.open_world.risk_table import answers
from dfad_bench.report.open_world.run_arrays import RunArrays

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RC: Any = {**PLAIN_TEXT, "svg.hashsalt": "dfad_bench"}
_POINTS = 400  # of a curve; more are not seen, and make files of megabytes
_ANSWERS = {
    "attribution": "attribution, seen faces", "detection": "detection, all faces", "both": "both, seen faces",
}  # fmt: skip
_LOOK: dict[Any, Any] = {
    "prototype": {"marker": "o", "markersize": 3}, "knn": {"marker": "s", "markersize": 3, "linestyle": "--"}, None: {},
}  # fmt: skip
_CURVES = {"new": "new generators, named rightly", "seen": "seen faces, named rightly"}


def draw_risk(path: Path, runs: Mapping[str, RunArrays]) -> None:
    """Draw the share of wrong answers over the share of faces answered, the surest first, of several runs by name.

    Faces of equal confidence are a straight line of expected losses, as in the area of the table.
    """
    import matplotlib as mpl

    with mpl.rc_context(_RC):
        figure, axes = _panels(len(_ANSWERS))
        for name, run in runs.items():
            found = answers(run.test)
            for axis, answer in zip(axes, _ANSWERS, strict=True):
                rows, confidence, losses = found[answer]
                if run.record.model.heads in ("both", answer) and rows.any():
                    risks = 100 * risk_curve(confidence[rows], losses[rows])
                    chosen = np.unique(np.linspace(0, len(risks) - 1, _POINTS).astype(int))
                    axis.plot(100 * (chosen + 1) / len(risks), risks[chosen], label=legend_name(name))
        for axis, title in zip(axes, _ANSWERS.values(), strict=True):
            axis.set(xlabel="faces answered, %", title=title, xlim=(0, 100), ylim=(-2, 102))
        axes[0].set_ylabel("wrong among them, %")
        axes[1].legend(fontsize="small")
        _write(figure, path)


def draw_enrolment(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw the rows of an enrolment table, a curve a run and way of naming, with bands over sources."""
    import matplotlib as mpl

    with mpl.rc_context(_RC):
        figure, axes = _panels(len(_CURVES))
        for name, classifier in dict.fromkeys((row["model"], row.get("classifier")) for row in rows):
            mine = [row for row in rows if (row["model"], row.get("classifier")) == (name, classifier)]
            mine = [row for row in mine if row.get("new") is not None]
            for axis, (key, bounds) in zip(axes, (("new", "new_faces"), ("seen", "seen")), strict=True):
                shots = [row["shots"] for row in mine]
                (line,) = axis.plot(
                    shots, _percent(mine, key), label=legend_name(f"{name}, {classifier}"), **_LOOK[classifier]
                )
                low, high = _percent(mine, f"{bounds}_low"), _percent(mine, f"{bounds}_high")
                axis.fill_between(shots, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        for axis, title in zip(axes, _CURVES.values(), strict=True):
            axis.set(xlabel="enrolled faces of each new generator", title=title, ylim=(-2, 102))
            axis.set_xticks(sorted({row["shots"] for row in rows if row.get("shots") is not None}))
        axes[0].set_ylabel("share, %")
        axes[0].legend(fontsize="small")
        _write(figure, path)


def _percent(rows: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    return [100 * row[key] if row.get(key) is not None else float("nan") for row in rows]


def _panels(count: int) -> tuple[Figure, Sequence[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * count, 3.2), layout="constrained")
    axes = figure.subplots(1, count, sharey=True)
    for axis in axes:
        axis.grid(alpha=0.3)
    return figure, axes


def _write(figure: Figure, path: Path) -> None:
    metadata = {"Date": None} if path.suffix == ".svg" else None  # the same file from run to run
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip(".") or "png", dpi=150, metadata=metadata)
