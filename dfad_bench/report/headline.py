"""Which numbers of a record are a metric's headline: those of the set that its entry in the table names."""

from __future__ import annotations

from collections.abc import Iterable

from dfad_bench.core.errors import UnknownNameError
from dfad_bench.core.record import MetricValue
from dfad_bench.metrics import METRICS, SCORED

Key = tuple[str, str, str, str]  # task, metric, subset, averaging
_HEADLINE_SET = {
    "seen": "seen", "unseen": "unseen", "ranking": "seen-vs-unseen", "retrieval": "unseen", "detection": "unseen",
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
    task = "detection" if metric.on == "detection" else "attribution"
    return [(task, name, _HEADLINE_SET[metric.on], _IN_RECORDS[averaging]) for averaging in metric.averaging]


def scored_metrics() -> list[str]:
    """Names of the metrics that are computed from predictions, in the order of the table."""
    return [name for name, metric in METRICS.items() if metric.on in SCORED]


def unit_of(name: str) -> str:
    """The unit of a metric; that of a record's metric which the table does not have is taken for a share."""
    return METRICS[name].unit if name in METRICS else "share"


def at_headline(metrics: Iterable[MetricValue], threshold: float) -> dict[Key, MetricValue]:
    """The numbers of a record by key; of those at several thresholds the ones at `threshold`."""
    return {
        (value.task, value.metric, value.subset, value.averaging): value
        for value in metrics
        if value.params.get("threshold", threshold) == threshold
    }
