"""P(forged) of every test group as a histogram, real groups first, then seen and unseen forged ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.core.labels import REAL
from dfad_bench.core.protocol import Protocol
from dfad_bench.report.figures.style import FORGERY_COLOURS, REAL_COLOUR, forgery_handles
from dfad_bench.report.open_world.run_arrays import RunArrays
from dfad_bench.report.run_figures.base import (
    AbsentFigure,
    Figures,
    FigureStyle,
    MadeFigure,
    ReportFacts,
    about_run,
    group_names,
    new_figure,
    short_name,
)
from dfad_bench.report.table import Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BINS = 20
_EDGES = np.linspace(0, 1, _BINS + 1)


def make(facts: ReportFacts) -> Figures:
    """A figure a run."""
    made: list[MadeFigure | AbsentFigure] = []
    for label, run in facts.runs.items():
        if run.record.model.heads == "attribution":
            made.append(AbsentFigure("scores", "the detection expert was not trained", label))
            continue
        table = _table(run, label)
        sources = sum(row["sources"] for row in table.rows)
        note = (
            f"{about_run(run.record)}; {len(run.test.p_fake):,} test faces of {sources:,} sources in the groups. Each"
            f" histogram has {_BINS} bins and its own height; dotted: 0.5, above which faces are called forged. Unseen"
            " groups are in italics."
        )
        alt = f"{len(table.rows)} histograms of the probability of forged, real groups above."
        made.append(
            MadeFigure(
                facts.stem_of("scores", label),
                f"P(forged) by group, {label}",
                note,
                alt,
                table,
                _drawer(table, run.protocol),
            )
        )
    return made


def _table(run: RunArrays, label: str) -> Table:
    faces = run.test
    order = sorted(
        [*faces.seen, *faces.unseen, *faces.processed],
        key=lambda key: (faces.detection_label_of[key] != REAL, key not in faces.seen),
    )
    rows: list[Mapping[str, Any]] = []
    for key in order:
        mine = faces.of([key])
        counts = np.histogram(faces.p_fake[mine], _EDGES)[0]
        row: dict[str, Any] = {"group": key, "seen": "yes" if key in faces.seen else "no", "n": int(mine.sum())}
        row |= {"sources": faces.sources_of(mine), "median": float(np.median(faces.p_fake[mine]))}
        rows.append(row | {f"b{k}": int(count) for k, count in enumerate(counts)})
    columns = [Column("group", "Group", "text"), Column("seen", "Seen", "text"), Column("n", "n", "count")]
    columns += [Column("sources", "Sources", "count"), Column("median", "Median", "number", 3)]
    columns += [Column(f"b{k}", f"{_EDGES[k]:.2f}–{_EDGES[k + 1]:.2f}", "count") for k in range(_BINS)]
    return Table(f"P(forged) by group, {label}", tuple(columns), rows)


def _drawer(table: Table, protocol: Protocol) -> Any:
    def draw(style: FigureStyle) -> Figure:
        return _draw(table.rows, protocol, style)

    return draw


def _draw(rows: Any, protocol: Protocol, style: FigureStyle) -> Figure:
    names = group_names(protocol)
    taxa = {group.key: group.taxon for group in protocol.groups}
    step = style.text_pt * 1.75 / 72
    figure = new_figure(style.column_in, step * len(rows) + 1.1)
    axis = figure.subplots()
    used: set[str] = set()
    for place, row in enumerate(rows):
        counts = np.array([row[f"b{k}"] for k in range(_BINS)], dtype=float)
        forgery = str(taxa[row["group"]].forgery.value)
        real = taxa[row["group"]].detection_label == REAL
        colour = REAL_COLOUR if real else FORGERY_COLOURS.get(forgery, FORGERY_COLOURS["none"])
        used |= set() if real else {forgery}
        base, heights = len(rows) - 1 - place, 0.85 * counts / max(counts.max(), 1)
        axis.fill_between(
            np.repeat(_EDGES, 2)[1:-1], base, base + np.repeat(heights, 2), color=colour, linewidth=0, alpha=0.9
        )
        axis.axhline(base, color="#BBBBBB", linewidth=0.4, zorder=0)
    axis.axvline(0.5, color="black", linewidth=0.7, linestyle=":")
    axis.set_yticks(
        [len(rows) - 1 - place + 0.3 for place in range(len(rows))],
        [f"{short_name(names[row['group']], 20)} ({row['n']})" for row in rows],
    )
    for text, row in zip(axis.get_yticklabels(), rows, strict=True):
        text.set_fontstyle("normal" if row["seen"] == "yes" else "italic")
    axis.set(xlim=(0, 1), ylim=(-0.1, len(rows)), xlabel="P(forged)")
    axis.set_xticks([0, 0.5, 1], labels=["0", "0.5", "1"])
    axis.tick_params(axis="y", length=0)
    _legend(figure, used)
    return figure


def _legend(figure: Figure, used: set[str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=REAL_COLOUR, label="real"), *forgery_handles(used)]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, handlelength=1.2, columnspacing=1.0)
