"""A table of a run for several seeds: the rows of every seed, then their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from statistics import fmean, stdev
from typing import Any

from dfad_bench.core.record import MetricValue, ResultRecord, Sweep
from dfad_bench.core.record_ranges import BOUNDS, metric_unit
from dfad_bench.report.aggregate import check_seeds, number_key, seed_number
from dfad_bench.report.mean_interval import mean_interval
from dfad_bench.report.record_diff import without_interval
from dfad_bench.report.run_tables import TABLES
from dfad_bench.report.table import Column, Table

# columns that say which row of a table it is
_KEYS = {
    "metrics": ("task", "metric", "unit", "subset", "averaging", "threshold"),
    "groups": ("group", "seen"),
    "sweep": ("threshold",),
    "confusion": ("group",),
}
_MEASURED = ("percent", "number", "by_unit")
MEAN = "mean"


def seeds_tables(records: Sequence[ResultRecord], name: str) -> Table:
    """One of `run_tables.TABLES` with a column `seed`: rows of each seed, then those of the mean over seeds.

    A number that a seed lacks has no mean. In the table of all numbers means have an interval over sources and seeds
    (`mean_interval`), where each seed has one; `sd` is the spread between seeds (n - 1).

    Args:
        records: of runs that differ in nothing but the seed.
        name: of the table.

    Raises:
        ConfigError: they differ in more than the seed.
    """
    check_seeds(records)
    ordered = sorted(records, key=seed_number)
    tables = {seed_number(record): TABLES[name](record) for record in ordered}
    first = next(iter(tables.values()))
    rows: list[Mapping[str, Any]] = []
    for seed, table in tables.items():
        rows += [{"seed": str(seed), **row} for row in table.rows]
    means = _means(list(tables.values()), first, _KEYS[name])
    rows += [{**row, **_interval_of_mean(row, ordered)} for row in means] if name == "metrics" else means
    columns = [Column("seed", "Seed", "text"), *first.columns]
    if name == "metrics":
        place = [column.key for column in columns].index("value")
        columns.insert(place + 1, Column("sd", "SD", "by_unit"))
    title = first.title.replace(f"seed {ordered[0].run.seed},", f"seeds {', '.join(map(str, tables))},", 1)
    return Table(title, tuple(columns), rows, _notes(tables), names=2)


def mean_metrics(records: Sequence[ResultRecord]) -> tuple[MetricValue, ...]:
    """Every number of the first record as the mean over all, without interval; null where one of them lacks it."""
    found: dict[tuple[Any, ...], list[MetricValue]] = {}
    for record in records:
        for metric in record.metrics:
            found.setdefault(number_key(metric), []).append(metric)
    made = []
    for metric in records[0].metrics:
        values = [value.value for value in found[number_key(metric)] if value.value is not None]
        mean = fmean(values) if len(values) == len(records) else None
        reason = None if mean is not None else metric.null_reason or "not defined for every seed"
        made.append(replace(without_interval(metric), value=mean, null_reason=reason))
    return tuple(made)


def mean_sweep(sweeps: Sequence[Sweep]) -> Sweep:
    """The mean of sweeps over the same thresholds; null where one of them is."""

    def mean(name: str) -> tuple[float | None, ...]:
        columns = zip(*(getattr(sweep, name) for sweep in sweeps), strict=True)
        return tuple(None if None in column else fmean(column) for column in columns)

    return Sweep(sweeps[0].thresholds, mean("unseen_accuracy"), mean("seen_kept"), mean("seen_right"))


def _means(tables: Sequence[Table], first: Table, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    by_key: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for table in tables:
        for row in table.rows:
            by_key.setdefault(tuple(row.get(key) for key in keys), []).append(row)
    return [_mean_row(rows, first.columns, keys, len(tables)) for rows in by_key.values()]


def _mean_row(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], keys: tuple[str, ...], seeds: int
) -> dict[str, Any]:
    """Means of what is measured, and what all rows have in common."""
    mean: dict[str, Any] = {**{key: rows[0].get(key) for key in keys}, "seed": MEAN}
    for column in columns:
        values = [row.get(column.key) for row in rows]
        if column.key in keys:
            continue
        if column.kind not in _MEASURED:
            mean[column.key] = values[0] if len(set(values)) == 1 and len(rows) == seeds else None
        elif column.key in ("low", "high"):
            mean[column.key] = None  # not the mean of bounds: `_interval_of_mean`
        else:
            whole = [value for value in values if value is not None]
            mean[column.key] = fmean(whole) if len(whole) == seeds else None
    whole = [row["value"] for row in rows if row.get("value") is not None]
    if "value" in mean:
        mean["sd"] = stdev(whole) if len(whole) == seeds > 1 else None
        mean["unit"] = rows[0].get("unit")
        if mean["value"] is None:
            mean["null_reason"] = mean.get("null_reason") or "not defined for every seed"
    return mean


def _interval_of_mean(row: Mapping[str, Any], records: Sequence[ResultRecord]) -> dict[str, Any]:
    """Bounds of a mean over seeds; none where it has no value, or a seed no interval."""
    key = tuple(row.get(name) for name in ("task", "metric", "subset", "averaging", "threshold"))
    found = [value for record in records for value in record.metrics if _place(value) == key]
    if not found or row["value"] is None or len(found) < len(records):
        return {}
    limits = BOUNDS.get(metric_unit(found[0].metric, found[0].unit) or "", (-inf, inf))
    between = mean_interval(found, limits)
    return {} if between is None else {"low": between[0], "high": between[1]}


def _place(value: MetricValue) -> tuple[Any, ...]:
    return value.task, value.metric, value.subset, value.averaging, value.params.get("threshold")


def _notes(tables: Mapping[int, Table]) -> tuple[str, ...]:
    """Notes of all seeds once, those of some with the seed in front."""
    shared = [
        note for note in next(iter(tables.values())).notes if all(note in table.notes for table in tables.values())
    ]
    own = [f"Seed {seed}: {note}" for seed, table in tables.items() for note in table.notes if note not in shared]
    about = "Mean over seeds; its 95 % counts sources and seeds. SD between seeds (n - 1) is no interval over faces."
    return (about, *shared, *own)
