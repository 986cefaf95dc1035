"""Predicted faces as arrays, and numbers that know how their interval and their paired test are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Literal

import numpy as np
import pandas as pd

from dfad_bench.core.labels import FAKE, REAL, UNSEEN
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import MetricValue
from dfad_bench.core.record_ranges import BOUNDS, SCHEMA_METRICS, metric_unit
from dfad_bench.metrics import METRICS
from dfad_bench.metrics.few_sources import LEAST_OF_A_GROUP, least_sources, too_few
from dfad_bench.metrics.interval import ClusterBootstrap, bounds
from dfad_bench.metrics.openset import named_rightly
from dfad_bench.metrics.over_real_sources import RealPlacements
from dfad_bench.metrics.spread import FEWEST_DRAWS, interval, spread

_NO_WIDTH = 1e-12
_UNBOUNDED = (-inf, inf)
BIASED = "no interval: resampling faces shifts this number"
FEW_DRAWS = f"no interval: fewer than {FEWEST_DRAWS} resamples have a value"
NO_SPREAD = "no interval: every resample has the same value"
Interval = tuple[float, float]


@dataclass(frozen=True)
class Number:
    """A metric's value, and what its interval and a paired test of two models need.

    Attributes:
        value: the number as a record keeps it, before its interval is computed.
        draws: makes its values in the resamples of the bootstrap.
        bootstrap: what `draws` are drawn by.
        counts: how many sources it is of, by what they are called; two where it is of two classes.
        formula: an interval from a formula, with the name of its method.
        hits: (n,) right or not, where the value is a share of rows.
        ranked: (labels, scores), where it is an area under the ROC curve.
        sources: (n,) the source of those rows.
        biased: resampling shifts the value, so its draws serve a difference of two models, and no interval.
        wilson_fallback: Wilson's interval for when every draw is the same, as where all faces are right; an interval
            without width would claim to know the value for certain.
        earlier: its interval is made by the rule of record schema 1.1.
        placed: of a mean of areas against real faces of several collections, where each of these lies.
        of_seeds: of a mean over seeds, the variance of that mean between seeds and its degrees of freedom.
    """

    value: MetricValue
    draws: Callable[[], np.ndarray] | None = None
    bootstrap: Callable[[], ClusterBootstrap] | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    formula: tuple[Interval | None, Literal["wilson", "wilson_t", "delong", "delong_t"]] | None = None
    hits: np.ndarray | None = None
    ranked: tuple[np.ndarray, np.ndarray] | None = None
    sources: np.ndarray | None = None
    biased: bool = False
    wilson_fallback: Callable[[], Interval | None] | None = None
    earlier: bool = False
    of_seeds: tuple[tuple[float, int], ...] = ()
    placed: RealPlacements | None = None

    @property
    def limits(self) -> Interval:
        """Between which values the number can lie, by its unit."""
        return BOUNDS.get(metric_unit(self.value.metric, self.value.unit) or "", _UNBOUNDED)

    @property
    def too_few(self) -> str | None:
        """Why the number has too few sources for an interval; None where there are enough."""
        return self._too_few()

    @property
    def too_few_of_difference(self) -> str | None:
        """Why a difference of two models has too few; None where there are enough."""
        return self._too_few(least_sources(self.value.metric, difference=True))

    def _too_few(self, least: int | None = None) -> str | None:
        if reason := too_few(self.value.metric, self.counts, least):
            return reason
        if self.bootstrap is None or self.formula is not None:
            return None
        fewest = int(self.bootstrap().pool_sizes.min(initial=LEAST_OF_A_GROUP))
        return too_few(self.value.metric, {"sources in a group": fewest}, LEAST_OF_A_GROUP)

    def with_interval(self, resamples: int, seed: int) -> MetricValue:
        """The value with its interval, or why there is none; none for `resamples` 0, unless a formula gives it."""
        if self.value.value is None:
            return self.value
        if self.earlier:
            return self._with_earlier_interval(resamples, seed)
        value = replace(self.value, sources=min(self.counts.values(), default=None))
        if reason := self.too_few:
            return replace(value, ci_reason=reason)
        if self.formula is not None and self.formula[0] is not None:
            return replace(value, ci95=self.formula[0], ci_method=self.formula[1])
        if self.biased:
            return replace(value, ci_reason=BIASED)
        if self.draws is None or self.bootstrap is None or not resamples:
            return value
        assert value.value is not None
        facts: dict[str, Any] = {"ci_resamples": resamples, "ci_seed": seed}
        draws = self.draws()
        of = spread(draws, self.bootstrap())
        if of is not None:
            between = interval(value.value, of, self.limits)
            facts |= {"ci_method": "bootstrap_t", "standard_error": of.error, "df": of.df}
            return replace(value, ci95=between, **facts)
        fallback = self.wilson_fallback() if self.wilson_fallback is not None else None
        if fallback is None:
            why = NO_SPREAD if (~np.isnan(draws)).sum() >= FEWEST_DRAWS else FEW_DRAWS
            return replace(value, ci_reason=why, **facts)
        return replace(value, ci95=fallback, ci_method="wilson", **facts)

    def _with_earlier_interval(self, resamples: int, seed: int) -> MetricValue:
        """The interval as in records of schema 1.1: percentiles of draws, formulas with the normal quantile.

        Where a formula gave none, as of an area whose variance is zero, no draws took its place.
        """
        if self.formula is not None:
            of, by = self.formula
            return self.value if of is None else replace(self.value, ci95=of, ci_method=by)
        method = "bootstrap_stratified"
        between = bounds(self.draws()) if self.draws is not None and resamples and not self.biased else None
        if between is not None and between[1] - between[0] < _NO_WIDTH:
            between, method = self.wilson_fallback() if self.wilson_fallback is not None else None, "wilson"
        if between is None:
            return self.value
        facts: dict[str, Any] = {"ci_method": method, "ci_resamples": resamples, "ci_seed": seed}
        return replace(self.value, ci95=between, **facts)

    def without_value(self, reason: str) -> Number:
        """The same number as not defined, because of `reason`."""
        return Number(replace(self.value, value=None, null_reason=reason))


class Faces:
    """Predictions of one model as arrays (n,), and which groups of the protocol they hold.

    Args:
        frame: checked predictions.
        probs: (n, x) class probabilities.
        protocol: groups and thresholds.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        earlier: numbers and intervals are those of record schema 1.1.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        probs: np.ndarray,
        protocol: Protocol,
        resamples: int,
        seed: int,
        earlier: bool = False,
    ) -> None:
        self.protocol, self.probs, self.resamples, self.seed = protocol, probs, resamples, seed
        self.earlier = earlier
        self.group = frame["group"].to_numpy(dtype=str)
        self.source = frame["source_key"].to_numpy(dtype=str)
        self._source_number = np.unique(self.source, return_inverse=True)[1]
        self.label = frame["attribution_label"].to_numpy(dtype=np.int64)
        self.truth = frame["detection_label"].to_numpy(dtype=np.int64)
        self.p_fake = frame["p_fake"].to_numpy(dtype=float)
        self.confidence = probs.max(axis=1)
        self.predicted = probs.argmax(axis=1)
        self.named_rightly = named_rightly(probs, self.label)
        self.detection_label_of = {group.key: group.taxon.detection_label for group in protocol.groups}
        present = set(self.group)
        self.seen = [g.key for g in protocol.groups if g.label != UNSEEN and g.key in present]
        tested = [g for g in protocol.unseen if g.key in present]
        self.processed = [g.key for g in tested if g.taxon.processed]
        self.unseen = [g.key for g in tested if not g.taxon.processed]
        self.averaged = [g.key for g in tested if g.in_average and not g.taxon.processed]
        self._bootstraps: dict[bytes, ClusterBootstrap] = {}
        self._groups, self._place = np.unique(self.group, return_inverse=True)
        self._rows: dict[tuple[str, ...], np.ndarray] = {}

    def of(self, keys: Sequence[str]) -> np.ndarray:
        """(n,) whether a row is of one of these groups; read-only, the same array for the same groups."""
        asked = tuple(keys)
        if asked not in self._rows:
            self._rows[asked] = np.isin(self._groups, list(asked))[self._place]
            self._rows[asked].flags.writeable = False
        return self._rows[asked]

    def sources_of(self, rows: np.ndarray) -> int:
        """How many sources some rows (n,) bool are of."""
        return int(np.count_nonzero(np.bincount(self._source_number[rows])))

    def bootstrap(self, rows: np.ndarray) -> ClusterBootstrap:
        """The bootstrap of some rows (n,) bool, by source (`ClusterBootstrap`); the same object for the same rows."""
        key = np.packbits(rows).tobytes()
        if key not in self._bootstraps:
            self._bootstraps[key] = ClusterBootstrap(
                self.group[rows], self.source[rows], resamples=self.resamples, seed=self.seed
            )
        return self._bootstraps[key]

    def videos(self, frame: pd.DataFrame) -> Faces | None:
        """The same with one row a video, the mean of its frames; None where no video has two frames.

        A video is one value of the column `video` within one group; faces without one stay as they are.
        """
        if "video" not in frame or not frame["video"].notna().any():
            return None
        own_name = "/" + frame["sample_id"].astype(str)  # no path of a video begins with a slash
        names = frame["video"].where(frame["video"].notna(), own_name).astype(str)
        keys = [frame["group"].astype(str), names]
        columns = [f"p_{k}" for k in range(self.protocol.num_generators)]
        means = frame[[*columns, "p_fake"]].astype(float).groupby(keys, sort=True).mean()
        if len(means) == len(frame):
            return None
        of_video = frame[["source_key", "attribution_label", "detection_label"]].groupby(keys, sort=True)
        facts = of_video.first() if self.earlier else of_video.min()  # of several sources one, whatever the order
        merged = pd.concat([facts, means], axis=1).reset_index()
        return Faces(merged, means[columns].to_numpy(), self.protocol, self.resamples, self.seed, self.earlier)


