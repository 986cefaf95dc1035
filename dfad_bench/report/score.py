"""Predictions and a protocol to numbers: a pure function, the same for measured and for trivial rows.

Which faces form which set:

- *seen* attribution: test faces of seen groups, right where the most probable class is the label; the mean over groups.
- *unseen* attribution: test faces of unseen groups, right where the surest class is strictly below the threshold; the
  mean over the groups the protocol counts (BMRL section 4.1; GazeCLIP Tables II and III).
- *seen-vs-unseen*: both sets pooled, ranked by the surest class.
- detection *unseen*: forged faces of unseen groups against the unseen real groups, or where the protocol has none,
  against the seen real test faces; pooled, as the papers' ACC and AUC appear to be. `auc` is also given per forged
  group against the same real faces, and as the mean of those.
- detection *seen*: test faces of seen groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from dfad_bench.core.errors import IntegrityError
from dfad_bench.core.labels import FAKE, REAL, UNSEEN
from dfad_bench.core.protocol import Group, Protocol
from dfad_bench.core.record import GroupCounts, MetricValue
from dfad_bench.metrics import METRICS, detection, interval, openset

RESAMPLES = 1000
LABELS = ("sample_id", "group", "source_key", "attribution_label", "detection_label")
_UNTRAINED = "the {} expert was not trained"


@dataclass(frozen=True)
class Score:
    """All numbers of one set of predictions."""

    metrics: tuple[MetricValue, ...]
    groups: dict[str, GroupCounts]


def score(
    predictions: pd.DataFrame,
    protocol: Protocol,
    *,
    heads: str = "both",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Score:
    """Score predictions under a protocol.

    Args:
        predictions: columns `LABELS`, `p_0` to `p_{x-1}` and `p_fake`; groups of the protocol may be absent.
        protocol: groups, thresholds, what counts in averages.
        heads: "attribution" or "detection" where only that expert was trained; the other's numbers are null.
        resamples: bootstrap samples of the intervals (clusters are sources, within groups); 0 for none.
        seed: seed of the bootstrap.

    Raises:
        IntegrityError: columns are missing, groups are not of the protocol, or values are no probabilities.
    """
    probs = _checked(predictions, protocol)
    scorer = _Scorer(predictions, probs, protocol, resamples, seed)
    numbers = [*scorer.attribution(), *scorer.detection()]
    untrained = {"both": None, "attribution": "detection", "detection": "attribution"}[heads]
    numbers = [_blank(n, _UNTRAINED.format(untrained)) if n.task == untrained else n for n in numbers]
    groups = {g.key: scorer.counts(g, untrained) for g in protocol.groups if g.key in scorer.present}
    return Score(tuple(numbers), groups)


class _Scorer:
    def __init__(self, frame: pd.DataFrame, probs: np.ndarray, protocol: Protocol, resamples: int, seed: int) -> None:
        self.protocol, self.probs, self.resamples, self.seed = protocol, probs, resamples, seed
        self.group = frame["group"].to_numpy(dtype=str)
        self.source = frame["source_key"].to_numpy(dtype=str)
        self.label = frame["attribution_label"].to_numpy(dtype=np.int64)
        self.truth = frame["detection_label"].to_numpy(dtype=np.int64)
        self.fake = frame["p_fake"].to_numpy(dtype=float)
        self.sure = probs.max(axis=1)
        self.right = probs.argmax(axis=1) == self.label
        self.present = set(self.group)
        self.seen = [g.key for g in protocol.groups if g.label != UNSEEN and g.key in self.present]
        self.unseen = [g.key for g in protocol.unseen if g.key in self.present]
        self.averaged = [g.key for g in protocol.unseen if g.in_average and g.key in self.present]

    def attribution(self) -> list[MetricValue]:
        """Seen and unseen shares, and how well confidence tells the two apart."""
        values = [self._share("seen_accuracy", key, self.right) for key in self.seen]
        values.append(self._macro("seen_accuracy", "seen", self.seen, self.right))
        for threshold in self.protocol.attribution.thresholds:
            below, at = self.sure < threshold, {"threshold": threshold}
            values += [self._share("unseen_accuracy", key, below, **at) for key in self.unseen]
            values.append(self._macro("unseen_accuracy", "unseen", self.averaged, below, **at))
        return [*values, *self._ranking()]

    def _ranking(self) -> list[MetricValue]:
        inside, outside = self._of(self.seen), self._of(self.averaged)
        p, labels, q = self.probs[inside], self.label[inside], self.probs[outside]
        facts: dict[str, Any] = {
            "members": (*self.seen, *self.averaged), "averaging": "micro", "n": len(p) + len(q),
            "n_pos": len(p), "n_neg": len(q),
        }  # fmt: skip
        reason = None if len(p) and len(q) else "needs seen and unseen faces"
        both = inside | outside
        bounds = self._interval(both, lambda b: b.auc(inside[both], self.sure[both])) if reason is None else {}
        make = self._make("attribution", "seen-vs-unseen", facts, reason)
        return [
            make("auroc", openset.auroc(p, q), **bounds),
            make("oscr", openset.oscr(p, labels, q)),
            make("fpr95", openset.fpr95(p, q)),
        ]

    def detection(self) -> list[MetricValue]:
        """Both detection sets, and the area under the curve group by group."""
        kinds = {group.key: group.taxon.detection_label for group in self.protocol.groups}
        values = []
        for subset, keys in (("unseen", self.unseen), ("seen", self.seen)):
            fakes = [key for key in keys if kinds[key] == FAKE]
            reals = [key for key in keys if kinds[key] == REAL] or [k for k in self.seen if kinds[k] == REAL]
            values += self._detection_set(subset, fakes, reals)
        return values

    def _detection_set(self, subset: str, fakes: list[str], reals: list[str]) -> list[MetricValue]:
        rows, about = self._of([*fakes, *reals]), {"reals": reals}
        truth, p = self.truth[rows], self.fake[rows]
        facts = self._set_facts(rows, [*fakes, *reals])
        reason = _one_class(truth)
        called = p > 0.5
        hits = np.stack([(called & (truth == FAKE)), (~called & (truth == REAL))], axis=1)
        among = np.stack([truth == FAKE, truth == REAL], axis=1)
        both = ["accuracy", "balanced_accuracy", "auc"]
        bounds: dict[str, dict[str, Any]] = {name: {} for name in both}
        if reason is None:
            bounds = {
                "accuracy": self._interval(rows, lambda b: b.ratios((called == truth)[:, None], np.ones((len(p), 1)))),
                "balanced_accuracy": self._interval(rows, lambda b: b.ratios(hits, among)),
                "auc": self._interval(rows, lambda b: b.auc(truth, p)),
            }
        make = self._make("detection", subset, {**facts, "averaging": "micro", "params": about}, reason)
        values = [make("balanced_accuracy", detection.balanced_accuracy(truth, p), **bounds["balanced_accuracy"])]
        values += [
            make(name, getattr(detection, name)(truth, p), **bounds.get(name, {})) for name in ("auc", "ap", "eer")
        ]
        alone = None if len(p) else "no faces"  # accuracy is defined for one class, too
        free = self._make("detection", subset, {**facts, "averaging": "micro", "params": about}, alone)
        values.insert(0, free("accuracy", detection.accuracy(truth, p), **bounds["accuracy"]))
        return [*values, *self._group_aucs(subset, fakes, reals, about)]

    def _group_aucs(self, subset: str, fakes: list[str], reals: list[str], about: dict) -> list[MetricValue]:
        values = []
        for key in fakes:
            rows = self._of([key, *reals])
            reason = _one_class(self.truth[rows])
            make = self._make("detection", key, {**self._set_facts(rows, [key, *reals]), "params": about}, reason)
            values.append(make("auc", detection.auc(self.truth[rows], self.fake[rows])))
        known = [value.value for value in values if value.value is not None]
        rows = self._of([*fakes, *reals])
        facts = {**self._set_facts(rows, [*fakes, *reals]), "averaging": "macro", "params": about}
        reason = None if known and len(known) == len(values) else "not defined for every group"
        return [
            *values,
            self._make("detection", subset, facts, reason)("auc", float(np.mean(known)) if known else None),
        ]

    def counts(self, group: Group, untrained: str | None) -> GroupCounts:
        """The counts of one group; those of an expert that was not trained are zero, empty or null."""
        rows = self._of([group.key])
        n, seen = int(rows.sum()), group.label != UNSEEN
        labelled = rows & (self.truth >= 0)
        counts = detection.confusion(self.truth[labelled], self.fake[labelled])
        if untrained == "detection":
            counts = detection.Confusion(0, 0, 0, 0)
        thresholds = () if untrained == "attribution" else self.protocol.attribution.thresholds
        below = {f"{t:g}": int((self.sure[rows] < t).sum()) for t in thresholds}
        correct = int(self.right[rows].sum()) if seen and untrained != "attribution" else None
        return GroupCounts(n, seen, group.label, group.taxon.detection_label, below, correct, *counts)

    def _share(self, metric: str, key: str, hits: np.ndarray, **params: Any) -> MetricValue:
        rows = self._of([key])
        n, successes = int(rows.sum()), int(hits[rows].sum())
        facts = {"members": (key,), "n": n, "params": params}
        bounds = {"ci95": interval.wilson(successes, n), "ci_method": "wilson"}
        return self._make("attribution", key, facts, None)(metric, successes / n, **bounds)

    def _macro(self, metric: str, subset: str, keys: list[str], hits: np.ndarray, **params: Any) -> MetricValue:
        rows = self._of(keys)
        facts = {"members": tuple(keys), "n": int(rows.sum()), "averaging": "macro", "params": params}
        make = self._make("attribution", subset, facts, None if keys else f"no {subset} groups")
        if not keys:
            return make(metric, None)
        value = float(np.mean([hits[self._of([key])].mean() for key in keys]))
        return make(metric, value, **self._interval(rows, lambda b: b.macro_share(hits[rows])))

    def _interval(
        self, rows: np.ndarray, of: Callable[[interval.ClusterBootstrap], tuple[float, float]]
    ) -> dict[str, Any]:
        if not self.resamples:
            return {}
        draws = interval.ClusterBootstrap(self.group[rows], self.source[rows], resamples=self.resamples, seed=self.seed)
        low, high = of(draws)
        facts = {"ci_method": "bootstrap_stratified", "ci_resamples": self.resamples, "ci_seed": self.seed}
        return {"ci95": (low, high), **facts}

    def _make(self, task: Any, subset: str, facts: dict[str, Any], reason: str | None) -> Callable[..., MetricValue]:
        def make(metric: str, value: float | None, **more: Any) -> MetricValue:
            better = METRICS[metric].higher_is_better
            made = MetricValue(task, metric, subset, value, higher_is_better=better, **{**facts, **more})
            return made if reason is None else _blank(made, reason)

        return make

    def _set_facts(self, rows: np.ndarray, keys: Sequence[str]) -> dict[str, Any]:
        truth = self.truth[rows]
        counts = {"n": len(truth), "n_pos": int((truth == FAKE).sum()), "n_neg": int((truth == REAL).sum())}
        return {"members": tuple(keys), **counts}

    def _of(self, keys: Sequence[str]) -> np.ndarray:
        return np.isin(self.group, list(keys))


def _one_class(truth: np.ndarray) -> str | None:
    if not (truth == FAKE).any():
        return "no forged faces"
    return None if (truth == REAL).any() else "no real faces"


def _blank(value: MetricValue, reason: str) -> MetricValue:
    return replace(value, value=None, ci95=None, ci_method="none", ci_resamples=None, ci_seed=None, null_reason=reason)


def _checked(frame: pd.DataFrame, protocol: Protocol) -> np.ndarray:
    """The class probabilities (n, x)."""
    columns = [f"p_{k}" for k in range(protocol.num_generators)]
    if absent := [name for name in (*LABELS, *columns, "p_fake") if name not in frame]:
        raise IntegrityError(f"predictions lack columns {absent} (protocol {protocol.name})")
    if f"p_{protocol.num_generators}" in frame:
        raise IntegrityError(f"predictions have more classes than protocol {protocol.name} has seen groups")
    if unknown := sorted(set(frame["group"]) - {group.key for group in protocol.groups}):
        raise IntegrityError(f"predictions of groups protocol {protocol.name} does not have: {unknown}")
    if frame["sample_id"].duplicated().any() or frame.empty:
        raise IntegrityError("predictions are empty or name a face twice")
    probs = frame[columns].to_numpy(dtype=float)
    sums_to_one = np.abs(probs.sum(axis=1) - 1) < 1e-3
    if not sums_to_one.all() or not frame["p_fake"].between(0, 1).all() or (probs < 0).any():
        raise IntegrityError("predictions are not probabilities")
    return probs
