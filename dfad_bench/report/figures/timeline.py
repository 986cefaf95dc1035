"""Scores of one face over the frames of a video, beside the points at which they are called fake and real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dfad_bench.core.files import atomic_path
from dfad_bench.report.figures.style import COLUMN_IN, SMALL_PT, drawing, legend_name, text_height, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEIGHT = 2.2  # inches, without the note
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_LOST = "#777777"


@dataclass(frozen=True)
class Timeline:
    """One run's scores: frames, their scores, and its points (real up to, fake above); None without verdicts."""

    frames: Sequence[int]
    scores: Sequence[float]
    points: tuple[float, float] | None


def draw_timeline(path: Path, runs: Mapping[str, Timeline], lost: Sequence[int], title: str, note: str) -> None:
    """Draw the scores of several runs, by name; the file's suffix (.png, .svg, .pdf) decides the format.

    Args:
        path: of the figure.
        runs: their scores.
        lost: frames that were asked for and have none.
        title: above the figure.
        note: below it; broken into lines.
    """
    suffix = path.suffix.lstrip(".")
    with drawing():
        figure = _draw(runs, lost, title, note)
        undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(suffix)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=suffix, dpi=200, metadata=undated)


def _draw(runs: Mapping[str, Timeline], lost: Sequence[int], title: str, note: str) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    below = wrapped(note, COLUMN_IN - 0.1)
    figure = Figure(figsize=(COLUMN_IN, _HEIGHT + text_height(below)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for number, (name, line) in enumerate(runs.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        axes.plot(
            line.frames, line.scores, color=colour, linewidth=0.8, marker="o", markersize=2, label=legend_name(name)
        )
        if line.points is not None:
            axes.axhspan(*line.points, color=colour, alpha=0.15, linewidth=0)
            axes.axhline(line.points[1], color=colour, linewidth=0.6, linestyle="--")
    if lost:
        axes.plot(
            list(lost), [0.0] * len(lost), "x", color=_LOST, markersize=3, label="no face or no frame", clip_on=False
        )
    axes.set(xlabel="frame", ylabel="score", ylim=(0, 1), title=wrapped(legend_name(title), COLUMN_IN - 0.6))
    axes.legend(frameon=False, loc="best")
    figure.supxlabel(below, fontsize=SMALL_PT, x=0.02, ha="left")
    return figure
