"""What the figures of a report share: their sizes and colours, what they are made of, and what a figure is.

A figure's file has one function: from `ReportFacts` to figures, or to the reason why there is none. It computes
nothing that a metric or table computes already, and draws nothing before `draw` is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.core.escape import one_line
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ResultRecord
from dfad_bench.report.figures.style import PLAIN_TEXT
from dfad_bench.report.open_world.run_arrays import RunArrays
from dfad_bench.report.robustness.tables import Evaluation
from dfad_bench.report.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's, which every common colour blindness tells apart; black last. Lines and marks tell them in grey print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKS = "osD^vPX*<>hp"
SHADES = "cividis"  # lightness rises with the value, for every eye and in grey
RESAMPLES = 200  # of a band
_LETTERS = 26  # of a name on an axis


@dataclass(frozen=True)
class FigureStyle:
    """Sizes of a figure: widths of one column and of both, inches, and of its text, points."""

    name: str
    column_in: float
    wide_in: float
    text_pt: float


STYLES = {
    "screen": FigureStyle("screen", 4.8, 9.6, 9.0),
    "paper": FigureStyle("paper", 3.5, 7.16, 8.0),  # a two-column paper
}


@dataclass(frozen=True)
class MadeFigure:
    """A figure, before it is drawn.

    Attributes:
        name: of its files, without suffix.
        title: what it shows.
        note: data, number of faces and sources, seeds, what bands are of.
        alt: what a reader who does not see it must know.
        table: the numbers behind it.
        draw: draws it in a style.
    """

    name: str
    title: str
    note: str
    alt: str
    table: Table
    draw: Callable[[FigureStyle], Figure]


@dataclass(frozen=True)
class AbsentFigure:
    """A figure that runs have not the data for; `of`: the run, empty for all."""

    name: str
    reason: str
    of: str = ""


Figures = Sequence[MadeFigure | AbsentFigure]


@dataclass(frozen=True)
class HeatCell:
    """Heat-maps of one run and group: the mean map (h, w) in [0, 1] of n faces, and one face's own with its pixels."""

    mean: np.ndarray
    n: int
    sample_id: str
    face: np.ndarray | None = None  # (H, W, 3) uint8 where the dataset lets its faces be shown
    face_map: np.ndarray | None = None  # (H, W)


@dataclass(frozen=True)
class RunHeat:
    """Heat-maps of a run: method and layer in words, a cell a group; or why it has none."""

    title: str = ""
    cells: Mapping[str, HeatCell] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class WordWeight:
    """The weight a model's word selectors give a word of a prompt, the mean over blocks."""

    generator: str
    level: int
    place: int
    word: str
    weight: float


@dataclass(frozen=True)
class GazeClouds:
    """Gaze by an estimator that runs read: rows of a study; (pitch, yaw) in radians and names by dataset, generator."""

    estimator: str
    runs: tuple[str, ...]
    rows: Sequence[Mapping[str, Any]]
    points: Mapping[tuple[str, str], tuple[np.ndarray, np.ndarray]]
    names: Mapping[tuple[str, str], str]


@dataclass
class ReportFacts:
    """What figures are made of.

    Attributes:
        runs: by what they are called.
        folders: of the same runs.
        seed: of all that is drawn by chance.
        faces_per_group: most embeddings of a group in the map.
        robustness: evaluations on corrupted faces, by the run's name.
        heat: makes heat-maps of a run when they are asked for.
        words: word weights of a run, or a reason.
        pixels: crops of faces by `sample_id`, of those that may be shown.
        no_pixels: why faces are not shown; empty where they are.
        gaze: makes the gaze of the faces, by estimators that runs read, or says why there is none.
    """

    runs: Mapping[str, RunArrays]
    folders: Mapping[str, Path]
    seed: int = 0
    faces_per_group: int = 500
    robustness: Mapping[str, Sequence[Evaluation]] = field(default_factory=dict)
    heat: Callable[[str], RunHeat] = lambda label: RunHeat(reason="no manifests were given")
    words: Callable[[str], Sequence[WordWeight] | str] = lambda label: "the model was not opened"
    pixels: Callable[[Sequence[str]], Mapping[str, np.ndarray]] = lambda names: {}
    no_pixels: str = "no manifests were given"
    gaze: Callable[[], Sequence[GazeClouds] | str] = lambda: "no manifests were given"

    def record(self, label: str) -> ResultRecord:
        """The record of a run."""
        return self.runs[label].record

    def protocol(self, label: str) -> Protocol:
        """The protocol of a run."""
        return self.runs[label].protocol

    def stem_of(self, stem: str, label: str) -> str:
        """The name of a run's own figure: numbered in the order of the runs, where there are several."""
        return stem if len(self.runs) == 1 else f"{stem}-{list(self.runs).index(label) + 1}"


