"""The figures of a report by name. A new one is a file here and a line in `FIGURES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from dfad_bench.core.errors import UnknownNameError

if TYPE_CHECKING:
    from dfad_bench.report.run_figures.base import Figures, ReportFacts


@dataclass(frozen=True)
class FigureEntry:
    """Where a figure is made (`module:function`), what it shows, and what beyond a run it needs."""

    maker: str
    about: str
    needs: str = ""

    def make(self, facts: ReportFacts) -> Figures:
        """The figure of these runs, not drawn yet, or why there is none."""
        module, _, function = self.maker.partition(":")
        made: Callable[[ReportFacts], Figures] = getattr(import_module(module), function)
        return made(facts)


_HERE = "dfad_bench.report.run_figures"
FIGURES = {
    "confusion": FigureEntry(f"{_HERE}.confusion:make", "which generator faces are named as, unseen groups, too"),
    "roc": FigureEntry(f"{_HERE}.ranking_curves:make_roc", "hits against alarms: forged or real, seen or unseen"),
    "precision-recall": FigureEntry(f"{_HERE}.ranking_curves:make_precision", "precision against recall of the same"),
    "reliability": FigureEntry(f"{_HERE}.reliability:make", "share named rightly against confidence"),
    "risk-coverage": FigureEntry(f"{_HERE}.risk_coverage:make", "wrong answers among the surest faces"),
    "scores": FigureEntry(f"{_HERE}.score_histograms:make", "P(forged) by group"),
    "embeddings": FigureEntry(f"{_HERE}.embedding_map:make", "t-SNE of embeddings by generator", "kept outputs"),
    "heat-maps": FigureEntry(
        f"{_HERE}.heat_map_grid:make", "where models look, runs by generators", "--manifest, a checkpoint"
    ),
    "words": FigureEntry(f"{_HERE}.word_matrix:make", "weights of words by a word selector (AWS)", "a model with AWS"),
    "gaze-angles": FigureEntry(
        f"{_HERE}.gaze_angles:make", "gaze of real and forged faces, for runs that read it", "--manifest"
    ),
    "robustness": FigureEntry(
        f"{_HERE}.robustness_curves:make", "numbers over severities of corruptions", "`dfad evaluate --corruptions`"
    ),
    "experts": FigureEntry(f"{_HERE}.expert_bars:make", "one expert alone beside both", "runs with --heads"),
    "training": FigureEntry(f"{_HERE}.training_curves:make", "losses and validation over training", "a trace"),
    "mistakes": FigureEntry(
        f"{_HERE}.extreme_faces:make", "the most confident mistakes and the most confident right answers"
    ),
    "sources": FigureEntry(f"{_HERE}.source_errors:make_sources", "errors by source (identity or video of origin)"),
    "videos": FigureEntry(f"{_HERE}.source_errors:make_videos", "errors by video", "predictions of frames of videos"),
}


def figure_entries(names: tuple[str, ...]) -> dict[str, FigureEntry]:
    """The figures of these names in the table's order; all where none is named.

    Raises:
        UnknownNameError: no such figure.
    """
    for name in names:
        if name not in FIGURES:
            raise UnknownNameError("figure", name, FIGURES)
    return {name: entry for name, entry in FIGURES.items() if not names or name in names}
