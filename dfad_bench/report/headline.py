"""Which numbers of a record are a metric's headline: those of the set that its entry in the table names."""

from __future__ import annotations

from collections.abc import Iterable

from dfad_bench.core.errors import UnknownNameError
from dfad_bench.core.record import MetricValue
from dfad_bench.core.record_ranges import metric_unit
from dfad_bench.metrics import METRICS, SCORED

Key = tuple[str, str, str, str]  # task, metric, subset, averaging
_HEADLINE_SET = {
    "seen": "seen", "unseen": "unseen", "ranking": "seen-vs-unseen", "retrieval": "unseen", "detection": "unseen",
    "processed": "processed",
}  # fmt: skip
_IN_RECORDS = {"pooled": "micro", "macro": "macro"}


def headline_keys(name: str) -> list[Key]:
    """The headline of a metric, once for each of its averagings, the first one first.

    Raises:
        UnknownNameError: no metric of predictions has that name.

    >>> headline_keys("auc")
    [('detection', 'auc', 'unseen', 'micro'), ('detection', 'auc', 'unseen', 'macro')]
    """
    if name not in scored_metrics():
        raise UnknownNameError("metric", name, scored_metrics())
    metric = METRICS[name]
    task = "detection" if metric.on in ("detection", "processed") else "attribution"
    return [(task, name, _HEADLINE_SET[metric.on], _IN_RECORDS[averaging]) for averaging in metric.averaging]


def scored_metrics() -> list[str]:
    """Names of the metrics that are computed from predictions, in the order of the table."""
    return [name for name, metric in METRICS.items() if metric.on in SCORED]


def metric_notes(names: Iterable[str]) -> list[str]:
    """What the table of metrics says of the conventions of those named, each once."""
    notes = {name: METRICS[name].note for name in names if name in METRICS}
    return [f"{name}: {note}." for name, note in notes.items() if note]


def unit_of(value: MetricValue) -> str:
    """The unit of a number of a record, by the table of metrics or as it states; "" where neither says it."""
    return metric_unit(value.metric, value.unit) or ""


def unknown_metrics(metrics: Iterable[MetricValue]) -> list[str]:
    """A line for each metric of a record that this installation does not have: it is shown and never computed."""
    names = sorted({value.metric for value in metrics} - set(METRICS))
    return [
        f"{name}: no metric of this installation (`dfad list metrics`), so it is shown as the record states it and"
        " neither computed nor compared; install the package that brings it"
        for name in names
    ]


def at_headline(metrics: Iterable[MetricValue], threshold: float) -> dict[Key, MetricValue]:
    """The numbers of a record by key; of those at several thresholds the ones at `threshold`."""
    return {
        (value.task, value.metric, value.subset, value.averaging): value
        for value in metrics
        if value.params.get("threshold", threshold) == threshold
    }
