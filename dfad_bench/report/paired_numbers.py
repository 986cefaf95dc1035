"""One number of two models on the same faces: difference, interval and test; Holm's correction over several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, variance
from typing import Any, Literal

import numpy as np
import pandas as pd

from dfad_bench.core.record import MetricValue
from dfad_bench.metrics import METRICS
from dfad_bench.metrics.over_real_sources import RealPlacements
from dfad_bench.metrics.paired import delong, fewest_of_a_class, holm, least_p, mcnemar
from dfad_bench.metrics.spread import Spread, difference_interval, difference_p, over_seeds, spread
from dfad_bench.report.scored_faces import Number

LEVEL = 0.05
Place = tuple[str, str, str, str, float | None]  # task, metric, subset, averaging, threshold
_NO_WIDTH = 1e-12
_NO_SPREAD = "no interval: every resample has the same difference"
_ONE_SOURCE = "no test: a class has fewer than two sources"
_NO_DRAWS = "no interval: nothing to resample"
Test = Literal["mcnemar exact", "mcnemar", "delong", "permutation exact", "permutation", "bootstrap t"]


@dataclass(frozen=True)
class Compared:
    """One number of both runs. `difference` is A minus B; `better` is "a" or "b" where Holm's p is below 0.05.

    `assignments`: of labels, over which a permutation test counted. `null_reason`: why there is no value, or no
    p-value. `ci_reason`: why the difference has no interval.
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
    ci_reason: str | None = None


class Sources:
    """How many sources the faces of a number come from."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._by_group = {str(key): set(rows) for key, rows in frame.groupby("group")["source_key"]}
        self._counts: dict[tuple[str, ...], int] = {}

    def __call__(self, value: MetricValue) -> int:
        """Sources of all groups of a number."""
        if value.members not in self._counts:
            sources = (self._by_group.get(key, set()) for key in value.members)
            self._counts[value.members] = len(set().union(*sources))
        return self._counts[value.members]


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
    difference = a.value.value - b.value.value
    of, reason = _spread(a, b)
    tested, of = _tested(a, b, difference, of, reason, sources)
    few = a.too_few_of_difference  # the test holds where models are equal, and the interval needs more
    between = difference_interval(difference, of, a.limits) if of is not None and few is None else None
    same = of is None and reason is None and abs(difference) < _NO_WIDTH
    tested = {"test": "bootstrap t", "p": 1.0} if same else tested
    shown = (difference, difference) if same else between
    why = reason or (None if shown else few or _NO_SPREAD)
    return Compared(**facts, difference=difference, ci95=shown, ci_reason=why, **tested)


def _spread(a: Number, b: Number) -> tuple[Spread | None, str | None]:
    """The standard error of the difference of both over the sources, and over the seeds where there are several.

    None where the resamples do not differ; or there is a reason, too few sources or none, why it cannot be known.
    """
    if a.draws is None or b.draws is None or a.bootstrap is None:
        return None, _NO_DRAWS
    if reason := a.too_few:
        return None, reason
    of_sources = spread(a.draws() - b.draws(), a.bootstrap())
    over_sources = [(of_sources.error**2, of_sources.df)] if of_sources is not None else []
    return over_seeds(over_sources, [*a.of_seeds, *b.of_seeds]), None


def _tested(
    a: Number, b: Number, difference: float, of: Spread | None, reason: str | None, sources: int
) -> tuple[dict[str, Any], Spread | None]:
    """Fields of `Compared`, the test of the difference that is shown and its p-value or why there is none; its spread.

    DeLong's test has a standard error of its own, of which the interval is made, too, where one may be printed.
    """
    if a.hits is not None and b.hits is not None:
        found = mcnemar(a.hits, b.hits, a.sources)
        return {"test": "mcnemar exact" if found.exact else "mcnemar", "p": found.p}, of
    test: Test = "bootstrap t"
    if a.ranked is not None and b.ranked is not None:
        areas = delong(a.ranked[0], a.ranked[1], b.ranked[1], a.sources)
        if areas is None:
            return {"test": None, "p": None, "null_reason": _ONE_SOURCE}, of
        if areas.standard_error == 0:  # an exact test, which needs no variance
            return {"test": areas.test, "p": areas.p, "assignments": areas.assignments}, of
        test, own = "delong", Spread(areas.standard_error, fewest_of_a_class(a.ranked[0], a.sources) - 1)
        of = own if reason is None else None  # its variance is no better known where a group has a single large source
    if of is None:
        why = (reason or _NO_SPREAD).replace("no interval", "no test")
        return {"test": None, "p": None, "null_reason": why}, None
    return {"test": test, "p": _p(difference, of, a.limits, sources)}, of


def _p(difference: float, of: Spread, limits: tuple[float, float], sources: int) -> float:
    return max(difference_p(difference, of, limits), least_p(sources))


def corrected(rows: list[Compared]) -> list[Compared]:
    """Holm's p-values, and which run they show to be better.

    None where the interval holds 0: exact tests and intervals of few sources may disagree, and then nothing is shown.
    """
    made = []
    for row, p in zip(rows, holm([row.p for row in rows]), strict=True):
        excludes_zero = row.ci95 is None or not row.ci95[0] <= 0 <= row.ci95[1]
        shown = p is not None and p < LEVEL and bool(row.difference) and excludes_zero
        wins = row.difference is not None and (row.difference > 0) == METRICS[row.metric].higher_is_better
        better: Literal["a", "b"] | None = ("a" if wins else "b") if shown else None
        made.append(replace(row, p_holm=p, better=better))
    return made


def mean_number(numbers: Sequence[Number]) -> Number:
    """The mean over runs of one number and of its values in each resample of the same faces; variance between seeds."""
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

    of_seeds = ((variance(known) / len(known), len(known) - 1),) if len(known) > 1 else ()
    return replace(
        first,
        value=replace(first.value, value=fmean(known)),
        draws=mean_draws if len(draws) == len(numbers) else None,
        hits=None,
        ranked=None,
        placed=_mean_placed(numbers),
        of_seeds=tuple(part for part in of_seeds if part[0] > 0),
    )


def _mean_placed(numbers: Sequence[Number]) -> RealPlacements | None:
    """Where real faces lie on average over seeds, which see the same faces."""
    placed = [number.placed for number in numbers if number.placed is not None]
    if not placed or len(placed) < len(numbers):
        return None
    return placed[0]._replace(values=np.mean([one.values for one in placed], axis=0))
