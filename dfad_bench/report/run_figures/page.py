"""The page of a report: one file without scripts or requests, with every figure and the numbers behind it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from dfad_bench.core import escape
from dfad_bench.core.version import __version__
from dfad_bench.report.run_figures.base import AbsentFigure
from dfad_bench.report.run_figures.write import WrittenFigure
from dfad_bench.report.table import Table, printed_cell

if TYPE_CHECKING:
    from jinja2 import Environment

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
MOST_ROWS = 100  # of a table on the page; the CSV file has all


def report_page(
    title: str, runs: Sequence[Mapping[str, Any]], written: Sequence[WrittenFigure], absent: Sequence[AbsentFigure]
) -> str:
    """The page as HTML.

    Args:
        title: of the page.
        runs: a row a run: label, model, seed, protocol, faces, record, note.
        written: the figures.
        absent: what is not shown, and why.
    """
    figures = [_page_values(one) for one in written]
    values = {
        "title": title, "runs": runs, "figures": figures, "absent": absent, "version": __version__, "policy": POLICY,
    }  # fmt: skip
    return _environment().get_template("report.html.j2").render(values)


def _page_values(written: WrittenFigure) -> dict[str, Any]:
    made = written.figure
    rows = made.table.rows[:MOST_ROWS]
    return {
        "name": made.name, "title": made.title, "note": made.note, "alt": made.alt, "source": _data(written),
        "files": [(suffix.upper(), path.name) for suffix, path in written.files.items()],
        "columns": [column.title for column in made.table.columns], "rows": [_cells(made.table, row) for row in rows],
        "left_out": max(0, len(made.table.rows) - len(rows)), "csv": written.files["csv"].name,
    }  # fmt: skip


def _cells(table: Table, row: Mapping[str, Any]) -> list[str]:
    return [printed_cell(column, row) + (" %" if _is_percent(column, row) else "") for column in table.columns]


def _is_percent(column: Any, row: Mapping[str, Any]) -> bool:
    return column.kind == "percent" and row.get(column.key) is not None


def _data(written: WrittenFigure) -> str:
    """A figure as the address of an image: SVG in an image runs nothing, and its names meet no others."""
    return f"data:{written.kind};base64,{base64.b64encode(written.shown).decode('ascii')}"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("dfad_bench.report.run_figures"), autoescape=True, undefined=StrictUndefined,
        finalize=lambda value: escape.terminal(value) if type(value) is str else value, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
