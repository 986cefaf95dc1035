"""Accuracy by release month of the generators, drawn: a line a generator, the oldest at the top.

Lines, not points over an axis of time: many generators are of one month, and each is to be read by name. Those without
a month that places them in time stand below, under a heading of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfad_bench.core.escape import one_line
from dfad_bench.core.files import atomic_path
from dfad_bench.report.figures.style import SMALL_PT, drawing, legend_name, new_figure
from dfad_bench.report.open_world.months_table import ANSWERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito
_MARKERS = "osD^vPX"
_LINE_IN, _RUN_IN = 0.17, 0.07  # of a generator, and more for each further run
_LONGEST = 28  # characters of a name
_TITLES = {"detected": "called forged", "attributed": "attribution right"}


def draw_months(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw the rows of a table of months: filled marks for seen generators, hollow ones for unseen, 95 % intervals."""
    with drawing():
        figure = _draw(rows)
        metadata = {"Date": None} if path.suffix == ".svg" else None  # the same file from run to run
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=path.suffix.lstrip(".") or "png", dpi=200, metadata=metadata)


def _draw(rows: Sequence[Mapping[str, Any]]) -> Figure:
    answers = [key for key in ANSWERS if any(row.get(key) is not None for row in rows)]
    runs = list(dict.fromkeys(row["model"] for row in rows))
    lines = list(dict.fromkeys((row["placed"], row["generator"], row["group"]) for row in rows))
    undated = [line for line in lines if line[0] is None]
    height = (len(lines) + (2 if undated else 0)) * (_LINE_IN + _RUN_IN * (len(runs) - 1))
    figure = new_figure(1.9 + 2.6 * max(len(answers), 1), 0.85 + height + 0.13 * len(runs))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(1, max(len(answers), 1), sharey=True, squeeze=False)[0]
    places = {line: k + (1.5 if line[0] is None and len(undated) < len(lines) else 0) for k, line in enumerate(lines)}
    known = {(row["placed"], row["generator"], row["group"]): row for row in rows}
    for axis, key in zip(axes, answers, strict=False):
        for number, run in enumerate(runs):
            shift = 0.7 * ((number + 0.5) / len(runs) - 0.5)
            mine = [row for row in rows if row["model"] == run and row.get(key) is not None]
            _draw_run(axis, key, mine, places, shift, number)
        axis.set(xlim=(-2, 102), xlabel="% of faces", title=_TITLES[key])
        axis.grid(axis="x", alpha=0.3, linewidth=0.4)
        axis.set_ylim(max(places.values(), default=0) + 0.7, -0.7)
        _separate_years(axis, lines, places)
    axes[0].set_yticks(list(places.values()), [_line_name(known[line]) for line in lines], fontsize=SMALL_PT)
    for axis in axes:
        axis.tick_params(axis="y", length=0)
    figure.legend(handles=_handles(runs), loc="outside lower left", frameon=False, ncols=2)
    return figure


def _draw_run(
    axis: Axes, key: str, rows: Sequence[Mapping[str, Any]], places: Mapping[Any, float], shift: float, number: int
) -> None:
    colour, marker = _COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)]
    for row in rows:
        at = places[row["placed"], row["generator"], row["group"]] + shift
        if row.get(f"{key}_low") is not None:
            ends = (100 * row[f"{key}_low"], 100 * row[f"{key}_high"])
            axis.plot(ends, (at, at), color=colour, linewidth=0.8, solid_capstyle="butt")
        inside = colour if row["side"] == "seen" else "white"
        axis.plot(100 * row[key], at, marker, color=colour, markerfacecolor=inside, markersize=3.5, markeredgewidth=0.8)


def _separate_years(axis: Axes, lines: Sequence[tuple[Any, ...]], places: Mapping[Any, float]) -> None:
    """A hairline between years, and a heading above generators without a month."""
    for before, after in zip(lines, lines[1:], strict=False):
        middle = (places[before] + places[after]) / 2
        if after[0] is None and before[0] is not None:
            axis.axhline(middle, color="black", linewidth=0.6)
        elif after[0] is not None and before[0][:4] != after[0][:4]:
            axis.axhline(middle, color="#BBBBBB", linewidth=0.4)


def _line_name(row: Mapping[str, Any]) -> str:
    """The name of a generator, its month and how that is known."""
    name = one_line(str(row["generator"]))
    name = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    if row["placed"] is None:
        return f"{name}   no month"
    return f"{name}   {row['month']} {row['known']}"


def _handles(runs: Sequence[str]) -> list[Any]:
    """A mark for each run, and what filled and hollow ones mean."""
    from matplotlib.lines import Line2D

    look: dict[str, Any] = {"linestyle": "", "markersize": 3.5, "markeredgewidth": 0.8}
    made = [
        Line2D([], [], marker=_MARKERS[k % len(_MARKERS)], color=_COLOURS[k % len(_COLOURS)], label=legend_name(run),
               **look)
        for k, run in enumerate(runs)
    ]  # fmt: skip
    grey = "#555555"
    made.append(Line2D([], [], marker="o", color=grey, label="seen in training", **look))
    made.append(Line2D([], [], marker="o", color=grey, markerfacecolor="white", label="unseen; bars: 95 %", **look))
    made.append(Line2D([], [], linestyle="", label="V, W, K: how a month is known (read, read elsewhere, not read)"))
    return made
