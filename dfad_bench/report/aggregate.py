"""Several seeds of one run to one table: mean and spread of every number."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.record import MetricValue, ResultRecord
from dfad_bench.report.real_sources import OVER_REALS
from dfad_bench.report.references import shown_references
from dfad_bench.report.run_record import settings_but_seed
from dfad_bench.report.table import Column, Table

_FEW = 3  # with fewer seeds a spread means little
_MAIN = ("seen", "unseen", "seen-vs-unseen")  # subsets of the short table
_COLUMNS = (
    Column("task", "Task", "text"),
    Column("metric", "Metric", "text"),
    Column("subset", "Faces", "text"),
    Column("averaging", "Mean", "text"),
    Column("params", "At", "text"),
    Column("mean", "Mean", "number", 4),
    Column("sd", "SD", "number", 4),
    Column("least", "Least", "number", 4),
    Column("most", "Most", "number", 4),
    Column("seeds", "Seeds", "count"),
)


def seeds_table(records: Sequence[ResultRecord], *, every: bool = False) -> Table:
    """Mean, standard deviation (n - 1) and range over seeds, a row a number: of all seen and all unseen faces.

    Rows carry `seeds`, how many of them have the number, and `values` by seed; a number that a seed lacks is averaged
    over the others, and the row says over how many.

    Args:
        records: of runs that differ in nothing but the seed.
        every: rows for single groups and near and far ones, too.

    Raises:
        ConfigError: they differ in more than the seed, or two have the same seed.
    """
    check_seeds(records)
    first, found = records[0], _by_number(records, every)
    title = f"{first.model.display or first.model.name}, protocol {first.protocol.name}: {len(records)} seeds"
    references, about = shown_references(records)
    theirs = {name: {number_key(value): value.value for value in values} for name, values in references.items()}
    rows = [{**_row(k, v), **{name: values.get(k) for name, values in theirs.items()}} for k, v in found.items()]
    columns = (*_COLUMNS, *(Column(name, name, "number", 4) for name in references))
    return Table(title, columns, rows, notes=(*_notes(records), *about))


def _by_number(records: Sequence[ResultRecord], every: bool) -> dict[tuple[Any, ...], dict[int, MetricValue]]:
    """What the numbers are called, and the value of each seed."""
    found: dict[tuple[Any, ...], dict[int, MetricValue]] = {}
    for record in sorted(records, key=seed_number):
        for metric in record.metrics:
            if not every and metric.subset not in _MAIN:
                continue
            found.setdefault(number_key(metric), {})[seed_number(record)] = metric
    return found


def _notes(records: Sequence[ResultRecord]) -> tuple[str, ...]:
    seeds = sorted(map(seed_number, records))
    notes = [f"Seeds: {', '.join(map(str, seeds))}. SD: between seeds, n - 1; it is no interval over faces."]
    if len(seeds) < _FEW:
        notes.append(f"{len(seeds)} seed{'s' * (len(seeds) > 1)}: too few to compare models; use {_FEW} or more.")
    if partial := [str(record.run.seed) for record in records if record.status != "complete"]:
        notes.append(f"Partial runs: seeds {', '.join(partial)}.")
    return tuple(notes)


def _row(key: tuple[Any, ...], of_seed: Mapping[int, MetricValue]) -> dict[str, Any]:
    task, metric, subset, averaging, params = key
    values = {seed: value.value for seed, value in of_seed.items()}
    known = [value for value in values.values() if value is not None]
    return {
        "task": task,
        "metric": metric,
        "subset": subset,
        "averaging": averaging,
        "params": ", ".join(f"{name} {value}" for name, value in json.loads(params).items() if name != "reals"),
        "mean": fmean(known) if known else None,
        "sd": stdev(known) if len(known) > 1 else None,
        "least": min(known, default=None),
        "most": max(known, default=None),
        "seeds": len(known),
        "values": {str(seed): value for seed, value in values.items()},
    }


def number_key(value: MetricValue) -> tuple[Any, ...]:
    """Which number of a record it is, the same for every seed."""
    of_one = ("settings_sha256", OVER_REALS)  # of one checkpoint
    params = {name: about for name, about in value.params.items() if name not in of_one}
    return value.task, value.metric, value.subset, value.averaging, json.dumps(params, sort_keys=True)


def seed_number(record: ResultRecord) -> int:
    """The seed of a record that stands beside others.

    Raises:
        ConfigError: it is not known, as of predictions made elsewhere.
    """
    if record.run.seed is None:
        name = record.model.display or record.model.name
        raise ConfigError(f"{quoted(name)}: its seed is not known, so it is in no mean over seeds")
    return record.run.seed


def check_seeds(records: Sequence[ResultRecord]) -> None:
    """Refuse records that differ in more than the seed.

    Raises:
        ConfigError: they do, or two have the same seed, or one has none that is known, or there is none.
    """
    if not records:
        raise ConfigError("no records to average")
    seeds = list(map(seed_number, records))
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds {quoted(sorted(seeds))}: a seed is given twice")
    alike = {
        "model": {record.model.name for record in records},
        "protocol": {record.protocol.sha256 for record in records},
        "manifests": {record.manifest.content_sha256 for record in records},
        "settings": {json.dumps(settings_but_seed(record), sort_keys=True) for record in records},
    }
    if other := [name for name, kinds in alike.items() if len(kinds) > 1]:
        raise ConfigError(f"these runs differ in more than the seed ({', '.join(other)}); they have no common mean")
