"""Predicted faces as arrays, and numbers that know how their interval and their paired test are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from dfad_bench.core.labels import FAKE, REAL, UNSEEN
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import MetricValue
from dfad_bench.core.record_ranges import SCHEMA_METRICS
from dfad_bench.metrics import METRICS
from dfad_bench.metrics.interval import ClusterBootstrap, bounds
from dfad_bench.metrics.openset import named_rightly

_NO_WIDTH = 1e-12
Interval = tuple[float, float]


@dataclass(frozen=True)
class Number:
    """A metric's value, and what its interval and a paired test of two models need.

    Attributes:
        value: the number as a record keeps it, before its interval is computed.
        draws: makes its values in the resamples of the bootstrap.
        formula: an interval from a formula, with the name of its method.
        hits: (n,) right or not, where the value is a share of rows.
        ranked: (labels, scores), where it is an area under the ROC curve.
        sources: (n,) the source of those rows.
        biased: resampling shifts the value, so its draws serve a difference of two models, and no interval.
        wilson_fallback: Wilson's interval for when every draw is the same, as where all faces are right; an interval
            without width would claim to know the value for certain.
    """

    value: MetricValue
    draws: Callable[[], np.ndarray] | None = None
    formula: tuple[Interval | None, Literal["wilson", "delong"]] | None = None
    hits: np.ndarray | None = None
    ranked: tuple[np.ndarray, np.ndarray] | None = None
    sources: np.ndarray | None = None
    biased: bool = False
    wilson_fallback: Callable[[], Interval | None] | None = None

    def with_interval(self, resamples: int, seed: int) -> MetricValue:
        """The value with its interval; without one for `resamples` 0, unless a formula gives it."""
        if self.value.value is None:
            return self.value
        if self.formula is not None and self.formula[0] is not None:
            return replace(self.value, ci95=self.formula[0], ci_method=self.formula[1])
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
    """

    def __init__(self, frame: pd.DataFrame, probs: np.ndarray, protocol: Protocol, resamples: int, seed: int) -> None:
        self.protocol, self.probs, self.resamples, self.seed = protocol, probs, resamples, seed
        self.group = frame["group"].to_numpy(dtype=str)
        self.source = frame["source_key"].to_numpy(dtype=str)
        self.label = frame["attribution_label"].to_numpy(dtype=np.int64)
        self.truth = frame["detection_label"].to_numpy(dtype=np.int64)
        self.p_fake = frame["p_fake"].to_numpy(dtype=float)
        self.confidence = probs.max(axis=1)
        self.predicted = probs.argmax(axis=1)
        self.named_rightly = named_rightly(probs, self.label)
        self.detection_label_of = {group.key: group.taxon.detection_label for group in protocol.groups}
        present = set(self.group)
        self.seen = [g.key for g in protocol.groups if g.label != UNSEEN and g.key in present]
        self.unseen = [g.key for g in protocol.unseen if g.key in present]
        self.averaged = [g.key for g in protocol.unseen if g.in_average and g.key in present]
        self._bootstraps: dict[bytes, ClusterBootstrap] = {}

    def of(self, keys: Sequence[str]) -> np.ndarray:
        """(n,) whether a row is of one of these groups."""
        return np.isin(self.group, list(keys))

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
        facts = frame[["source_key", "attribution_label", "detection_label"]].groupby(keys, sort=True).first()
        merged = pd.concat([facts, means], axis=1).reset_index()
        return Faces(merged, means[columns].to_numpy(), self.protocol, self.resamples, self.seed)


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

    `needs` as of `Metric`: a metric of any face, of forged ones, of real ones, or of both.
    """
    if needs == "any":
        return None if len(truth) else "no faces"
    if needs in ("forged", "both") and not (truth == FAKE).any():
        return "no forged faces"
    return "no real faces" if needs in ("real", "both") and not (truth == REAL).any() else None
