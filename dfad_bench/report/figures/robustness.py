"""Robustness curves after GazeCLIP's Figure 6: a metric against severity, a panel a corruption, a line a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dfad_bench.core.escape import one_line
from dfad_bench.core.files import atomic_path
from dfad_bench.report.figures.style import PLAIN_TEXT, legend_name
from dfad_bench.report.robustness.tables import (
    NUMBERS,
    TITLES,
    Evaluation,
    about_corruptions,
    check_comparable,
    curves,
    headline_numbers,
)
from dfad_bench.report.run_record import protocol_of
from dfad_bench.report.trivial import ALWAYS_FAKE, trivial_scores_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dfad_bench.core.record import MetricValue

_COLUMNS = 4
_COLOURS = ("#2b6ca3", "#c8502f", "#3f8f5f", "#8c6bb1", "#b8892b", "#444444")
_MARKS = "osD^vP"


def save_robustness_figures(
    evaluations: Sequence[Evaluation], out: Path, keys: Sequence[str] = tuple(NUMBERS)
) -> list[Path]:
    """Write `robustness-<metric>.png` and `.svg` for each headline number that is defined; same numbers, same bytes.

    Args:
        evaluations: label, record and settings of each run; of one protocol.
        out: folder.
        keys: columns of `robustness_table.NUMBERS`.

    Raises:
        ConfigError: the runs are not comparable.
    """
    import matplotlib as mpl

    check_comparable(evaluations)
    paths = []
    for key in keys:
        lines = {label: curves(record, key) for label, record, _ in evaluations}
        if all(value.value is None for line in lines.values() for values in line.values() for value in values):
            continue
        name, title = f"robustness-{key.replace('_', '-')}", _title(key, evaluations)
        with mpl.rc_context({**PLAIN_TEXT, "svg.hashsalt": "dfad_bench", "font.size": 8, "axes.titlesize": 8}):
            figure = draw_robustness(key, evaluations)
            for suffix, facts in (("png", {"Software": None, "Title": title}), ("svg", {"Date": None, "Title": title})):
                with atomic_path(out / f"{name}.{suffix}") as temporary:
                    figure.savefig(temporary, dpi=150, metadata=facts)
                paths.append(out / f"{name}.{suffix}")
    return paths


def draw_robustness(
    key: str, evaluations: Sequence[Evaluation], *, width: float | None = None, title: bool = True
) -> Figure:
    """Panels of one column of `robustness_table.NUMBERS`; bands are 95 % intervals; dotted: a constant model.

    `width`: of the figure in inches, by default as wide as its panels; `title`: whether it has one.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = [(label, curves(record, key)) for label, record, _ in evaluations]
    about = about_corruptions([settings for _, _, settings in evaluations])
    names = list(dict.fromkeys(name for _, line in lines for name in line))
    columns = min(_COLUMNS, len(names))
    rows = math.ceil(len(names) / columns)
    wide = width or 2.6 * columns + 0.8
    figure = Figure(figsize=(wide, (wide - 0.8) / columns * 0.81 * rows + 1.0), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    floor = _trivial_value(key, evaluations)
    for panel, name in zip(panels, names, strict=False):
        for number, (label, line) in enumerate(lines):
            _curve(panel, legend_name(label), line.get(name, []), number)
        if floor is not None:
            panel.axhline(100 * floor, color="#888888", linestyle=":", linewidth=1, label=ALWAYS_FAKE)
        panel.set_title(one_line(about[name]["title"]) + ("" if about[name]["paper_exact"] else " *"))
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    for index in range(len(names)):
        if index % columns == 0:
            panels[index].set_ylabel(f"{TITLES[key]}, %")
        if index + columns >= len(names):
            panels[index].set_xlabel("severity")
            panels[index].tick_params(labelbottom=True)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4), frameon=False)
    if not title:
        return figure
    own = any(not facts["paper_exact"] for facts in about.values())
    figure.suptitle(_title(key, evaluations) + ("\n* not shown to be the papers'" if own else ""), fontsize=10)
    return figure


def _curve(axes: Axes, label: str, values: Sequence[MetricValue], number: int) -> None:
    known = [value for value in values if value.value is not None]
    if not known:
        return
    severity = [value.params["severity"] for value in known]
    colour, mark = _COLOURS[number % len(_COLOURS)], _MARKS[number % len(_MARKS)]
    heights = 100 * np.array([value.value for value in known], dtype=float)
    axes.plot(severity, heights, color=colour, marker=mark, markersize=3, linewidth=1.2, label=label)
    bounds = np.array([value.ci95 or (np.nan, np.nan) for value in known], dtype=float)
    axes.fill_between(severity, 100 * bounds[:, 0], 100 * bounds[:, 1], color=colour, alpha=0.18, linewidth=0)
    axes.set_xticks(sorted({0, *severity}))


def _trivial_value(key: str, evaluations: Sequence[Evaluation]) -> float | None:
    record = evaluations[0][1]
    protocol = protocol_of({"protocol": {"config": record.protocol.config}}, "record")
    scored = trivial_scores_of(record, protocol)[ALWAYS_FAKE]
    return headline_numbers(scored.metrics, protocol.attribution.headline)[key]


def _title(key: str, evaluations: Sequence[Evaluation]) -> str:
    return one_line(f"Robustness, {TITLES[key]}, protocol {evaluations[0][1].protocol.name}")
