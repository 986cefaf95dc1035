"""Metrics: pure functions from arrays to a float, found by name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """Where a metric's function is ("module:function"), which way is better, and the unit of its value."""

    function: str
    higher_is_better: bool
    unit: str  # "share" (0 to 1), "rad^2", "cosine"


METRICS: dict[str, Metric] = {
    "seen_accuracy": Metric("dfad_bench.metrics.openset:seen_accuracy", True, "share"),
    "unseen_accuracy": Metric("dfad_bench.metrics.openset:unseen_accuracy", True, "share"),
    "auroc": Metric("dfad_bench.metrics.openset:auroc", True, "share"),
    "oscr": Metric("dfad_bench.metrics.openset:oscr", True, "share"),
    "fpr95": Metric("dfad_bench.metrics.openset:fpr95", False, "share"),
    "accuracy": Metric("dfad_bench.metrics.detection:accuracy", True, "share"),
    "balanced_accuracy": Metric("dfad_bench.metrics.detection:balanced_accuracy", True, "share"),
    "tpr": Metric("dfad_bench.metrics.detection:tpr", True, "share"),
    "tnr": Metric("dfad_bench.metrics.detection:tnr", True, "share"),
    "auc": Metric("dfad_bench.metrics.detection:auc", True, "share"),
    "ap": Metric("dfad_bench.metrics.detection:ap", True, "share"),
    "eer": Metric("dfad_bench.metrics.detection:eer", False, "share"),
    "ece": Metric("dfad_bench.metrics.detection:ece", False, "share"),
    "prototype_retrieval": Metric("dfad_bench.metrics.retrieval:prototype_retrieval", True, "share"),
    "frechet_distance": Metric("dfad_bench.metrics.frechet:frechet_distance", False, "rad^2"),
    "paired_cosine": Metric("dfad_bench.metrics.cosine:paired_cosine", True, "cosine"),
}
