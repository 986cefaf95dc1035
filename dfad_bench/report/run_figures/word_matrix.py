"""Weights of the words of prompts by word selectors (GazeCLIP's Fig. 11): generators by levels of prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.report.run_figures.base import (
    AbsentFigure,
    Figures,
    FigureStyle,
    MadeFigure,
    ReportFacts,
    WordWeight,
    new_figure,
    short_name,
)
from dfad_bench.report.table import Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def make(facts: ReportFacts) -> Figures:
    """A matrix a run with word selectors."""
    made: list[MadeFigure | AbsentFigure] = []
    for label in facts.runs:
        found = facts.words(label)
        if isinstance(found, str) or not found:
            made.append(AbsentFigure("words", found if isinstance(found, str) else "no words", label))
            continue
        title = f"Weights of words, {label}"
        note = (
            f"{label}: the learned weight of each word of the prompts of seen generators, the mean over the blocks of"
            " the text tower, divided by the largest size. It belongs to a place in the prompt, not to the word: equal"
            " places of two generators are equal, and weights start at random (normal, deviation 1). No faces enter."
        )
        rows: list[Mapping[str, Any]] = [vars(word) for word in found]
        columns = (
            Column("generator", "Generator", "text"), Column("level", "Level", "count"),
            Column("place", "Place", "count"), Column("word", "Word", "text"), Column("weight", "Weight", "number", 4),
        )  # fmt: skip
        alt = "A row a generator, a cell a word of its prompts, by level; bright words weigh more."
        made.append(
            MadeFigure(
                facts.stem_of("words", label), title, note, alt, Table(title, columns, rows, names=4), _drawer(found)
            )
        )
    return made


def _drawer(found: Sequence[WordWeight]) -> Any:
    def draw(style: FigureStyle) -> Figure:
        return _draw(found, style)

    return draw


def _draw(found: Sequence[WordWeight], style: FigureStyle) -> Figure:
    generators = list(dict.fromkeys(word.generator for word in found))
    levels = sorted({word.level for word in found})
    widths = {level: max(word.place for word in found if word.level == level) + 1 for level in levels}
    starts = dict(zip(levels, np.cumsum([0, *widths.values()][: len(levels)]).tolist(), strict=True))
    values = np.full((len(generators), sum(widths.values())), np.nan)
    for word in found:
        values[generators.index(word.generator), starts[word.level] + word.place] = word.weight
    values /= np.nanmax(np.abs(values)) or 1.0
    figure = new_figure(style.wide_in, 0.24 * len(generators) * style.text_pt / 8 + 1.7)
    axis = figure.subplots()
    image = axis.imshow(values, cmap="cividis", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    axis.set_yticks(range(len(generators)), [short_name(name, 24) for name in generators])
    first = generators[-1]
    words = {starts[word.level] + word.place: word.word for word in found if word.generator == first}
    axis.set_xticks(list(words), [short_name(word, 12) for word in words.values()], rotation=90)
    for text in axis.get_xticklabels():
        text.set_fontsize(style.text_pt - 2)
    for level in levels:
        axis.axvline(starts[level] - 0.5, color="white", linewidth=2.5)
        axis.text(starts[level] + widths[level] / 2 - 0.5, -0.7, f"L{level}", ha="center", va="bottom")
    axis.set_xlabel(f"words of {short_name(first, 40)}; others differ where a column is split")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    bar = figure.colorbar(image, ax=axis, shrink=0.7, pad=0.01)
    bar.set_ticks([-1, 0, 1])
    return figure