@contextmanager
def drawing(style: FigureStyle) -> Iterator[None]:
    """The settings a figure is drawn and written under: text that can be edited, no formulas, the same bytes."""
    import matplotlib as mpl

    size = style.text_pt
    small = dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), size - 1)
    settings: Any = {
        **PLAIN_TEXT, **small, "font.family": "DejaVu Sans", "font.size": size, "axes.titlesize": size,
        "axes.labelsize": size, "figure.titlesize": size + 1, "axes.linewidth": 0.6, "lines.linewidth": 1.2,
        "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 2.5, "ytick.major.size": 2.5,
        "hatch.linewidth": 0.5, "pdf.fonttype": 42, "svg.hashsalt": "dfad_bench", "axes.axisbelow": True,
        "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "grid.linewidth": 0.4,
        "grid.alpha": 0.4,
    }  # fmt: skip
    with mpl.rc_context(settings):
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches whose parts make room for each other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panels(style: FigureStyle, count: int, *, share_y: bool = True, height: float = 0.86) -> tuple[Figure, list[Axes]]:
    """A figure of square panels beside each other: one in a column, two and more over both.

    `height`: of a panel, in its width.
    """
    width = style.column_in if count == 1 else style.wide_in
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = new_figure(width, rows * width / columns * height)
    axes = list(figure.subplots(rows, columns, squeeze=False, sharey=share_y).ravel())
    for spare in axes[count:]:
        spare.set_visible(False)
    return figure, axes[:count]


def legend_below(figure: Figure, axes: Axes, *, most: int = 3) -> None:
    """The legend of one panel below all of them, where it covers nothing; fewer columns where names are long."""
    handles, labels = axes.get_legend_handles_labels()
    if not labels:
        return
    width = figure.get_size_inches()[0]
    letters = max(map(len, labels)) + 6
    columns = max(1, min(most, len(labels), int(width * 13 / letters)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, columnspacing=1.2, handlelength=2.6)


def look_of(number: int) -> dict[str, Any]:
    """Colour and line of the curve of the n-th run."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": LINES[number % len(LINES)]}


def short_name(text: str, letters: int = _LETTERS) -> str:
    """A name for an axis or legend: one line, cut in the middle where it is long, never taken for a hidden label.

    >>> short_name("a" * 30, 9)
    'aaaa…aaaa'
    """
    text = one_line(text)
    if len(text) > letters:
        half = (letters - 1) // 2
        text = f"{text[: letters - 1 - half]}…{text[-half:]}"
    return f" {text}" if text.startswith("_") else text


def group_names(protocol: Protocol) -> dict[str, str]:
    """What each group is called in figures: its generator as printed, with the dataset where two would be alike."""
    plain = {group.key: group.taxon.display for group in protocol.groups}
    shown = list(plain.values())
    return {
        group.key: plain[group.key] if shown.count(plain[group.key]) == 1 else f"{plain[group.key]}, {group.dataset}"
        for group in protocol.groups
    }


def about_run(record: ResultRecord) -> str:
    """Model, seed, protocol and faces of a run, for a note."""
    name = record.model.display or record.model.name
    return f"{name}, seed {record.run.seed_text}, protocol {record.protocol.name}"
