"""What GazeCLIP prints of the gaze of forged faces, to stand beside what is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dfad_bench.report.reported import reported_tables
from dfad_bench.report.table import Column, Table

# Fig. 7, mean cosine of 10k pairs for nine generators. Which value belongs to which generator cannot be read from
# the paper's text, so they are kept sorted and compared as a range only.
FIGURE_7 = {
    "eth_xgaze": (-0.20, -0.15, -0.14, -0.13, -0.05, -0.05, 0.03, 0.41, 0.85),
    "puregaze": (0.01, 0.01, 0.05, 0.06, 0.08, 0.39, 0.77, 0.78, 0.83),
}
_TABLE_5 = {"faze": "Park et al. [60]", "puregaze": "PureGaze [61]", "eth_xgaze": "ETH-Xgaze [16]"}
NOTES = (
    "Figure 7 prints nine cosines an estimator; its text does not tell which generator each belongs to.",
    "Figure 1 shows its FIDs in a picture only, without values or unit: there is nothing to set beside them.",
    "Table V: accuracy of GazeCLIP with this estimator, a property of the classifier, not only of the gaze.",
)


def published_gaze(estimator: str) -> dict[str, Any] | None:
    """Printed values for an estimator: cosines of Figure 7 (sorted) and shares of Table V; None where there are none.

    >>> published_gaze("puregaze")["figure_7_cosine_2d"][-1]
    0.83
    """
    found: dict[str, Any] = {}
    if estimator in FIGURE_7:
        found["figure_7_cosine_2d"] = list(FIGURE_7[estimator])
    if estimator in _TABLE_5:
        found["table_5"] = _table_5(_TABLE_5[estimator])
    return found or None


def _table_5(printed: str) -> dict[str, float]:
    table = next(table for table in reported_tables() if table.name == "gazeclip-table-05")
    row = next(row for row in table.rows if row.printed == printed)
    cells = zip(table.columns, row.cells, strict=True)
    return {f"{column.task}_{column.metric}": value / 100 for column, value in cells if value is not None}


def published_table(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table | None:
    """Printed beside measured, a row for each estimator the paper reports; None where it reports none.

    Args:
        rows: of `GazeReport.flat` by estimator.
    """
    found = []
    for name, measured in rows.items():
        if (published := published_gaze(name)) is None:
            continue
        values = [row["cosine_2d"] for row in measured if row["forgery"] != "control" and row.get("cosine_2d")]
        found.append(
            {
                "estimator": name,
                "printed": _range(published.get("figure_7_cosine_2d", ())),
                "measured": _range(values) or "no pairs",
                **published.get("table_5", {}),
            }
        )
    columns = (
        Column("estimator", "Estimator", "text"),
        Column("printed", "cosine 2-D, Figure 7", "text"),
        Column("measured", "measured here", "text"),
        Column("attribution_acc", "attribution ACC, Table V", "percent"),
        Column("detection_acc", "detection ACC", "percent"),
        Column("detection_auc", "detection AUC", "percent"),
    )
    return Table("Published by GazeCLIP", columns, found, NOTES) if found else None


def _range(values: Sequence[float]) -> str | None:
    return f"{min(values):.2f} to {max(values):.2f} ({len(values)})" if values else None
