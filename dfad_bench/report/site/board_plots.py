"""What stands below a board: figures of a section with the tables behind them, and the files of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dfad_bench.report.board_order import section_ranges
from dfad_bench.report.site.facts import SiteBoard, SiteFacts
from dfad_bench.report.site.heat import shade_of
from dfad_bench.report.site.html_table import Download, Dress, HtmlTable, html_table
from dfad_bench.report.site.interval_plot import Interval, interval_figure, ranked_column, ranked_intervals
from dfad_bench.report.site.svg import Figure
from dfad_bench.report.site.sweep_plot import MOST, sweep_figure, sweep_of, sweep_table
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
    found: dict[str, list[Plot]] = {"intervals": [], "sweeps": [], "wins": []}
    for place, block in enumerate(section_ranges(board.table)):
        rows = [board.table.rows[number] for number in block]
        heading = board.table.sections.get(block.start, "")
        found["intervals"] += _intervals(board, heading, f"intervals-{place}", rows, stem)
        found["sweeps"] += _sweeps(facts, board, heading, f"sweep-{place}", rows, stem)
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
    _, ranked = ranked_column(rows)
    known = {str(row["model"]): sweep_of(facts.records_of(row)) for row in ranked}
    sweeps = {model: sweep for model, sweep in known.items() if sweep is not None}
    figure = sweep_figure(name, f"Attribution over thresholds: {heading}", sweeps)
    if figure is not None:
        drawn = dict(list(sweeps.items())[:MOST])
        table = sweep_table(f"{board.table.title}, {heading}: attribution over thresholds", drawn)
        yield _with_files(heading, figure, table, name, stem)


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
