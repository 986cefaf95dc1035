"""One table object, rendered for a terminal, Markdown, CSV, JSON and LaTeX."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["text", "count", "percent", "number"]
FORMATS = ("rich", "markdown", "csv", "json", "latex")


@dataclass(frozen=True)
class Column:
    """`key` names the value in a row; a fraction of kind "percent" is shown times 100."""

    key: str
    title: str
    kind: Kind = "number"
    digits: int = 2


@dataclass(frozen=True)
class Table:
    """Rows are mappings from column key to value; a missing or None value is shown as a dash."""

    title: str
    columns: tuple[Column, ...]
    rows: Sequence[Mapping[str, Any]]
    notes: tuple[str, ...] = ()
    sections: Mapping[int, str] = field(default_factory=dict)  # row index -> heading drawn above it


def render(table: Table, format: str, *, width: int | None = None) -> str:
    """The table as text in one of `FORMATS`. JSON and CSV carry raw values, the others rounded ones."""
    renderers = {"rich": _rich, "markdown": _markdown, "csv": _csv, "json": _json, "latex": _latex}
    return renderers[format](table, width) if format == "rich" else renderers[format](table)  # type: ignore[operator]


def cell(column: Column, value: Any) -> str:
    """One value as printed.

    >>> cell(Column("acc", "ACC", "percent"), 0.80664)
    '80.66'
    """
    if value is None:
        return "–"
    if column.kind == "text":
        return str(value)
    if column.kind == "count":
        return f"{int(value):,}"
    return f"{value * (100 if column.kind == 'percent' else 1):.{column.digits}f}"


def _rich(table: Table, width: int | None) -> str:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as RichTable

    drawn = RichTable(box=box.SIMPLE_HEAD)
    for column in table.columns:
        drawn.add_column(escape(column.title), justify="left" if column.kind == "text" else "right")
    for index, row in enumerate(table.rows):
        if index in table.sections:
            drawn.add_section()
            drawn.add_row(f"[italic]{escape(table.sections[index])}[/italic]")
        drawn.add_row(*(escape(cell(column, row.get(column.key))) for column in table.columns))
    stream = io.StringIO()
    console = Console(file=stream, width=width or 160, color_system=None)
    console.print(escape(table.title))  # above, not in it, where it would be broken to the table's width
    console.print(drawn)
    for note in table.notes:
        console.print(f"  {escape(note)}")
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def _markdown(table: Table) -> str:
    def safe(text: str) -> str:
        return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")

    lines = [f"## {safe(table.title)}", "", "| " + " | ".join(safe(c.title) for c in table.columns) + " |"]
    lines.append("|" + "|".join("---" if c.kind == "text" else "---:" for c in table.columns) + "|")
    for index, row in enumerate(table.rows):
        if index in table.sections:
            lines.append(f"| *{safe(table.sections[index])}* |" + " |" * (len(table.columns) - 1))
        lines.append("| " + " | ".join(safe(cell(c, row.get(c.key))) for c in table.columns) + " |")
    lines += ["", *(f"- {safe(note)}" for note in table.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _csv(table: Table) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([column.key for column in table.columns])
    for row in table.rows:
        writer.writerow([_guard(row.get(column.key)) for column in table.columns])
    return stream.getvalue()


def _guard(value: Any) -> Any:
    """A text a spreadsheet would run as a formula is quoted."""
    return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def _json(table: Table) -> str:
    value = {"title": table.title, "rows": [dict(row) for row in table.rows], "notes": list(table.notes)}
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


_LATEX = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"}
_LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}


def _latex(table: Table) -> str:
    def safe(text: str) -> str:
        return "".join(_LATEX.get(character, character) for character in text)

    spec = "".join("l" if c.kind == "text" else "r" for c in table.columns)
    lines = [rf"% {table.title}", rf"\begin{{tabular}}{{{spec}}}", r"\toprule"]
    lines += [" & ".join(safe(c.title) for c in table.columns) + r" \\", r"\midrule"]
    for index, row in enumerate(table.rows):
        if index in table.sections:
            lines.append(rf"\multicolumn{{{len(table.columns)}}}{{l}}{{\emph{{{safe(table.sections[index])}}}}} \\")
        lines.append(" & ".join(safe(cell(c, row.get(c.key))) for c in table.columns) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", *(f"% {note}" for note in table.notes)]
    return "\n".join(lines) + "\n"
