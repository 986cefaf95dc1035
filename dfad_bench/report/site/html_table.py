"""A `Table` as rows and cells that a template writes: what every table of the site has in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dfad_bench.core.escape import one_line
from dfad_bench.report.board_order import section_ranges
from dfad_bench.report.table import Column, Table, printed_cell

Link = tuple[str, str]  # text, address
_LONG = 34  # characters of a text that is broken into lines


@dataclass(frozen=True)
class HeadCell:
    """`better`: "higher", "lower" or "" of columns that can be sorted by value; `extra` ones are hidden at first."""

    key: str
    title: str
    numeric: bool
    definition: str = ""
    extra: bool = False
    better: str = ""


@dataclass(frozen=True)
class BodyCell:
    """`value` is what it is sorted by, `mark` "best" or "second"; `links` take the text's place.

    `look`: a class of the style, `h0` to `h6` for a shade, `t` for text, `w` for long text.
    """

    text: str
    value: str = ""
    mark: str = ""
    look: str = ""
    links: Sequence[Link] = ()


@dataclass(frozen=True)
class BodyRow:
    """`data`: values that rows are filtered by; `struck` rows do not count; `note` stands behind the row's name."""

    cells: Sequence[BodyCell]
    struck: bool = False
    data: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class BodySection:
    """Rows under one heading; sorting keeps them together."""

    heading: str
    rows: Sequence[BodyRow]


@dataclass(frozen=True)
class Download:
    """A file beside the page."""

    name: str
    title: str


@dataclass(frozen=True)
class HtmlTable:
    """What the template writes. `id` is of our own making; `sortable` tables get buttons in their heads."""

    id: str
    caption: str
    head: Sequence[HeadCell]
    sections: Sequence[BodySection]
    sortable: bool = False
    downloads: Sequence[Download] = ()

    @property
    def rows(self) -> int:
        """Rows of all sections."""
        return sum(len(section.rows) for section in self.sections)


@dataclass(frozen=True)
class Dress:
    """What a page adds to a table: definitions and extra columns by key, and what a row or a cell gets.

    Attributes:
        definitions: of columns, by key.
        extra: keys of columns that are hidden at first.
        links: of a cell, from its row and column key.
        heat: the shade of a cell, from its column and value.
        data: what a row is filtered by.
        note: behind the name of a row.
    """

    definitions: Mapping[str, str] = field(default_factory=dict)
    extra: frozenset[str] = frozenset()
    links: Callable[[Mapping[str, Any], str], Sequence[Link]] = lambda row, key: ()
    heat: Callable[[Column, Any], int | None] = lambda column, value: None
    data: Callable[[Mapping[str, Any]], Mapping[str, str]] = lambda row: {}
    note: Callable[[Mapping[str, Any]], str] = lambda row: ""


def html_table(
    table: Table,
    name: str,
    caption: str = "",
    *,
    dress: Dress | None = None,
    sortable: bool = False,
    downloads: Sequence[Download] = (),
) -> HtmlTable:
    """A table for a template.

    Args:
        table: as it is printed in other formats: the same rows, columns, marks and sections.
        name: of the element, unique on its page.
        caption: in place of the table's title.
        dress: what the page adds.
        sortable: whether the script may sort it.
        downloads: files with the same table.
    """
    dress = dress or Dress()
    head = [
        HeadCell(
            column.key, column.title, column.kind != "text", dress.definitions.get(column.key, ""),
            column.key in dress.extra, column.better or "",
        )
        for column in table.columns
    ]  # fmt: skip
    sections = [
        BodySection(table.sections.get(block.start, ""), [_body_row(table, place, dress) for place in block])
        for block in section_ranges(table)
    ]
    return HtmlTable(name, caption or table.title, head, sections, sortable, downloads)


def _body_row(table: Table, place: int, dress: Dress) -> BodyRow:
    row = table.rows[place]
    cells = []
    for column in table.columns:
        value, text, shade = row.get(column.key), printed_cell(column, row), dress.heat(column, row.get(column.key))
        look = f"h{shade}" if shade is not None else "" if column.kind != "text" else "w" if len(text) > _LONG else "t"
        links = [(one_line(words), address) for words, address in dress.links(row, column.key)]
        mark = table.marks.get((place, column.key), "")
        cells.append(BodyCell(text, _sorted_by(column, value), mark, look, links))
    return BodyRow(cells, place in table.struck, dress.data(row), dress.note(row))


def _sorted_by(column: Column, value: Any) -> str:
    """What the script sorts a number by: more digits than are printed; a text is sorted as it is read."""
    return f"{value:.6g}" if column.kind != "text" and isinstance(value, int | float) else ""
