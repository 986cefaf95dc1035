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
from dfad_bench.metrics import METRICS
from dfad_bench.metrics.interval import ClusterBootstrap, bounds

_NO_WIDTH = 1e-12


@dataclass(frozen=True)
class Number:
    """A metric's value, and what its interval and a paired test of two models need.

    `draws`: its values in the resamples of the bootstrap; `closed`: an interval from a formula, with its method.
    `hits` (n,): right or not, where the value is a share of rows; `ranked`: (labels, scores), where it is an area
    under the ROC curve; `sources` (n,): the source of those rows. `biased`: resampling shifts the value, so its draws
    serve a difference of two models, and no interval. `still`: Wilson's interval for when every draw is the same, as
    where all faces are right; an interval without width would claim to know the value for certain.
    """

    value: MetricValue
    draws: Callable[[], np.ndarray] | None = None
    closed: tuple[tuple[float, float] | None, Literal["wilson", "delong"]] | None = None
    hits: np.ndarray | None = None
    ranked: tuple[np.ndarray, np.ndarray] | None = None
    sources: np.ndarray | None = None
    biased: bool = False
    still: Callable[[], tuple[float, float] | None] | None = None

    def settled(self, resamples: int, seed: int) -> MetricValue:
        """The value with its interval; without one for `resamples` 0, unless a formula gives it."""
        if self.value.value is None:
            return self.value
        if self.closed is not None and self.closed[0] is not None:
            return replace(self.value, ci95=self.closed[0], ci_method=self.closed[1])
        method = "bootstrap_stratified"
        between = bounds(self.draws()) if self.draws is not None and resamples and not self.biased else None
        if between is not None and between[1] - between[0] < _NO_WIDTH:
            between, method = self.still() if self.still is not None else None, "wilson"
        if between is None:
            return self.value
        facts: dict[str, Any] = {"ci_method": method, "ci_resamples": resamples, "ci_seed": seed}
        return replace(self.value, ci95=between, **facts)

    def blank(self, reason: str) -> Number:
        """The same without a value, because of `reason`."""
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
        self.fake = frame["p_fake"].to_numpy(dtype=float)
        self.sure = probs.max(axis=1)
        self.named = probs.argmax(axis=1)
        self.right = self.named == self.label
        self.kinds = {group.key: group.taxon.detection_label for group in protocol.groups}
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

    def ranking(self, rows: np.ndarray, positive: np.ndarray, scores: np.ndarray, **more: Any) -> Callable[[str], Any]:
        """Makes, by metric name, the draws of `ClusterBootstrap.ranking_draws` for some rows; drawn once."""
        known: dict[str, np.ndarray] = {}

        def of(metric: str) -> Callable[[], np.ndarray]:
            def draws() -> np.ndarray:
                if not known:
                    known.update(self.bootstrap(rows).ranking_draws(positive, scores, **more))
                return known[metric]

            return draws

        return of

    def videos(self, frame: pd.DataFrame) -> Faces | None:
        """The same with one row a video, the mean of its frames; None where no video has two frames.

        A video is one value of the column `video` within one group; faces without one stay as they are.
        """
        if "video" not in frame or not frame["video"].notna().any():
            return None
        single = "/" + frame["sample_id"].astype(str)  # no path of a video begins with a slash
        names = frame["video"].where(frame["video"].notna(), single).astype(str)
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
    """A `Number`; blank where there is a `reason`. `facts` are fields of `MetricValue`, `more` those of `Number`."""
    better = METRICS[metric].higher_is_better
    made = Number(MetricValue(task, metric, subset, value, higher_is_better=better, **facts), **more)
    return made if reason is None else made.blank(reason)


def one_class(truth: np.ndarray) -> str | None:
    """Why a measure of two classes is not defined; None where it is."""
    if not (truth == FAKE).any():
        return "no forged faces"
    return None if (truth == REAL).any() else "no real faces"
