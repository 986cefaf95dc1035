"""Ranks over generators: which places of a board hold for other generators, and which on the next one.

A place of a board over faces says what holds on other faces of these generators. Two more are shown here, from the
numbers by generator that stand in records (Neuhof and Benjamini, arXiv 2606.08679):

- over generators: two rows differ where the paired test of their differences on each generator says so, a generator
  being one observation; Holm's correction over a row's comparisons, at 2.5 % for those that are better and as much
  for those that are worse.
- on the next generator: the places a row has on each generator within the noise of its faces, and of these the k-th
  best and the k-th worst, k = floor((G + 1) / 10): on at least four of five further generators the place lies within.
  Below nine generators no k holds that, and there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor
from typing import Any

import numpy as np

from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import MetricValue, ResultRecord
from dfad_bench.metrics.over_generators import LEAST_GENERATORS
from dfad_bench.report.board_columns import range_text
from dfad_bench.report.board_ranks import RANKED_BY, ranking_column
from dfad_bench.report.over_generators import OverGenerators, mean_over_generators
from dfad_bench.report.ranks import half_width, seeds_spread, spread_of
from dfad_bench.report.real_sources import real_sources_line

SIDE = 0.025  # of each side of a place over generators
MISSED = 0.2  # of further generators, on which a place on the next one may lie outside
SHOWN = {
    "unseen_acc": ("attribution", "unseen_accuracy", "unseen"),
    "oscr": ("attribution", "oscr", "seen-vs-unseen"),
    "detection_auc": ("detection", "auc", "unseen"),
}
NOTE = (
    "95 % generators: the interval of unseen ACC over generators (other generators of this kind); # gen.: places of"
    " OSCR (of AUC where no row has OSCR) that hold over generators, # next: on"
    f" four of five further generators (from {LEAST_GENERATORS} and 9 unseen generators on)."
)


def generator_numbers(records: Sequence[ResultRecord], protocol: Protocol) -> dict[str, Any]:
    """What a row says of other generators: intervals by column, raw and as text; `_over` is for the ranks."""
    headline = protocol.attribution.headline
    found = mean_over_generators([record.metrics for record in records], protocol, only=tuple(SHOWN.values()))
    row: dict[str, Any] = {}
    by_place = {key[:3]: value for key, value in found.items() if key[4] in (None, headline)}
    for column, place in SHOWN.items():
        over = by_place.get(place)
        low, high = over.ci95 if over is not None and over.ci95 is not None else (None, None)
        row |= {f"{column}_generators_low": low, f"{column}_generators_high": high}
    row["unseen_generators_range"] = range_text(row["unseen_acc_generators_low"], row["unseen_acc_generators_high"])
    unseen = by_place.get(SHOWN["unseen_acc"])
    row |= {"generators": None, "no_generators": None, "families_low": None, "families_high": None}
    if unseen is not None:
        row |= {"generators": unseen.generators, "no_generators": unseen.reason}
        row["families_low"], row["families_high"] = unseen.ci95_families or (None, None)
    row["_real_sources"] = {place[1]: by_place[place] for place in SHOWN.values() if place in by_place}
    row["by_generator"] = {k: dict(by_place[SHOWN[k]].values) for k in RANKED_BY if SHOWN[k] in by_place}
    runs = [record.metrics for record in records]
    row["_over"] = {column: _ranked(by_place.get(SHOWN[column]), runs, column) for column in RANKED_BY}
    return row


def _ranked(over: OverGenerators | None, runs: Sequence[Sequence[MetricValue]], column: str) -> dict[str, Any] | None:
    """The values and half widths of a row on each generator, and the variance of its mean beside theirs."""
    if over is None or over.spread is None or over.reason is not None:
        return None
    values = list(over.values.values())
    metric, before = SHOWN[column][1], "seen-vs-" if column == "oscr" else ""
    places = [{v.subset: v for v in metrics if (v.metric, v.averaging) == (metric, "none")} for metrics in runs]
    halves = [_half_of([found[f"{before}{name}"] for found in places]) for name in over.values]
    between = float(np.var(values, ddof=1)) * len(values) / (len(values) + over.fixed) ** 2
    shared = max(over.spread.error**2 - between, 0.0)  # of sources all generators share, and between seeds
    return {"names": tuple(over.values), "values": values, "halves": halves, "shared": shared}


def _half_of(values: Sequence[MetricValue]) -> float | None:
    """Half the interval over faces of the mean over seeds of one number."""
    return half_width(seeds_spread([spread_of(value) for value in values], [value.value for value in values]))


def rank_over_generators(rows: Sequence[dict[str, Any]]) -> None:
    """Add the places over generators and on the next generator, among rows with numbers of the same generators."""
    column = ranking_column(rows)
    known = [row for row in rows if row["_over"][column] is not None]
    alike = [row for row in known if row["_over"][column]["names"] == known[0]["_over"][column]["names"]]
    for row in rows:
        row |= {"ranks_generators": None, "ranks_next": None}
    if len(alike) < 2 or len(alike) < len(rows):  # a place among some of the rows would mislead
        return
    over = [row["_over"][column] for row in alike]
    values = np.array([one["values"] for one in over])
    places = places_over_generators(values, np.array([one["shared"] for one in over]))
    halves = np.array([[np.inf if half is None else half for half in one["halves"]] for one in over])
    following = places_on_the_next(values, halves)
    for place, row in enumerate(alike):
        row["ranks_generators"] = _range(places[place])
        row["ranks_next"] = None if following is None else _range(following[place])


def _range(places: np.ndarray) -> str:
    low, high = int(places[0]), int(places[1])
    return str(low) if low == high else f"{low}-{high}"


def places_over_generators(values: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """Best and worst place (m, 2) of each row, higher values being better.

    Args:
        values: (m, G) of each row on each generator.
        shared: (m,) variance of each row's mean that is not between generators, taken as independent between rows.
    """
    from scipy.special import stdtr

    rows, count = values.shape
    differences = values[:, None, :] - values[None, :, :]  # (m, m, G): row less column
    variance = differences.var(axis=2, ddof=1) / count + shared[:, None] + shared[None, :]
    mean = differences.mean(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(mean == 0, 0.0, mean / np.sqrt(variance))
    p_worse = stdtr(count - 1, t)  # one-sided: small where the row is worse than the column
    p_better = stdtr(count - 1, -t)
    best, worst = (_rejected(p) for p in (p_worse, p_better))
    return np.stack([1 + best, rows - worst], axis=1)


def _rejected(p: np.ndarray) -> np.ndarray:
    """How many of each row's comparisons (m, m) Holm's procedure rejects; those with itself are none."""
    rows = len(p)
    others = np.sort(p + 2.0 * np.eye(rows), axis=1)[:, : rows - 1]
    passed = others < SIDE / np.arange(rows - 1, 0, -1)
    found: np.ndarray = np.cumprod(passed, axis=1).sum(axis=1)
    return found


def places_on_the_next(values: np.ndarray, halves: np.ndarray) -> np.ndarray | None:
    """Places (m, 2) that hold on the next generator in four of five; None below nine generators.

    Args:
        values: (m, G) of each row on each generator.
        halves: (m, G) half of their 95 % intervals over faces, infinite where there is none.
    """
    rows, count = values.shape
    order = floor((count + 1) * MISSED / 2)
    if order < 1:
        return None
    with np.errstate(invalid="ignore"):
        noise = np.sqrt(halves[:, None, :] ** 2 + halves[None, :, :] ** 2)
    ahead = values[None, :, :] - values[:, None, :]  # (m, m, G): how far the column is ahead of the row
    best = 1 + (ahead > noise).sum(axis=1)
    worst = rows - (ahead < -noise).sum(axis=1)
    return np.stack([np.sort(best, axis=1)[:, order - 1], np.sort(worst, axis=1)[:, -order]], axis=1)


def _shared_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which intervals over generators lack what these share."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for metric, over in row["_real_sources"].items():
            if over.ci95 is not None and not over.shared_counted:
                found.setdefault(metric, []).append(str(row["model"]))
    return [
        f"Over generators, {metric} ({', '.join(names[:3])}{' and others' if len(names) > 3 else ''}): what generators"
        " share, such as targets and real faces, is not counted, since a group or the mean has no interval over"
        " sources; the one over generators may be too narrow."
        for metric, names in found.items()
    ]


def generator_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the columns over generators say, and why rows have none."""
    lines = {NOTE: None} if any(row["unseen_generators_range"] or row.get("ranks_generators") for row in rows) else {}
    if lines:
        did = {name: one for row in rows for name, one in row["_real_sources"].items()}
        lines[real_sources_line(did)] = None
        lines |= dict.fromkeys(_shared_lines(rows))
    for why in dict.fromkeys(row["no_generators"] for row in rows if row["no_generators"]):
        names = [str(row["model"]) for row in rows if row["no_generators"] == why]
        lines[f"Unseen ACC {why} ({', '.join(names[:3])}{' and others' if len(names) > 3 else ''})."] = None
    return list(lines)
