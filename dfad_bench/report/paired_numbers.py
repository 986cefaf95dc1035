"""One number of two models on the same faces: difference, interval and test; Holm's correction over several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Literal

import numpy as np
import pandas as pd

from dfad_bench.core.record import MetricValue
from dfad_bench.metrics import METRICS
from dfad_bench.metrics.interval import bounds
from dfad_bench.metrics.paired import bootstrap_p, delong, holm, mcnemar
from dfad_bench.report.scored_faces import Number

LEVEL = 0.05
Place = tuple[str, str, str, str, float | None]  # task, metric, subset, averaging, threshold
_NO_WIDTH = 1e-12
_NO_SPREAD = "no test: every resample has the same difference"
_ONE_SOURCE = "no test: a class has fewer than two sources"
_NO_DRAWS = "no test: nothing to resample"
Test = Literal["mcnemar exact", "mcnemar", "delong", "permutation exact", "permutation", "bootstrap"]


@dataclass(frozen=True)
class Compared:
    """One number of both runs. `difference` is A minus B; `better` is "a" or "b" where Holm's p is below 0.05.

    `assignments`: of labels, over which a permutation test counted. `null_reason`: why there is no value, or no
    p-value.
    """

    task: str
    metric: str
    subset: str
    averaging: str
    threshold: float | None
    n: int
    a: float | None
    b: float | None
    difference: float | None
    ci95: tuple[float, float] | None
    test: Test | None
    p: float | None
    p_holm: float | None = None
    better: Literal["a", "b"] | None = None
    null_reason: str | None = None
    assignments: int | None = None


class Sources:
    """How many sources the faces of a number come from."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._by_group = {str(key): set(rows) for key, rows in frame.groupby("group")["source_key"]}
        self._found: dict[tuple[str, ...], int] = {}

    def __call__(self, value: MetricValue) -> int:
        """Sources of all groups of a number."""
        if value.members not in self._found:
            sources = (self._by_group.get(key, set()) for key in value.members)
            self._found[value.members] = len(set().union(*sources))
        return self._found[value.members]


def place_of(value: MetricValue) -> Place:
    """Which number of a record it is."""
    return value.task, value.metric, value.subset, value.averaging, value.params.get("threshold")


def compared(a: Number, b: Number, sources: int) -> Compared:
    """Both values, their difference, its interval and its test; `sources` is how many their faces come from."""
    task, metric, subset, averaging, threshold = place_of(a.value)
    facts: dict[str, Any] = {
        "task": task, "metric": metric, "subset": subset, "averaging": averaging, "threshold": threshold,
        "n": a.value.n, "a": a.value.value, "b": b.value.value,
    }  # fmt: skip
    if a.value.value is None or b.value.value is None:
        reason = a.value.null_reason or b.value.null_reason
        return Compared(**facts, difference=None, ci95=None, test=None, p=None, null_reason=reason)
    differences = a.draws() - b.draws() if a.draws is not None and b.draws is not None else None
    difference = a.value.value - b.value.value
    between = bounds(differences) if differences is not None else None
    if between is not None and abs(difference) > _NO_WIDTH and between[1] - between[0] < _NO_WIDTH:
        between = None  # resamples that all agree do not make a difference certain
    tested = _tested(a, b, differences, sources)
    return Compared(**facts, difference=difference, ci95=between, **tested)


def _tested(a: Number, b: Number, differences: np.ndarray | None, sources: int) -> dict[str, Any]:
    """Fields of `Compared`: the test, its p-value, or why there is none."""
    if a.hits is not None and b.hits is not None:
        found = mcnemar(a.hits, b.hits, a.sources)
        return {"test": "mcnemar exact" if found.exact else "mcnemar", "p": found.p}
    if a.ranked is not None and b.ranked is not None:
        areas = delong(a.ranked[0], a.ranked[1], b.ranked[1], a.sources)
        if areas is None:
            return {"test": None, "p": None, "null_reason": _ONE_SOURCE}
        return {"test": areas.test, "p": areas.p, "assignments": areas.assignments}
    if differences is None:
        return {"test": None, "p": None, "null_reason": _NO_DRAWS}
    p = bootstrap_p(differences, sources)
    return {"test": "bootstrap", "p": p} if p is not None else {"test": None, "p": None, "null_reason": _NO_SPREAD}


def corrected(rows: list[Compared]) -> list[Compared]:
    """Holm's p-values, and which run they show to be better."""
    made = []
    for row, p in zip(rows, holm([row.p for row in rows]), strict=True):
        shown = p is not None and p < LEVEL and bool(row.difference)
        wins = row.difference is not None and (row.difference > 0) == METRICS[row.metric].higher_is_better
        better: Literal["a", "b"] | None = ("a" if wins else "b") if shown else None
        made.append(replace(row, p_holm=p, better=better))
    return made


def mean_number(numbers: Sequence[Number]) -> Number:
    """The mean over runs of one number: of its values, and of its values in each resample of the same faces."""
    first = numbers[0]
    values = [number.value.value for number in numbers]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        reason = next(number.value.null_reason for number in numbers if number.value.value is None)
        return first.without_value(reason or "not defined for every seed")
    draws = [number.draws for number in numbers if number.draws is not None]

    def mean_draws() -> np.ndarray:
        mean: np.ndarray = np.mean([draw() for draw in draws], axis=0)
        return mean

    value = replace(first.value, value=fmean(known))
    return Number(value, draws=mean_draws if len(draws) == len(numbers) else None)
