"""On how many unseen generators one model is ahead of another: the numbers are those behind the board's places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dfad_bench.report.site.interval_plot import RANK_TITLES, ranked_column
from dfad_bench.report.table import Column, Table

MOST = 20  # models: a matrix of more is not read
_TIE = 1e-9


def win_table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table | None:
    """Row against column, the share of generators on which the row is ahead, a tie being a half; None for one model.

    Args:
        title: of the section.
        rows: of one section of a board, in the order of their places.
    """
    column, ranked = ranked_column(rows)
    known = [(str(row["model"]), row.get("by_generator", {}).get(column) or {}) for row in ranked][:MOST]
    known = [(name, values) for name, values in known if values and values.keys() == known[0][1].keys()]
    if len(known) < 2:
        return None
    columns = [Column("model", "Ahead: row of column", "text")]
    columns += [Column(f"against-{place}", name, "percent", 0) for place, (name, _) in enumerate(known)]
    made: list[Mapping[str, Any]] = []
    for name, mine in known:
        row: dict[str, Any] = {"model": name}
        for place, (other, theirs) in enumerate(known):
            row[f"against-{place}"] = None if other == name else _share_ahead(mine, theirs)
        made.append(row)
    what = f"by {RANK_TITLES[column]} on each of {len(known[0][1])} unseen generators, in percent of them"
    return Table(f"{title}: ahead {what}", tuple(columns), made)


def _share_ahead(mine: Mapping[str, float], theirs: Mapping[str, float]) -> float:
    differences = [value - theirs[name] for name, value in mine.items()]
    return sum(0.5 if abs(one) < _TIE else float(one > 0) for one in differences) / len(differences)
