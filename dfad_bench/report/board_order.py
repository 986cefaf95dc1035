"""The rows of a board in another order, and its best, second best and refused rows marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from dfad_bench.core.errors import UnknownNameError
from dfad_bench.report.best_marks import best_marks
from dfad_bench.report.table import Column, Table


def sorted_board(table: Table, by: str) -> Table:
    """The same board with the measured and the reported rows of each section in the order of a column.

    Better values come first, rows without one last, equal ones as they were. Constant rows stay on top, and places
    stay those of OSCR.

    Raises:
        UnknownNameError: no such column; names the nearest ones.

    >>> rows = [{"a": 0.1, "kind": "measured"}, {"a": 0.2, "kind": "measured"}]
    >>> made = Table("", (Column("a", "A", "percent", better="higher"),), rows, (), {0: "Measured"})
    >>> [row["a"] for row in sorted_board(made, "a").rows]
    [0.2, 0.1]
    """
    column = _sortable_column(table, by)
    sign = -1 if column.better == "higher" else 1

    def order(row: Mapping[str, Any]) -> tuple[Any, ...]:
        if row.get("kind") == "trivial":
            return (0,)
        value = row.get(by)
        return (1, value is None, 0 if value is None else sign * value)

    rows = [row for block in section_ranges(table) for row in sorted((table.rows[place] for place in block), key=order)]
    return replace(table, rows=rows)


def marked_board(table: Table) -> Table:
    """The same board with the best and second best values of each section marked, and refused rows struck out.

    Of measured rows those compete that have a place; reported rows compete with each other.
    """
    blocks = []
    for block in section_ranges(table):
        rows = {place: table.rows[place] for place in block}
        blocks.append([place for place, row in rows.items() if row.get("rank") is not None])
        blocks.append([place for place, row in rows.items() if row.get("kind") == "reported"])
    struck = {place for place, row in enumerate(table.rows) if row.get("checked") == "contradicted"}
    return replace(table, marks=best_marks(table.rows, table.columns, blocks), struck=struck)


def section_ranges(table: Table) -> Iterator[range]:
    """Row numbers of each section."""
    begins = sorted({0, *table.sections})
    for begin, end in zip(begins, [*begins[1:], len(table.rows)], strict=True):
        yield range(begin, end)


def _sortable_column(table: Table, by: str) -> Column:
    known = {column.key: column for column in table.columns if column.better is not None}
    if by not in known:
        raise UnknownNameError("column", by, list(known))
    return known[by]
