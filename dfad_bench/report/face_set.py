"""A set of faces, and the metrics of the table computed on it: on all faces together, on each group, as a mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from dfad_bench.metrics import METRICS, Metric
from dfad_bench.metrics.interval import RANKINGS
from dfad_bench.report.scored_faces import Faces

NOT_DEFINED = "not defined on these faces"
NOT_EVERY_GROUP = "not defined for every group"
Arrays = Callable[[np.ndarray], dict[str, Any]]
MissingReason = Callable[[str, np.ndarray], str | None]


@dataclass(frozen=True)
class Part:
    """A group of a set, with the faces it is compared with: its name in the record, rows (n,) bool, and all groups."""

    name: str
    rows: np.ndarray
    members: tuple[str, ...]


@dataclass(frozen=True)
class FaceSet:
    """Faces of one set. Every value is what the function of the table's entry returns for them.

    Attributes:
        faces: all predictions, n rows.
        task: of the record.
        name: of the set in the record.
        metrics: names of the metrics that are computed on it.
        rows: (n,) bool, the faces of the set.
        members: keys of its groups.
        parts: its groups, for means over them.
        arrays: from row numbers (m,), some of them perhaps several times, to the arrays of `metrics.SETS`.
        missing: from `Metric.needs` and row numbers (m,) to why a metric is not defined there, None where it is.
        no_parts: why a mean over groups is not defined where there is no part.
        params: of every number in the record.
        positive: (n,) bool, for sets of two classes: the faces that are to have the higher scores.
        scores: (n,) for the same.
        right: (n,) bool for the same: positives that are named rightly.
        classes: for the same: what the sources of positives and of the others are called.
    """

    faces: Faces
    task: Literal["attribution", "detection"]
    name: str
    metrics: tuple[str, ...]
    rows: np.ndarray
    members: tuple[str, ...]
    parts: tuple[Part, ...]
    arrays: Arrays
    missing_reason: MissingReason = lambda needs, chosen: None
    no_parts: str = NOT_EVERY_GROUP
    params: Mapping[str, Any] = field(default_factory=dict)
    positive: np.ndarray | None = None
    scores: np.ndarray | None = None
    right: np.ndarray | None = None
    classes: tuple[str, str] = ("sources", "sources")
    _ranking_draws: dict[str, np.ndarray] = field(default_factory=dict)
    _part_draws: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def value(self, metric: Metric, chosen: np.ndarray) -> tuple[float | None, str | None]:
        """A metric of the chosen rows (m,), and why it is not defined: one of the two is None."""
        if reason := self.missing_reason(metric.needs, chosen):
            return None, reason
        value = metric.compute(**self.arrays(chosen)) if len(chosen) else None
        return value, NOT_DEFINED if value is None else None

    def mean_value(self, metric: Metric, chosen: np.ndarray) -> tuple[float | None, str | None]:
        """The mean over parts of a metric of the chosen rows (m,), and why it is not defined."""
        values = []
        for part in self.parts:
            value, _ = self.value(metric, chosen[part.rows[chosen]])
            if value is None:
                return None, NOT_EVERY_GROUP
            values.append(value)
        return (float(np.mean(values)), None) if values else (None, self.no_parts)

    def values_by_face(self, metric: Metric, rows: np.ndarray) -> np.ndarray:
        """The values that a metric with `per_face` averages, of some rows (n,) bool, in their order."""
        chosen = np.flatnonzero(rows)
        if not len(chosen):
            return np.zeros(0, dtype=bool)
        return metric.compute_per_face(**self.arrays(chosen))[-len(chosen) :]  # registered faces stand before queries

    def facts(self, metric: Metric, rows: np.ndarray, members: tuple[str, ...], averaging: str) -> dict[str, Any]:
        """Fields of a `MetricValue` that say of which faces it is."""
        facts: dict[str, Any] = {"members": members, "n": int(rows.sum()), "averaging": averaging}
        if self.positive is not None:
            positives = int((rows & self.positive).sum())
            facts |= {"n_pos": positives, "n_neg": facts["n"] - positives}
        return facts | {"params": {**self.params, **metric.settings}}

    def sources(self, metric: Metric, rows: np.ndarray) -> dict[str, int]:
        """How many sources some rows (n,) bool are of, by what they are called: of each class that the metric needs."""
        if self.positive is None or metric.needs in ("any", "forged", "real") and self.task == "detection":
            chosen = rows if self.positive is None or metric.needs == "any" else rows & self._of_needs(metric.needs)
            return {"sources": self.faces.sources_of(chosen)}
        sides = (rows & self.positive, rows & ~self.positive)
        return {name: self.faces.sources_of(side) for name, side in zip(self.classes, sides, strict=True)}

    def sources_by_part(self, metric: Metric) -> dict[str, int]:
        """The fewest that a part has of each."""
        found: dict[str, int] = {}
        for part in self.parts:
            for name, count in self.sources(metric, part.rows).items():
                name = name if len(self.parts) == 1 else f"{name} in a group"
                found[name] = min(count, found.get(name, count))
        return found

    def _of_needs(self, needs: str) -> np.ndarray:
        assert self.positive is not None
        return self.positive if needs == "forged" else ~self.positive

    def ranking_draws(self, statistic: str) -> np.ndarray:
        """Draws of a ranking statistic of the whole set; those of all its metrics come from one sort."""
        if statistic not in self._ranking_draws:
            named = {METRICS[name].draws for name in self.metrics}
            found = self._ranked(self.rows, [name for name in RANKINGS if name in {*named, statistic}])
            self._ranking_draws.update(found)
        return self._ranking_draws[statistic]

    def mean_ranking_draws(self, statistic: str) -> np.ndarray:
        """The mean over parts of a ranking statistic in each draw; what parts share is drawn once a resample."""
        return np.mean([self._draws_of_part(part, statistic) for part in self.parts], axis=0)

    def _draws_of_part(self, part: Part, statistic: str) -> np.ndarray:
        """Draws of a part beside all others; those of every metric that is a mean over parts come from one sort."""
        if (part.name, statistic) not in self._part_draws:
            means = (METRICS[name] for name in self.metrics if "macro" in METRICS[name].averaging)
            named = {statistic, *(metric.draws for metric in means)}
            for name, draws in self._ranked(part.rows, [name for name in RANKINGS if name in named]).items():
                self._part_draws[part.name, name] = draws
        return self._part_draws[part.name, statistic]

    def _ranked(self, among: np.ndarray, only: list[str]) -> dict[str, np.ndarray]:
        assert self.positive is not None
        assert self.scores is not None
        rows, right = self.rows, self.right
        named = None if right is None else right[rows]
        return self.faces.bootstrap(rows).ranking_draws(
            self.positive[rows], self.scores[rows], right=named, among=among[rows], only=only
        )
