"""Where a record and the numbers computed again differ, each difference with a name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dfad_bench.core.record import MetricValue, ResultRecord, plain
from dfad_bench.core.record_ranges import ADDED_NUMBERS, SCORED_BY_SCHEMA
from dfad_bench.metrics import METRICS
from dfad_bench.report.real_sources import OVER_REALS, without_real_sources
from dfad_bench.report.score import Score

TOLERANCE = 1e-9  # of numbers computed again
_OF_INTERVALS = ("ci95", "ci_resamples", "ci_seed", "sources", "standard_error", "df", "ci_reason")


@dataclass(frozen=True)
class Difference:
    """A number (or hash) by name, as the record states it and as it was found; `None` where it is missing."""

    name: str
    stated: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.name} is {_shortened(self.found)}, the record says {_shortened(self.stated)}"


def metric_name(value: MetricValue) -> str:
    """The name of a metric of a record, different from those of all others of it.

    >>> metric_name(MetricValue("attribution", "oscr", "seen-vs-unseen", 0.5, 10, True, averaging="micro"))
    'metrics: oscr of seen-vs-unseen (attribution, micro)'
    """
    threshold = value.params.get("threshold")
    about: list[str] = [value.task, *([value.averaging] if value.averaging != "none" else [])]
    about += [f"threshold {threshold:g}"] if isinstance(threshold, int | float) else []
    about += [f"{key} {value.params[key]}" for key in ("of", "corruption", "severity") if key in value.params]
    return f"metrics: {value.metric} of {value.subset} ({', '.join(about)})"


def score_differences(record: ResultRecord, scored: Score) -> Iterator[Difference]:
    """Every field of every number of a record that differs from what its predictions score, by more than `TOLERANCE`.

    A record of schema 1.0 was made before all intervals were by source and before some numbers existed: only the
    numbers it states are compared, without their intervals. Numbers of `added_metrics` are left out.
    """
    tasks = {value.task for value in scored.metrics}
    stated = [value for value in record.metrics if value.task in tasks]
    for name in sorted({value.metric for value in stated} - set(METRICS)):
        yield Difference(f"metrics: {name}, which this version of dfad_bench does not compute,", "a value", None)
    stated = [value for value in stated if value.metric in METRICS]
    groups, sweep, found = plain(scored.groups), plain(scored.sweep), _known_numbers(record.metrics, scored.metrics)
    if record.schema_version == "1.0":
        known = {metric_name(value) for value in stated}
        found = [without_interval(value) for value in found if metric_name(value) in known]
        stated = [without_interval(value) for value in stated]
        groups = {key: {k: v for k, v in group.items() if k != "named"} for key, group in groups.items()}
        sweep = plain(record.sweep)
    units = {value.metric for value in stated if value.unit}  # numbers made before units were stated
    found = [value if value.metric in units else replace(value, unit=None) for value in found]
    before, after = ({metric_name(value): plain(value) for value in values} for values in (stated, found))
    if len(before) < len(stated):
        yield Difference("metrics", f"{len(stated)} numbers", f"{len(before)} once each")
    yield from differences("", before, after)
    yield from differences("groups", plain(record.groups), groups)
    yield from differences("sweep", plain(record.sweep), sweep)


def reference_differences(record: ResultRecord, found: Mapping[str, Sequence[MetricValue]]) -> Iterator[Difference]:
    """Every number of a record's reference predictors that differs from `found`, by name.

    Metrics that were added to the table since are left out.
    """
    for name in [*record.references, *(key for key in found if key not in record.references)]:
        stated = record.references.get(name, ())
        ours = _known_numbers(stated, found.get(name, ()))
        before, after = ({metric_name(value): plain(value) for value in values} for values in (stated, ours))
        if len(before) < len(stated):
            yield Difference(f"references.{name}", f"{len(stated)} numbers", f"{len(before)} once each")
        yield from differences(f"references.{name}", before, after)


def added_metrics(record: ResultRecord, scored: Score) -> list[str]:
    """Numbers that were added after a record was made: neither it nor its schema has them."""
    known = {metric_name(value) for value in _known_numbers(record.metrics, scored.metrics)}
    later = [value for value in scored.metrics if metric_name(value) not in known]
    by_generator = "{} by generator"
    return sorted({v.metric if v.metric not in SCORED_BY_SCHEMA else by_generator.format(v.metric) for v in later})


def _known_numbers(stated: Sequence[MetricValue], found: Sequence[MetricValue]) -> list[MetricValue]:
    """Those of `found` that a record of these numbers could have: the others came after it."""
    metrics = {value.metric for value in stated} | SCORED_BY_SCHEMA
    later = ADDED_NUMBERS - {(value.metric, value.averaging) for value in stated}
    known = [value for value in found if value.metric in metrics and (value.metric, value.averaging) not in later]
    if not any(OVER_REALS in value.params for value in stated):  # collections of real faces are held fixed, then
        known = [without_real_sources(value) if OVER_REALS in value.params else value for value in known]
    return known


def without_interval(value: MetricValue) -> MetricValue:
    """The same number without its interval and all that says how that was made."""
    none: dict[str, Any] = dict.fromkeys(_OF_INTERVALS)
    return replace(value, ci_method="none", **none)


def differences(name: str, stated: Any, found: Any) -> Iterator[Difference]:
    """Where two plain values (mappings, lists, numbers, text) differ; `name` is that of the whole."""
    if isinstance(stated, Mapping) and isinstance(found, Mapping):
        for key in [*stated, *(key for key in found if key not in stated)]:
            inner = f"{name}.{key}" if name else str(key)
            yield from differences(inner, stated.get(key), found.get(key))
    elif isinstance(stated, list | tuple) and isinstance(found, list | tuple) and len(stated) == len(found):
        for place, (a, b) in enumerate(zip(stated, found, strict=True)):
            yield from differences(f"{name}[{place}]", a, b)
    elif not _is_same_value(stated, found):
        yield Difference(name, stated, found)


def leaves(value: Any) -> int:
    """How many single values a plain value holds.

    >>> leaves({"a": [1, 2], "b": None})
    3
    """
    if isinstance(value, Mapping):
        return sum(map(leaves, value.values()))
    return sum(map(leaves, value)) if isinstance(value, list | tuple) else 1


def _is_same_value(a: Any, b: Any) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (a, b))
    return math.isclose(a, b, rel_tol=0, abs_tol=TOLERANCE) if numbers else bool(a == b)


def _shortened(value: Any) -> str:
    text = "missing" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:16]}..."
