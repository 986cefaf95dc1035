"""From how many sources on a number has an interval: the one table, found by simulation.

`benchmarks/interval_coverage.py` draws faces of k sources a class or group with known truth; the entry of a metric
is the smallest k from which on its intervals hold the truth in 93 % of draws or more, less two Monte Carlo errors, in
every scenario (`benchmarks/results/interval_coverage.json`). A test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping

LEAST_OF_A_GROUP = 2  # the spread of one source is not known, and is not zero
LEAST_SOURCES: dict[str, int] = {
    "accuracy": 2, "ap": 20, "auc": 2, "auroc": 2, "balanced_accuracy": 2, "eer": 2, "fpr95": 8, "fpr95_openood": 8,
    "oscr": 2, "seen_accuracy": 8, "tnr": 2, "tpr": 2, "unseen_accuracy": 2,
}  # fmt: skip
OTHERS = 10  # metrics that the simulation does not know
# of a difference of two models, where that needs more (`benchmarks/comparisons.py`): one of them may be near the edge
LEAST_OF_DIFFERENCES: dict[str, int] = {"ap": 40, "auc": 20}


def least_sources(metric: str, *, difference: bool = False) -> int:
    """How many sources a number, or a difference of two, needs for an interval, of the rarer class where it has two."""
    least = LEAST_SOURCES.get(metric, OTHERS)
    return max(least, LEAST_OF_DIFFERENCES.get(metric, least)) if difference else least


def too_few(metric: str, counts: Mapping[str, int], least: int | None = None) -> str | None:
    """Why a number of so many sources, by what they are called, has no interval; None where they suffice.

    >>> too_few("auc", {"forged sources": 40, "real sources": 1}, 5)
    'no interval: 1 real sources, 5 are needed'
    """
    least = least_sources(metric) if least is None else least
    for name, count in sorted(counts.items(), key=lambda item: item[1]):
        if count < least:
            return f"no interval: {count} {name}, {least} are needed"
    return None
