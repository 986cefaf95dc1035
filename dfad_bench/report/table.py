"""One table object, rendered for a terminal, Markdown, CSV, JSON and LaTeX."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from dfad_bench.core import escape

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["text", "count", "percent", "number", "by_unit", "p_value"]
FORMATS = ("rich", "markdown", "csv", "json", "latex")
_WIDTH = 160  # where no terminal says another
_FOLDED = 24  # texts longer than this may be broken into lines this wide
_LONGEST_WORD = 40  # longer ones, such as paths, are broken too
_DASH = "–"
_BETWEEN = 3  # characters between two columns
_LATEX_NEEDS = r"% needs \usepackage{booktabs}; names beyond Latin letters need LuaLaTeX or XeLaTeX"
_LATEX_STRIKES = r"% and \usepackage[normalem]{ulem} for rows that are struck out"


@dataclass(frozen=True)
class Column:
    """`key` names the value in a row; a fraction of kind "percent" is shown times 100.

    Values of kind "by_unit" are of several units: those whose row has `unit` "share" are shown as percent, others as
    they are. A "p_value" too small for its digits is shown as smaller than the least of them, never as 0. `better` says
    which values a board marks as best.
    """

    key: str
    title: str
    kind: Kind = "number"
    digits: int = 2
    better: Literal["higher", "lower"] | None = None


@dataclass(frozen=True)
class Table:
    """Rows are mappings from column key to value; a missing or None value is shown as a dash.

    `marks`: cells, by row number and column key, that are "best" (bold) or "second" (underlined) among the rows they
    compete with; `struck`: rows that are shown and do not count. Both are drawn where a format can: Markdown, LaTeX,
    and a terminal that shows styles.
    """

    title: str
    columns: tuple[Column, ...]
    rows: Sequence[Mapping[str, Any]]
    notes: tuple[str, ...] = ()
    sections: Mapping[int, str] = field(default_factory=dict)  # row index -> heading drawn above it
    marks: Mapping[tuple[int, str], str] = field(default_factory=dict)
    struck: Collection[int] = ()
    names: int = 1  # leading columns that say which row it is; repeated where a terminal is too narrow for all columns

    def __str__(self) -> str:
        return self.render()

    def render(self, format: str = "rich", *, width: int | None = None, styled: bool = False) -> str:
        """The table as text; see the function `render`."""
        return render(self, format, width=width, styled=styled)

    def plain(self) -> dict[str, Any]:
        """The table as plain values, as JSON carries it: title, rows by column key, notes."""
        return {"title": self.title, "rows": [dict(row) for row in self.rows], "notes": list(self.notes)}

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame with a column for each of the table's, by key, of raw values: shares are fractions."""
        import pandas as pd

        keys = [column.key for column in self.columns]
        return pd.DataFrame([[row.get(key) for key in keys] for row in self.rows], columns=keys)


def render(table: Table, format: str, *, width: int | None = None, styled: bool = False) -> str:
    """The table as text in one of `FORMATS`. JSON and CSV carry raw values, the others rounded ones.

    Args:
        table: what to render.
        format: one of `FORMATS`.
        width: of "rich", in characters; None: the terminal's. A wider table is drawn in parts, one below the other.
        styled: of "rich": marks as bold and underlined, by a terminal's control sequences.
    """
    if format == "rich":
        return _render_rich(table, width, styled)
    renderers = {"markdown": _markdown, "csv": _csv, "json": _json, "latex": _latex}
    return renderers[format](table)


def cell(column: Column, value: Any) -> str:
    """One value as printed.

    >>> cell(Column("acc", "ACC", "percent"), 0.80664)
    '80.66'
    """
    if value is None:
        return _DASH
    if column.kind == "text":
        return escape.one_line(str(value))
    if column.kind == "count":
        return f"{int(value):,}"
    if column.kind == "p_value" and value < 10**-column.digits:
        return f"<{10**-column.digits:.{column.digits}f}"
    return f"{value * (100 if column.kind == 'percent' else 1):.{column.digits}f}"


def printed_cell(column: Column, row: Mapping[str, Any]) -> str:
    """One cell of a row as printed.

    >>> printed_cell(Column("a", "A", "by_unit"), {"a": 0.5, "unit": "nats"})
    '0.50'
    """
    if column.kind == "by_unit":
        column = replace(column, kind="percent" if row.get("unit") == "share" else "number")
    return cell(column, row.get(column.key))


