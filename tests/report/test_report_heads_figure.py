"""GazeCLIP's Fig. 9: bars are the table's numbers, whiskers the spread of its seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.container import BarContainer

from dfad_bench.core.protocol import load_protocol
from dfad_bench.report.figures.heads import draw_heads, expert_pairs, heads_figure
from dfad_bench.report.paper_table import paper_table, shown_columns
from dfad_bench.report.reported import load_table
from dfad_bench.report.table import Column, Table

FIGURE = load_table("gazeclip-figure-09")
COLUMNS = shown_columns(FIGURE, load_protocol("gazeclip-df40"))
VALUES = {"GazeCLIP": (0.5, 0.4, 0.8, 0.85, 0.7, 0.75), "$CLIP_": (0.3, None, 0.6, 0.65, 0.5, None)}


def row(name: str, kind: str = "measured") -> dict[str, Any]:
    cells = {f"c{place}": value for place, value in enumerate(VALUES[name])}
    return {"row": name, "kind": kind, "model": "x", "seeds": "0, 1", "sd": {"c0": 0.1}, **cells}


def table(*rows: dict[str, Any]) -> Table:
    heads = (Column("row", "Row", "text"), *(Column(f"c{place}", "x", "percent") for place in range(6)))
    return Table("GazeCLIP, Fig. 9: experts", heads, rows, ("A note that is long. " * 12,), {})


def test_each_metric_has_a_panel_of_one_expert_beside_both() -> None:
    assert FIGURE.is_figure
    assert expert_pairs(COLUMNS) == {
        ("attribution", "acc"): (0, 1),
        ("detection", "acc"): (2, 3),
        ("detection", "auc"): (4, 5),
    }
    for name in ("gazeclip-table-02", "bmrl-table-04"):
        other = load_table(name)
        assert not other.is_figure
        assert expert_pairs(other.columns) == {}


@pytest.mark.heavy
def test_bars_are_the_numbers_and_whiskers_their_spread() -> None:
    rows = [row("GazeCLIP"), row("$CLIP_")]
    figure = heads_figure(table(*rows), COLUMNS)
    for number, panel in enumerate(figure.axes):
        bars = [(round(bar.get_x() + bar.get_width() / 2), bar.get_height()) for bar in panel.patches]
        pairs = [(2 * number + both, at, row) for both in (0, 1) for at, row in enumerate(rows)]
        wanted = [(at, 100 * row[f"c{place}"]) for place, at, row in pairs if row[f"c{place}"] is not None]
        assert [at for at, _ in bars] == [at for at, _ in wanted]
        assert [height for _, height in bars] == pytest.approx([height for _, height in wanted])
        assert [label.get_text().replace("\n", "") for label in panel.get_xticklabels()] == ["GazeCLIP", "$CLIP_"]
    whiskers = figure.axes[0].collections[0].get_segments()
    assert [(low[1], high[1]) for low, high in whiskers] == [pytest.approx((40, 60)), pytest.approx((20, 40))]


@pytest.mark.heavy
def test_the_same_numbers_are_the_same_bytes(tmp_path: Path) -> None:
    made = table(row("GazeCLIP"), row("$CLIP_", "printed"))
    (tmp_path / "a").mkdir()
    paths = draw_heads(made, COLUMNS, tmp_path / "a", "fig")
    assert [path.name for path in paths] == ["fig.png", "fig.svg", "fig.pdf"]
    (tmp_path / "b").mkdir()
    again = draw_heads(made, COLUMNS, tmp_path / "b", "fig")
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]


def test_nothing_is_drawn_where_nothing_is_measured(tmp_path: Path) -> None:
    made = paper_table(FIGURE, [], load_protocol("gazeclip-df40"), {})
    assert draw_heads(made, COLUMNS, tmp_path, "fig") == []
    assert list(tmp_path.iterdir()) == []


def test_one_seed_has_no_whisker() -> None:
    figure = heads_figure(table(row("GazeCLIP")), COLUMNS)
    shown = [
        bool(np.isfinite(bars.errorbar.lines[2][0].get_paths()[0].vertices).all())
        for axes in figure.axes[:3]
        for bars in axes.containers
        if isinstance(bars, BarContainer)
    ]
    assert shown == [True] + [False] * 5  # the row has a deviation of its first column only
