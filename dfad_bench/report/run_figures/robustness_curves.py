"""Numbers over severities of corruptions (GazeCLIP's Fig. 6), from evaluations that were made before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dfad_bench.core.errors import DFADError
from dfad_bench.report.figures.robustness import draw_robustness
from dfad_bench.report.robustness.tables import NUMBERS, TITLES, Evaluation, check_comparable, curves
from dfad_bench.report.run_figures.base import AbsentFigure, Figures, FigureStyle, MadeFigure, ReportFacts
from dfad_bench.report.table import Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HOW = "`dfad evaluate --run RUN --manifest DIR --corruptions all` makes it"


def make(facts: ReportFacts) -> Figures:
    """A figure a headline number, a panel a corruption, a line an evaluation."""
    absent = [
        AbsentFigure("robustness", f"no evaluation on corrupted faces; {HOW}", label)
        for label in facts.runs
        if not facts.robustness.get(label)
    ]
    found = [one for several in facts.robustness.values() for one in several]
    if not found:
        return absent
    try:
        check_comparable(found)
    except DFADError as error:
        return [*absent, AbsentFigure("robustness", str(error))]
    made = []
    for key in NUMBERS:
        values = [value for _, record, _ in found for line in curves(record, key).values() for value in line]
        if not any(value.value is not None for value in values):
            continue
        title, faces = f"Robustness, {TITLES[key]}", max(value.n for value in values)
        note = (
            f"{faces:,} test faces a cell; severity 0 is the faces as they are. Bands: 95 % over sources, of the"
            " records. Dotted: a constant model. * not shown to be the papers' own."
        )
        alt = f"{TITLES[key]} against severity, a panel a corruption, a line a run."
        name = f"robustness-{key.replace('_', '-')}"
        made.append(MadeFigure(name, title, note, alt, _table(title, key, found), _drawer(key, found)))
    return [*made, *absent]


def _drawer(key: str, found: Sequence[Evaluation]) -> Any:
    def draw(style: FigureStyle) -> Figure:
        names = {name for _, record, _ in found for name in curves(record, key)}
        return draw_robustness(key, found, width=style.column_in if len(names) == 1 else style.wide_in, title=False)

    return draw


def _table(title: str, key: str, found: Sequence[Evaluation]) -> Table:
    rows: list[Mapping[str, Any]] = []
    for label, record, _ in found:
        for corruption, line in curves(record, key).items():
            for value in line:
                low, high = value.ci95 or (None, None)
                row = {"run": label, "corruption": corruption, "severity": value.params["severity"]}
                rows.append(row | {"value": value.value, "low": low, "high": high, "n": value.n})
    columns = (
        Column("run", "Run", "text"), Column("corruption", "Corruption", "text"),
        Column("severity", "Severity", "count"), Column("value", TITLES[key], "percent"),
        Column("low", "95 % from", "percent"), Column("high", "to", "percent"), Column("n", "n", "count"),
    )  # fmt: skip
    return Table(title, columns, rows, names=3)
