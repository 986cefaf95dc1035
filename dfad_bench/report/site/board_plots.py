"""What stands below a board: figures of a section with the tables behind them, and the files of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dfad_bench.report.board_order import section_ranges
from dfad_bench.report.robustness.tables import TITLES
from dfad_bench.report.site.curve_plots import (
    ROBUST,
    Curves,
    risk_curves,
    risk_of,
    robustness_curves,
    robustness_of,
    sweep_curves,
    sweep_of,
)
from dfad_bench.report.site.facts import SiteBoard, SiteFacts
from dfad_bench.report.site.heat import shade_of
from dfad_bench.report.site.html_table import Download, Dress, HtmlTable, html_table
from dfad_bench.report.site.interval_plot import Interval, interval_figure, ranked_column, ranked_intervals
from dfad_bench.report.site.line_plot import MOST, line_plot
from dfad_bench.report.site.run_curves import RunCurves
from dfad_bench.report.site.svg import Figure
from dfad_bench.report.site.wins import win_table
from dfad_bench.report.table import Column, Table, render

if TYPE_CHECKING:
    from markupsafe import Markup

_TITLES = {"csv": "CSV", "tex": "LaTeX", "svg": "SVG"}


@dataclass(frozen=True)
class Plot:
    """A figure of one section (None: a table alone) with the table behind it, and the files of both."""

    heading: str
    about: str
    drawing: Markup | None
    table: HtmlTable
    files: Sequence[tuple[str, str]]


def downloads_of(stem: str, kinds: Sequence[str] = ("csv", "tex")) -> list[Download]:
    """The files of a table, by their suffixes."""
    return [Download(f"{stem}.{kind}", _TITLES[kind]) for kind in kinds]


def section_plots(facts: SiteFacts, board: SiteBoard, stem: str) -> dict[str, list[Plot]]:
    """Figures by kind, one a section, since rows of different sections do not compare."""
    kinds = ("intervals", "sweeps", "risk", "robustness", "wins")
    found: dict[str, list[Plot]] = {kind: [] for kind in kinds}
    for place, block in enumerate(section_ranges(board.table)):
        rows = [board.table.rows[number] for number in block]
        heading = board.table.sections.get(block.start, "")
        found["intervals"] += _intervals(board, heading, f"intervals-{place}", rows, stem)
        found["sweeps"] += _sweeps(facts, board, heading, f"sweep-{place}", rows, stem)
        found["risk"] += _risk(facts, board, heading, f"risk-{place}", rows, stem)
        found["robustness"] += _robustness(facts, board, heading, f"robustness-{place}", rows, stem)
        found["wins"] += _wins(board, heading, f"wins-{place}", rows, stem)
    return found


def _intervals(
    board: SiteBoard, heading: str, name: str, rows: Sequence[Mapping[str, Any]], stem: str
) -> Iterator[Plot]:
    number, intervals = ranked_intervals(rows)
    what = f"{number} and its 95 % intervals"
    figure = interval_figure(name, f"{what}: {heading}", number, intervals)
    if figure is not None:
        table = interval_table(f"{board.table.title}, {heading}: {what}", number, intervals)
        yield _with_files(heading, figure, table, name, stem)


def _sweeps(
    facts: SiteFacts, board: SiteBoard, heading: str, name: str, rows: Sequence[Mapping[str, Any]], stem: str
) -> Iterator[Plot]:
    names = _ranked_names(board, rows)
    known = {board.row_key(row): sweep_of(facts.records_of(row)) for row in rows if board.row_key(row) in names}
    sweeps = {key: known[key] for key in names}
    found = {key: sweep for key, sweep in sweeps.items() if sweep is not None}
    if found:
        curves = sweep_curves(f"{board.table.title}, {heading}: attribution over thresholds", found, names)
        about = "over the threshold of confidence below which a face is called unseen"
        yield from _curves(f"Attribution over thresholds: {heading}", about, curves, heading, name, stem, list(names))


def _risk(
    facts: SiteFacts, board: SiteBoard, heading: str, name: str, rows: Sequence[Mapping[str, Any]], stem: str
) -> Iterator[Plot]:
    names, found = _ranked_names(board, rows), _read_curves(facts, board, rows)
    risks = {key: risk for key in names if (risk := risk_of(found[key]))}
    if risks:
        curves = risk_curves(f"{board.table.title}, {heading}: risk over coverage", risks, names)
        about = "the share of wrong answers among the faces it is surest of, over the share of faces answered, %"
        yield from _curves(f"Risk over coverage: {heading}", about, curves, heading, name, stem, list(names))


def _robustness(
    facts: SiteFacts, board: SiteBoard, heading: str, name: str, rows: Sequence[Mapping[str, Any]], stem: str
) -> Iterator[Plot]:
    names, read = _ranked_names(board, rows), _read_curves(facts, board, rows)
    found = {key: curve for key in names if (curve := robustness_of(read[key]))}
    for number in ROBUST:
        title = f"{board.table.title}, {heading}: {TITLES[number]} on corrupted faces"
        curves = robustness_curves(title, number, found, names)
        if curves is not None:
            about = f"{TITLES[number]} in percent over severities, 0 being the faces as they are"
            where = f"{TITLES[number]} on corrupted faces: {heading}"
            yield from _curves(
                where, about, curves, heading, f"{name}-{number.replace('_', '-')}", stem, list(names), 2
            )


def _ranked_names(board: SiteBoard, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What the ranked rows of a section are called, by key, in the order of their places."""
    return {board.row_key(row): str(row["model"]) for row in ranked_column(rows)[1] if board.row_key(row)}


