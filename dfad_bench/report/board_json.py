"""A board as plain values, with all that the other formats show: columns in order, sections, struck rows.

`core/board.schema.json` is its form. Any value of a row that the schema does not name is a number of a metric.
"""

from __future__ import annotations

from typing import Any

from dfad_bench.report.table import Column, Table

FORM = "1"


def board_values(table: Table) -> dict[str, Any]:
    """The values of a board, ready for JSON; rows in the order in which they are shown, raw numbers in them."""
    return {
        "form": FORM,
        **table.plain(),
        "columns": [_column(column) for column in table.columns],
        "sections": [{"row": row, "heading": heading} for row, heading in sorted(table.sections.items())],
        "struck": sorted(table.struck),
    }


def _column(column: Column) -> dict[str, Any]:
    return {"key": column.key, "title": column.title, "kind": column.kind, "better": column.better}