def _render_rich(table: Table, width: int | None, styled: bool) -> str:
    from rich.console import Console
    from rich.text import Text

    width = width or shutil.get_terminal_size((_WIDTH, 24)).columns
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        color_system="standard" if styled else None,
        force_terminal=styled or None,
        no_color=styled or None,  # bold and underlined are no colours
    )
    console.print(Text(escape.one_line(table.title)))  # above, not in it, where it would be broken to the table's width
    for columns in _parts(table, width):
        console.print(_drawn(table, columns, width))
    for note in table.notes:
        console.print(Text(f"  {escape.one_line(note)}"))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def _drawn(table: Table, columns: Sequence[Column], width: int) -> Any:
    """Some of the table's columns, for a console."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=box.SIMPLE_HEAD)
    for column, wide in zip(columns, _widths(table, columns, width), strict=True):
        left = column.kind == "text"
        title = Text(escape.one_line(column.title))
        drawn.add_column(title, justify="left" if left else "right", width=wide, overflow="fold")
    for index, row in enumerate(table.rows):
        if index in table.sections:
            drawn.add_section()
            drawn.add_row(Text(escape.one_line(table.sections[index])))
        cells = (Text(printed_cell(column, row), _style_of(table, index, column)) for column in columns)
        drawn.add_row(*cells)  # text: names are no markup
    return drawn


def _style_of(table: Table, index: int, column: Column) -> str:
    if index in table.struck:
        return "strike"
    return {"best": "bold", "second": "underline"}.get(table.marks.get((index, column.key), ""), "")


def _parts(table: Table, width: int) -> Iterator[tuple[Column, ...]]:
    """The columns in order, in groups that fit into `width`, each behind the names of the rows."""
    names, other_columns = table.columns[: table.names], table.columns[table.names :]
    free = width - 1 - sum(_extent(table, column)[0] + _BETWEEN for column in names)
    part: list[Column] = []
    left = free
    for column in other_columns:
        needed = _extent(table, column)[0] + _BETWEEN
        if part and needed > left:
            yield (*names, *part)
            part, left = [], free
        part.append(column)
        left -= needed
    yield (*names, *part)


def _widths(table: Table, columns: Sequence[Column], width: int) -> list[int]:
    """Characters each of `columns` gets: as many as its longest line, or where that is too much in all, fewer."""
    extents = [_extent(table, column) for column in columns]
    widths = [least for least, _ in extents]
    spare = width - 1 - sum(wide + _BETWEEN for wide in widths)
    for done, index in enumerate(sorted(range(len(columns)), key=lambda index: extents[index][1] - widths[index])):
        more = max(min(extents[index][1] - widths[index], spare // (len(columns) - done)), 0)
        widths[index] += more
        spare -= more
    return widths


def _extent(table: Table, column: Column) -> tuple[int, int]:
    """Fewest characters in which a column is readable, and how many its longest line has.

    Numbers and short texts stay on one line; titles, headings and longer texts are broken between words.
    """
    from rich.cells import cell_len

    texts = [printed_cell(column, row) for row in table.rows]
    title = escape.one_line(column.title)
    headings = [escape.one_line(text) for text in table.sections.values()] if column is table.columns[0] else []
    long = [text for text in texts if cell_len(text) > _FOLDED]
    words = [word for text in (title, *headings, *long) for word in text.split()]
    whole = [cell_len(text) for text in texts if cell_len(text) <= _FOLDED]
    least = [*whole, *(min(cell_len(word), _LONGEST_WORD) for word in words), _FOLDED if long else 0]
    return max(least), max(map(cell_len, [title, *headings, *texts]))


def _markdown(table: Table) -> str:
    safe = escape.markdown
    lines = [f"## {safe(table.title)}", "", "| " + " | ".join(safe(c.title) for c in table.columns) + " |"]
    lines.append("|" + "|".join("---" if c.kind == "text" else "---:" for c in table.columns) + "|")
    for index, row in enumerate(table.rows):
        if index in table.sections:
            lines.append(f"| *{safe(table.sections[index])}* |" + " |" * (len(table.columns) - 1))
        cells = (_markdown_mark(table, index, c, _plain_or(safe, c, row)) for c in table.columns)
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"- {safe(note)}" for note in table.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_mark(table: Table, index: int, column: Column, text: str) -> str:
    if index in table.struck:
        return f"~~{text}~~" if text != _DASH else text
    mark = table.marks.get((index, column.key))
    return f"**{text}**" if mark == "best" else f"<u>{text}</u>" if mark == "second" else text


def _latex_mark(table: Table, index: int, column: Column, text: str) -> str:
    if index in table.struck:
        return rf"\sout{{{text}}}" if text != _DASH else text
    mark = table.marks.get((index, column.key))
    return rf"\textbf{{{text}}}" if mark == "best" else rf"\underline{{{text}}}" if mark == "second" else text


def _plain_or(safe: Callable[[str], str], column: Column, row: Mapping[str, Any]) -> str:
    """One cell: numbers as they are, texts escaped. The text is taken as it was given, not as a terminal shows it."""
    value = row.get(column.key)
    return safe(str(value)) if column.kind == "text" and value is not None else printed_cell(column, row)


def _csv(table: Table) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([escape.csv_cell(column.key) for column in table.columns])
    for row in table.rows:
        writer.writerow([escape.csv_cell(row.get(column.key)) for column in table.columns])
    return stream.getvalue()


def _json(table: Table) -> str:
    return escape.json_text(table.plain()) + "\n"


def _latex(table: Table) -> str:
    safe = escape.latex
    spec = "".join("l" if c.kind == "text" else "r" for c in table.columns)
    needs = [_LATEX_NEEDS, *([_LATEX_STRIKES] if table.struck else [])]
    lines = [*needs, rf"% {escape.latex_comment(table.title)}", rf"\begin{{tabular}}{{{spec}}}", r"\toprule"]
    lines += [" & ".join(safe(c.title) for c in table.columns) + r" \\", r"\midrule"]
    for index, row in enumerate(table.rows):
        if index in table.sections:
            lines.append(rf"\multicolumn{{{len(table.columns)}}}{{l}}{{\emph{{{safe(table.sections[index])}}}}} \\")
        cells = (_latex_mark(table, index, c, _plain_or(safe, c, row)) for c in table.columns)
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", *(f"% {escape.latex_comment(note)}" for note in table.notes)]
    return "\n".join(lines) + "\n"
