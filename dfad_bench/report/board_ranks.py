"""Intervals and ranks of the rows of a board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ResultRecord
from dfad_bench.report.board_columns import headline_numbers, range_text
from dfad_bench.report.mean_interval import mean_interval
from dfad_bench.report.ranks import half_width, rank_intervals, seed_variance, seeds_spread, spread_of

# of each of `headline_numbers`: how its interval is named, and its name in notes
_SHOWN = (("unseen", "unseen ACC"), ("oscr", "OSCR"), ("alarms", "false alarms"), ("detection_auc", "AUC"))
RANKED_BY = ("oscr", "detection_auc")  # the first that a row has
ONE_SEED = "†"  # behind the rank of a row of one seed


def row_intervals(records: Sequence[ResultRecord], protocol: Protocol) -> dict[str, Any]:
    """Intervals of a row's headline numbers, of several seeds those of their mean, or why there are none."""
    every = zip(*(headline_numbers(record.metrics, protocol) for record in records), strict=True)
    found: dict[str, Any] = {"no_interval": {}}
    for (name, title), numbers in zip(_SHOWN, every, strict=True):
        values = [None if number is None else number.value for number in numbers]
        spreads = [None if number is None else spread_of(number) for number in numbers]
        if name in RANKED_BY:
            found[f"_{name}_by_seed"] = (values, spreads)
        if len(records) > 1:
            low, high = mean_interval(numbers, (0.0, 1.0)) or (None, None)
        else:
            low, high = (numbers[0].ci95 if numbers[0] is not None else None) or (None, None)
        reasons = (number.ci_reason for number in numbers if number is not None and number.ci_reason is not None)
        if low is None and name != "detection_auc" and (why := next(reasons, None)) is not None:
            found["no_interval"][title] = why
        half = None if low is None or high is None else (high - low) / 2
        found |= {f"{name}_low": low, f"{name}_high": high, f"{name}_half" if name in RANKED_BY else f"{name}_pm": half}
    ranges = {f"{name}_range": range_text(found[f"{name}_low"], found[f"{name}_high"]) for name in ("unseen", "alarms")}
    return {**found, **ranges}


def interval_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each row and reason why a number of it has no interval."""
    lines: dict[str, None] = {}
    for row in rows:
        for why in dict.fromkeys(row["no_interval"].values()):
            names = [name for name, reason in row["no_interval"].items() if reason == why]
            lines[f"{row['model']}, {' and '.join(names)}: {why}."] = None
    return list(lines)


def ranking_column(rows: Sequence[Mapping[str, Any]]) -> str:
    """The number by which rows have places: OSCR, or AUC where no row has an OSCR, as of detectors alone."""
    return RANKED_BY[0] if any(row[RANKED_BY[0]] is not None for row in rows) else RANKED_BY[1]


def rank_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Number the rows in order, and add the range of ranks that their intervals allow.

    A row of one seed says nothing of the spread between seeds: beside rows of several it gets the largest variance
    between seeds among them, since with none its interval would be the narrowest; its rank is marked.
    """
    column = ranking_column(rows)
    known = [row for row in rows if row[column] is not None]
    spreads = [row[f"_{column}_by_seed"] for row in rows]
    several = [found for values, _ in spreads if (found := seed_variance(values)) is not None]
    borrowed = max(several, default=None)
    halves = {
        id(row): half_width(seeds_spread(of, values, borrowed)) for row, (values, of) in zip(rows, spreads, strict=True)
    }
    open_ranks = rank_intervals([row[column] for row in known], [halves[id(row)] for row in known])
    for place, row in enumerate(rows, start=1):
        row["rank"], row["ranks"] = place, str(place)
    for row, bounds in zip(known, open_ranks, strict=True):
        if bounds is not None:
            row["rank_best"], row["rank_worst"] = bounds
            row["ranks"] = str(bounds[0]) if bounds[0] == bounds[1] else f"{bounds[0]}-{bounds[1]}"
    for row in rows:
        row["ranks"] += ONE_SEED if row["seeds"] == 1 else ""
