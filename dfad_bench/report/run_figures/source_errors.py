"""Errors by source and by video: are they spread over faces, or a few people's?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.core.escape import one_line
from dfad_bench.report.open_world.risk_table import answers
from dfad_bench.report.open_world.run_arrays import RunArrays
from dfad_bench.report.run_figures.base import (
    COLOURS,
    AbsentFigure,
    Figures,
    FigureStyle,
    MadeFigure,
    ReportFacts,
    about_run,
    new_figure,
    short_name,
)
from dfad_bench.report.table import Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WORST = 12  # named in the figure
_TITLES = {"attribution": "attribution, seen faces", "detection": "detection, all faces"}
_LETTERS = 24  # of a name
_LEAST = 2  # units, or there is nothing to compare


def make_sources(facts: ReportFacts) -> Figures:
    """A figure a run: shares of wrong answers by `source_key`."""
    return [
        _figure_of(facts, label, run, "sources", "source", run.test.source, run.test.source != "")
        for label, run in facts.runs.items()
    ]


def make_videos(facts: ReportFacts) -> Figures:
    """A figure a run whose predictions name videos."""
    made: list[MadeFigure | AbsentFigure] = []
    for label, run in facts.runs.items():
        frame = run.test_frame
        if "video" not in frame or not frame["video"].notna().any():
            made.append(AbsentFigure("videos", "its test faces are no frames of videos", label))
            continue
        there = frame["video"].notna().to_numpy()
        names = np.char.add(np.char.add(run.test.group, ": "), frame["video"].fillna("").to_numpy(dtype=str))
        made.append(_figure_of(facts, label, run, "videos", "video", names, there))
    return made


def _figure_of(
    facts: ReportFacts, label: str, run: RunArrays, stem: str, unit: str, names: np.ndarray, there: np.ndarray
) -> MadeFigure | AbsentFigure:
    rows: list[Mapping[str, Any]] = []
    for answer, (among, _, losses) in answers(run.test).items():
        if answer in _TITLES and run.record.model.heads in ("both", answer):
            rows += _shares(names, among & there, losses, answer)
    counts = {answer: sum(row["answer"] == answer for row in rows) for answer in _TITLES}
    if max(counts.values(), default=0) < _LEAST:
        return AbsentFigure(stem, f"fewer than {_LEAST} {unit}s", label)
    title = f"Errors by {unit}, {label}"
    sizes = ", ".join(f"{n:,} {unit}s for {_TITLES[answer]}" for answer, n in counts.items() if n)
    note = (
        f"{about_run(run.record)}; {sizes}. Left: how many {unit}s have which share of wrong answers;"
        f" expected: were all faces equally hard, errors falling on them by chance (seed {facts.seed}). Right: the"
        f" {unit}s with the most wrong answers beyond their share of all; the pale bar has all their faces."
    )
    columns = (
        Column("answer", "Answer", "text"), Column("name", unit.capitalize(), "text"), Column("n", "Faces", "count"),
        Column("wrong", "Wrong", "count"), Column("share", "Share wrong", "percent"),
    )  # fmt: skip
    table = Table(title, columns, rows, names=2)
    alt = f"Histogram of the share of wrong answers by {unit}, and the worst {unit}s by name."
    return MadeFigure(facts.stem_of(stem, label), title, note, alt, table, _drawer(rows, unit, facts.seed))


def _shares(names: np.ndarray, among: np.ndarray, losses: np.ndarray, answer: str) -> list[dict[str, Any]]:
    units, place = np.unique(names[among], return_inverse=True)
    n = np.bincount(place, minlength=len(units))
    wrong = np.bincount(place, weights=losses[among].astype(float), minlength=len(units)).astype(int)
    order = np.lexsort((units, wrong.sum() / max(n.sum(), 1) * n - wrong))  # most beyond what is expected
    return [
        {
            "answer": answer,
            "name": str(units[k]),
            "n": int(n[k]),
            "wrong": int(wrong[k]),
            "share": float(wrong[k] / n[k]),
        }
        for k in order
    ]


def _drawer(rows: Sequence[Mapping[str, Any]], unit: str, seed: int) -> Any:
    def draw(style: FigureStyle) -> Figure:
        return _draw(rows, unit, seed, style)

    return draw


def _draw(rows: Sequence[Mapping[str, Any]], unit: str, seed: int, style: FigureStyle) -> Figure:
    shown = [answer for answer in _TITLES if any(row["answer"] == answer for row in rows)]
    figure = new_figure(style.wide_in, style.wide_in * 0.34 * len(shown))
    grid = figure.subplots(len(shown), 2, squeeze=False, width_ratios=(1, 1.1))
    for (left, right), answer in zip(grid, shown, strict=True):
        mine = [row for row in rows if row["answer"] == answer]
        edges = np.linspace(0, 100, 11)
        shares = [100 * row["share"] for row in mine]
        left.hist(shares, edges, color=COLOURS[0], edgecolor="white", linewidth=0.5, label="measured")
        left.stairs(
            _expected_counts(mine, edges, seed), edges, color="black", linestyle="--", label="expected by chance"
        )
        left.set(title=_TITLES[answer], xlabel="wrong answers, %", ylabel=f"{unit}s", xlim=(0, 100))
        left.legend(loc="upper center")
        worst = mine[:_WORST]
        right.barh(range(len(worst)), [row["n"] for row in worst], color="#CCCCCC", height=0.7)
        right.barh(range(len(worst)), [row["wrong"] for row in worst], color=COLOURS[1], height=0.7)
        right.set_yticks(range(len(worst)), [_end_of(row["name"]) for row in worst])
        right.invert_yaxis()
        right.locator_params(axis="x", nbins=5, integer=True)
        right.set(xlabel="faces, wrong ones dark", title=f"worst {unit}s")
    return figure


def _end_of(name: str) -> str:
    """The end of a long name, where names of one dataset differ."""
    name = one_line(name)
    return short_name(name) if len(name) <= _LETTERS else f"…{name[-_LETTERS + 1 :]}"


def _expected_counts(rows: Sequence[Mapping[str, Any]], edges: np.ndarray, seed: int) -> np.ndarray:
    """Mean counts of a histogram where as many errors fall on all faces alike, of 200 draws."""
    n = np.array([row["n"] for row in rows])
    errors, rng = sum(row["wrong"] for row in rows), np.random.default_rng(seed)
    drawn = [np.histogram(100 * rng.multivariate_hypergeometric(n, errors) / n, edges)[0] for _ in range(200)]
    expected: np.ndarray = np.mean(drawn, axis=0)
    return expected
