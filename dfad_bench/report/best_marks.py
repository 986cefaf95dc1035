"""The best and second best value of each column of a table, among the rows that compete.

Values compete as they are printed: what reads the same is a tie, and shares the mark. Where all competing rows tie, or
one alone has a value, nothing is marked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from dfad_bench.report.table import Column, printed_cell

Mark = Literal["best", "second"]
_MARKS: tuple[Mark, Mark] = ("best", "second")


def best_marks(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], blocks: Sequence[Sequence[int]]
) -> dict[tuple[int, str], Mark]:
    """The marks of a table's cells, by row number and column key.

    Args:
        rows: of the table.
        columns: of the table; those that say what is better are marked.
        blocks: numbers of the rows that compete with each other.

    >>> best_marks([{"a": 0.5}, {"a": 0.9}], [Column("a", "A", "percent", better="higher")], [(0, 1)])
    {(1, 'a'): 'best', (0, 'a'): 'second'}
    """
    found: dict[tuple[int, str], Mark] = {}
    for column in (column for column in columns if column.better is not None):
        for block in blocks:
            values = {place: _printed_value(column, rows[place]) for place in block}
            known = {place: value for place, value in values.items() if value is not None}
            distinct = sorted(set(known.values()), reverse=column.better == "higher")
            if len(distinct) < 2:
                continue
            for mark, value in zip(_MARKS, distinct, strict=False):
                found |= {(place, column.key): mark for place, one in known.items() if one == value}
    return found


def _printed_value(column: Column, row: Mapping[str, Any]) -> float | None:
    if not isinstance(row.get(column.key), int | float):
        return None
    return float(printed_cell(column, row).replace(",", ""))
