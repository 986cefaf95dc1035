"""Predictions and a protocol to numbers: a pure function, the same for measured and for trivial rows.

`metrics.METRICS` says which metrics there are, on which of these sets, and how they are averaged. Which faces form
which set:

- *seen* attribution: test faces of seen groups, right where the most probable class is the label; the mean over groups.
- *unseen* attribution: test faces of unseen groups, right where the confidence (the largest class probability) is
  strictly below the threshold; the mean over the groups that the protocol counts (BMRL section 4.1; GazeCLIP Tables
  II and III).
- *near*, *far*: the unseen forged groups whose family or forgery type (by the taxonomy) is that of a seen generator,
  or not; `-family` and `-forgery` by only one of the two. `Protocol.families` says which families are meant.
- *seen-vs-unseen* (also *-near*, *-far*, ...): both sets pooled, ranked by confidence.
- retrieval: half of the sources of each unseen generator (*unseen*), or of each generator (*all*), are registered,
  the faces of the others look for the nearest mean of class probabilities (`metrics.retrieval`); mean over groups.
  Predictions hold no embeddings, so this is in the space of class probabilities, and named so.
- detection *unseen*: forged faces of unseen groups against the unseen real groups, or where the protocol has none,
  against the seen real test faces; pooled, as the papers' ACC and AUC appear to be. `auc` is also given per forged
  group against the same real faces, and as the mean of those.
- detection *seen*: test faces of seen groups.
- *processed*: test faces of groups of processed real faces, the share called forged; they are in no other number, of
  attribution or of detection, so that these stay comparable with those of protocols without such faces.
- *unseen-videos*, *seen-videos*, ... (every set and group with `-videos`): the same, of attribution and detection,
  where predictions have a column `video` and some video has several frames; one row a video, with the mean of its
  frames' probabilities.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dfad_bench.core.errors import ConfigError, IntegrityError, quoted
from dfad_bench.core.labels import UNSEEN
from dfad_bench.core.protocol import Group, Protocol
from dfad_bench.core.record import GroupCounts, MetricValue, Sweep
from dfad_bench.metrics import detection
from dfad_bench.metrics.openset import below_threshold
from dfad_bench.report.attribution import attribution_numbers, sweep
from dfad_bench.report.detection import detection_numbers
from dfad_bench.report.scored_faces import Faces, Number

RESAMPLES = 1000
LABELS = ("sample_id", "group", "source_key", "attribution_label", "detection_label")
_UNTRAINED = "the {} expert was not trained"
_OTHER = {"both": None, "attribution": "detection", "detection": "attribution"}


@dataclass(frozen=True)
class Score:
    """All numbers of one set of predictions; `sweep` is None where the attribution expert was not trained."""

    metrics: tuple[MetricValue, ...]
    groups: dict[str, GroupCounts]
    sweep: Sweep | None = None


def score(
    predictions: pd.DataFrame,
    protocol: Protocol,
    *,
    heads: str = "both",
    resamples: int = RESAMPLES,
    seed: int = 0,
    only: Collection[str] | None = None,
    earlier: bool = False,
    intervals: bool = True,
) -> Score:
    """Score predictions under a protocol.

    Args:
        predictions: columns `LABELS`, `p_0` to `p_{x-1}` and `p_fake`, perhaps `video`; groups of the protocol may
            be absent.
        protocol: groups, thresholds, what counts in averages.
        heads: "attribution" or "detection" where only that expert was trained; the other's numbers are null.
        resamples: bootstrap samples of the intervals (clusters are sources); 0 for none.
        seed: seed of the bootstrap.
        only: names of the metrics wanted, where not all are; saves the time of the others' intervals.
        earlier: the numbers and intervals of record schema 1.1, to verify records made by it.
        intervals: False: values and counts alone, where nobody asks for intervals, why there are none, or a sweep.

    Raises:
        IntegrityError: columns are missing, groups are not of the protocol, or values are no probabilities.
    """
    faces, made = numbers(predictions, protocol, heads=heads, resamples=resamples, seed=seed, earlier=earlier)
    untrained = _OTHER[heads]
    present = set(faces.group)
    groups = {g.key: _counts(faces, g, untrained) for g in protocol.groups if g.key in present}
    swept = sweep(faces) if intervals and untrained != "attribution" else None
    wanted = [n for n in made if only is None or n.value.metric in only]
    values = (n.with_interval(resamples, seed) if intervals else n.value for n in wanted)
    return Score(tuple(values), groups, swept)


def numbers(
    predictions: pd.DataFrame,
    protocol: Protocol,
    *,
    heads: str = "both",
    resamples: int = RESAMPLES,
    seed: int = 0,
    earlier: bool = False,
) -> tuple[Faces, list[Number]]:
    """What `score` is made of: the faces, and every number before its interval is drawn. Arguments as there."""
    predictions = with_untrained_columns(predictions, protocol, heads)
    faces = Faces(predictions, _checked(predictions, protocol), protocol, resamples, seed, earlier)
    made = [*attribution_numbers(faces), *detection_numbers(faces)]
    videos = faces.videos(predictions)
    if videos is not None:
        made += [] if earlier else attribution_numbers(videos, suffix="-videos")
        made += detection_numbers(videos, suffix="-videos")
    untrained = _OTHER[heads]
    reason = _UNTRAINED.format(untrained)
    return faces, [n.without_value(reason) if n.value.task == untrained else n for n in made]


def faces_of(predictions: pd.DataFrame, protocol: Protocol, resamples: int = RESAMPLES, seed: int = 0) -> Faces:
    """Predictions as arrays, checked as by `score`.

    Raises:
        ConfigError: no class probabilities, as in imported predictions of detection alone.
        IntegrityError: as of `score`.
    """
    if "p_0" not in predictions and protocol.num_generators:
        raise ConfigError("these predictions hold no class probabilities, as imported ones of detection alone")
    return Faces(predictions, _checked(predictions, protocol), protocol, resamples, seed)


def with_untrained_columns(frame: pd.DataFrame, protocol: Protocol, heads: str) -> pd.DataFrame:
    """Predictions with columns of an expert that they lack, as imported ones may; all its numbers are null."""
    if heads == "attribution" and "p_fake" not in frame:
        return frame.assign(p_fake=0.5)
    if heads == "detection" and "p_0" not in frame:
        classes = protocol.num_generators
        return frame.assign(**{f"p_{k}": 1 / classes for k in range(classes)})
    return frame


def _counts(faces: Faces, group: Group, untrained: str | None) -> GroupCounts:
    """The counts of one group; those of an expert that was not trained are zero, empty or null."""
    rows = faces.of([group.key])
    n, seen = int(rows.sum()), group.label != UNSEEN
    labelled = rows & (faces.truth >= 0)
    counts = detection.confusion(faces.truth[labelled], faces.p_fake[labelled])
    if untrained == "detection":
        counts = detection.Confusion(0, 0, 0, 0)
    label, kind = group.label, group.taxon.detection_label
    if untrained == "attribution":
        return GroupCounts(n, seen, label, kind, {}, None, *counts)
    below = {f"{t:g}": int(below_threshold(faces.probs[rows], t).sum()) for t in faces.protocol.attribution.thresholds}
    correct = int(faces.named_rightly[rows].sum()) if seen else None
    named = np.bincount(faces.predicted[rows], minlength=faces.protocol.num_generators)
    return GroupCounts(n, seen, label, kind, below, correct, *counts, named=tuple(map(int, named)))


def _checked(frame: pd.DataFrame, protocol: Protocol) -> np.ndarray:
    """The class probabilities (n, x)."""
    columns = [f"p_{k}" for k in range(protocol.num_generators)]
    if absent := [name for name in (*LABELS, *columns, "p_fake") if name not in frame]:
        raise IntegrityError(f"predictions lack columns {quoted(absent)} (protocol {protocol.name})")
    if f"p_{protocol.num_generators}" in frame:
        raise IntegrityError(f"predictions have more classes than protocol {protocol.name} has seen groups")
    if unknown := sorted(set(frame["group"]) - {group.key for group in protocol.groups}):
        raise IntegrityError(f"predictions of groups protocol {protocol.name} does not have: {quoted(unknown)}")
    if frame["sample_id"].duplicated().any() or frame.empty:
        raise IntegrityError("predictions are empty or name a face twice")
    for column, labels in (
        ("attribution_label", {group.key: group.label for group in protocol.groups}),
        ("detection_label", {group.key: group.taxon.detection_label for group in protocol.groups}),
    ):
        if odd := sorted(set(frame.loc[frame[column] != frame["group"].map(labels), "group"])):
            raise IntegrityError(f"predictions have another {column} than protocol {protocol.name}: {', '.join(odd)}")
    probs = frame[columns].to_numpy(dtype=float)
    sums_to_one = np.abs(probs.sum(axis=1) - 1) < 1e-3
    if not sums_to_one.all() or not frame["p_fake"].between(0, 1).all() or (probs < 0).any():
        raise IntegrityError("predictions are not probabilities")
    return probs
