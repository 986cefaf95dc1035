"""Strangers' names in figures: no formulas, no control characters, nothing left out of a legend, valid SVG."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from helpers.hostile_names import HOSTILE

from dfad_bench.core import escape
from dfad_bench.core.record import Sweep
from dfad_bench.report.figures import style
from dfad_bench.report.figures.sweep import draw_sweep

pytestmark = pytest.mark.filterwarnings("ignore:Glyph")  # letters that the font lacks


@pytest.mark.heavy
def test_a_figure_of_hostile_runs_is_drawn_whole(tmp_path: Path) -> None:
    names = ["$x$", r"$\frac{", "_run", "a\x1b[2Jb\nc", "\ud800", *HOSTILE[:2]]
    half = tuple(0.5 for _ in range(3))
    sweep = Sweep((0.0, 0.5, 1.0), half, half, half)
    draw_sweep(tmp_path / "a.svg", dict.fromkeys(names, sweep))
    ElementTree.parse(tmp_path / "a.svg")  # well-formed XML
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    for name in names:  # matplotlib draws letters as shapes and keeps each text in a comment
        shown = escape.one_line(name)
        if "--" not in shown and not name.isspace():
            assert shown.strip() in text or escape.html(shown).strip() in text
    assert escape.terminal(text) == text


def test_texts_of_gaze_figures_are_text(tmp_path: Path) -> None:
    with style.drawing():
        figure = style.new_figure(4, 4)
        for index, text in enumerate(HOSTILE):
            style.text_at(figure, 0.1, index * 0.06, text)
        for path in style.save(figure, tmp_path, "figure", "a\x1b[2J$\n\ud800$"):
            assert path.stat().st_size > 0
    ElementTree.parse(tmp_path / "figure.svg")


def test_a_name_with_an_underscore_is_in_the_legend() -> None:
    assert style.legend_name("_run") == " _run"
    assert style.legend_name("run") == "run"