def _read_curves(facts: SiteFacts, board: SiteBoard, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[RunCurves]]:
    """Of each row what was read from the folders of its runs, a run each."""
    return {board.row_key(row): [facts.curves_of(one) for one in facts.records_of(row)] for row in rows}


def _curves(
    title: str, about: str, curves: Curves, heading: str, name: str, stem: str, every: Sequence[str], columns: int = 1
) -> Iterator[Plot]:
    words = f"A curve a model, in the order of their places: {about}. The numbers are in the table behind this figure."
    figure = line_plot(name, title, words, curves.panels, curves.names, columns, every)
    if figure is None:
        return
    first = set(list(curves.names)[:MOST])
    short = replace(curves.wide, rows=[row for row in curves.wide.rows if row["row"] in first])
    downloads = downloads_of(f"{stem}-{name}", ("csv", "tex", "svg"))
    contents = (render(curves.points, "csv"), render(short, "latex"), figure.file.file())
    dress = Dress(data=lambda row: {"row": str(row["row"])})
    shown = html_table(curves.wide, f"{name}-numbers", dress=dress, downloads=downloads)
    files = list(zip((one.name for one in downloads), contents, strict=True))
    yield Plot(heading, figure.inline.about, figure.inline.inline(), shown, files)


def _wins(board: SiteBoard, heading: str, name: str, rows: Sequence[Mapping[str, Any]], stem: str) -> Iterator[Plot]:
    table = win_table(f"{board.table.title}, {heading}", rows)
    if table is None:
        return

    def heat(column: Column, value: Any) -> int | None:
        return shade_of(value) if column.kind == "percent" else None

    downloads = downloads_of(f"{stem}-{name}")
    files = [(downloads[0].name, render(table, "csv")), (downloads[1].name, render(table, "latex"))]
    shown = html_table(table, f"{name}-numbers", dress=Dress(heat=heat), downloads=downloads)
    yield Plot(heading, "", None, shown, files)


def _with_files(heading: str, figure: Figure, table: Table, name: str, stem: str) -> Plot:
    downloads = downloads_of(f"{stem}-{name}", ("csv", "tex", "svg"))
    contents = (render(table, "csv"), render(table, "latex"), figure.file())
    files = list(zip((one.name for one in downloads), contents, strict=True))
    shown = html_table(table, f"{name}-numbers", downloads=downloads)
    return Plot(heading, figure.about, figure.inline(), shown, files)


def interval_table(title: str, number: str, intervals: Sequence[Interval]) -> Table:
    """The numbers behind a figure of intervals."""
    columns: tuple[Column, ...] = (Column("model", "Model", "text"), Column("value", number, "percent"))
    bounds = {"faces": "95 % faces", "generators": "95 % generators"}
    columns += tuple(
        Column(f"{key}_{end}", f"{name} {'from' if end == 'low' else 'to'}", "percent")
        for key, name in bounds.items()
        for end in ("low", "high")
    )
    rows = []
    for one in intervals:
        row: dict[str, Any] = {"model": one.name, "value": one.value}
        for key, (low, high) in (("faces", one.faces), ("generators", one.generators)):
            row |= {f"{key}_low": low, f"{key}_high": high}
        rows.append(row)
    return Table(title, columns, rows)