def number(
    task: Any, metric: str, subset: str, value: float | None, reason: str | None, facts: dict[str, Any], **more: Any
) -> Number:
    """A `Number`, without value where there is a `reason`.

    Args:
        task: of the record.
        metric: its name in `METRICS`.
        subset: the group or set of its faces.
        value: what was computed.
        reason: why it is not defined, None where it is.
        facts: further fields of `MetricValue`.
        more: further fields of `Number`.
    """
    entry = METRICS[metric]
    unit = None if metric in SCHEMA_METRICS else entry.unit  # the name of the others says it
    about = {"higher_is_better": entry.higher_is_better, "unit": unit, **facts}
    made = Number(MetricValue(task, metric, subset, value, **about), **more)
    return made if reason is None else made.without_value(reason)


def missing_label(truth: np.ndarray, needs: str) -> str | None:
    """Why a detection metric is not defined on faces with these labels (n,); None where it is.

    `needs` as of `Metric`: a metric of any face, of forged ones, of real ones, or of both (of each alone, or together).
    """
    if needs == "any":
        return None if len(truth) else "no faces"
    if needs in ("forged", "both", "classes") and not (truth == FAKE).any():
        return "no forged faces"
    return "no real faces" if needs in ("real", "both", "classes") and not (truth == REAL).any() else None
