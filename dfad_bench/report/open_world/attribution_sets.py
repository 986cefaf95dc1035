"""Attribution as a set of generators that holds the true one with a stated chance, and is empty for the unseen.

Each class is calibrated by itself on validation faces (`metrics.conformal.class_p_values`): a class is in the set of a
face where at least a tenth of that class's sources are as strange to it. Two strangenesses: `lac`, one less the
probability of the class (Sadinle et al., 2019: the smallest sets), which can hardly be empty where probabilities sum to
one; `mahalanobis`, the squared distance to the class mean, which knows of novelty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dfad_bench.metrics.conformal import class_p_values, least_calibration_sources
from dfad_bench.metrics.unseen import UndefinedScoreError
from dfad_bench.metrics.unseen.of_embeddings import ClassSpace, class_space
from dfad_bench.report.open_world.operating_points import CHOSE, FIXED
from dfad_bench.report.open_world.run_arrays import UNTRAINED, RunArrays
from dfad_bench.report.open_world.shares import share_of_sources
from dfad_bench.report.table import Column, Table

LEVEL = 0.9
KINDS = ("lac", "mahalanobis")
ABOUT = (
    f"The set of a face holds its class with a chance of {LEVEL:.0%} or more in every seen class: of a face of a new"
    " source drawn like those of validation, over calibrations. An empty set is called unseen. Of unseen groups nothing"
    " is promised.",
    "lac: one less the probability of the class. mahalanobis: the distance to the class mean, one shrunk covariance.",
)
SHORT = "Of {}: {} has fewer than {} validation sources, so it is in every set."


@dataclass(frozen=True)
class AttributionSets:
    """P-values of every class for each test face (n, x), or why there are none; `always`: classes in every set."""

    kind: str
    p: np.ndarray | None
    reason: str = ""
    always: tuple[str, ...] = ()

    @property
    def sets(self) -> np.ndarray:
        """Which classes are in the set of each face, (n, x) bool."""
        assert self.p is not None
        chosen: np.ndarray = self.p > 1 - LEVEL + 1e-12
        return chosen

    @property
    def p_unseen(self) -> np.ndarray:
        """The p-value of "this face is of a seen class" (n,): the largest over classes."""
        assert self.p is not None
        found: np.ndarray = self.p.max(axis=1)
        return found


@dataclass(frozen=True)
class SetCalibration:
    """What p-values of classes are made of, of one kind of strangeness.

    Attributes:
        kind: of `KINDS`.
        known: (n, x) strangeness of validation faces to each class.
        label: (n,) their classes.
        source: (n,) their sources.
        space: where distances are measured; None for `lac`.
        always: classes of too few validation sources, which are in every set.
    """

    kind: str
    known: np.ndarray
    label: np.ndarray
    source: np.ndarray
    space: ClassSpace | None
    always: tuple[str, ...]

    def p_values(self, probs: np.ndarray, embedding: np.ndarray | None) -> np.ndarray:
        """The p-value of each class (m, x) for faces with probabilities (m, x) and embeddings (m, d)."""
        if self.space is None:
            asked = 1 - probs
        else:
            assert embedding is not None  # of a run that kept those of its training faces
            asked = self.space.distances(embedding)
        return class_p_values(self.known, self.label, self.source, asked)


def calibrate_sets(run: RunArrays, kind: str) -> SetCalibration:
    """The calibration of one kind of strangeness by the validation faces of a run.

    Raises:
        ConfigError: the run kept no predictions of validation faces.
        UndefinedScoreError: the kind is not defined for this run.
    """
    if run.record.model.heads == "detection":
        raise UndefinedScoreError(UNTRAINED)
    validation, space = run.validation, None
    if kind == "lac":
        known: np.ndarray = 1 - validation.probs
    else:
        arrays = run.arrays("validation")
        if "train_embedding" not in arrays:
            raise UndefinedScoreError("the run kept no embeddings of training faces")
        space = class_space(*(arrays[name] for name in ("train_embedding", "train_labels", "train_sources")))
        if space.classes.tolist() != list(range(validation.probs.shape[1])):
            raise UndefinedScoreError("a class has no training faces")
        known = space.distances(arrays["embedding"])
    least, classes = least_calibration_sources(LEVEL), sorted(run.protocol.seen, key=lambda group: group.label)
    always = tuple(c.key for c in classes if len(set(validation.source[validation.label == c.label])) < least)
    return SetCalibration(kind, known, validation.label, validation.source, space, always)


def attribution_sets(run: RunArrays, kind: str) -> AttributionSets:
    """The p-values of one kind of strangeness for the test faces.

    Raises:
        ConfigError: the run kept no predictions of validation faces.
    """
    try:
        found = calibrate_sets(run, kind)
    except UndefinedScoreError as error:
        return AttributionSets(kind, None, str(error))
    embedding = None if found.space is None else run.arrays("test").get("embedding")
    if found.space is not None and embedding is None:
        return AttributionSets(kind, None, "no embeddings of the test faces were kept")
    return AttributionSets(kind, found.p_values(run.test.probs, embedding), "", found.always)


def sets_table(runs: Mapping[str, RunArrays]) -> Table:
    """How sets do by test group: whether they hold the class, how large they are, how many are empty."""
    rows: list[dict[str, Any]] = []
    notes = list(ABOUT)
    for label, run in runs.items():
        faces = run.test
        for kind in KINDS:
            found = attribution_sets(run, kind)
            notes += [SHORT.format(label, key, least_calibration_sources(LEVEL)) for key in found.always]
            if found.p is None:
                rows.append({"model": label, "kind": kind, "remark": f"not defined: {found.reason}"})
                continue
            sizes = found.sets.sum(axis=1)
            holds = found.sets[np.arange(len(sizes)), np.maximum(faces.label, 0)]
            for key in (*faces.seen, *faces.unseen):
                chosen = faces.of([key])
                row: dict[str, Any] = {"model": label, "kind": kind, "group": key, "n": int(chosen.sum())}
                empty = share_of_sources(sizes[chosen] == 0, faces.source[chosen])
                row |= {"sources": empty.sources or len(set(faces.source[chosen])), **empty.cells("empty")}
                row |= {"size": float(sizes[chosen].mean()), "one": float((sizes[chosen] == 1).mean())}
                if key in faces.seen:
                    row |= share_of_sources(holds[chosen], faces.source[chosen]).cells("coverage")
                rows.append(row)
        chose = run.own_run[1].run.model_selection != "last"
        notes.append((CHOSE if chose else FIXED).format(label))
    columns = [
        Column("model", "Model", "text"),
        Column("kind", "Strangeness", "text"),
        Column("group", "Group", "text"),
    ]
    columns += [Column("n", "Faces", "count"), Column("sources", "Sources", "count")]
    for name, title in (("coverage", "Holds the class"), ("empty", "Empty: unseen")):
        columns += [Column(name, title, "percent"), Column(f"{name}_low", "from", "percent")]
        columns.append(Column(f"{name}_high", "to", "percent"))
    columns += [Column("size", "Classes in it", "number"), Column("one", "One class", "percent")]
    return Table(
        f"Attribution sets at {LEVEL:.0%}", (*columns, Column("remark", "Remark", "text")), rows, tuple(notes), names=3
    )  # fmt: skip


def face_sets_table(runs: Mapping[str, RunArrays]) -> Table:
    """A row a test face: its set, and its p-value of being of a seen class, by the first kind that is defined."""
    rows: list[dict[str, Any]] = []
    for label, run in runs.items():
        found = next(
            (one for one in (attribution_sets(run, kind) for kind in reversed(KINDS)) if one.p is not None), None
        )
        if found is None:
            rows.append({"model": label, "kind": f"not defined: {UNTRAINED}"})
            continue
        names = [group.generator for group in sorted(run.protocol.seen, key=lambda group: group.label)]
        about = {"model": label, "kind": found.kind}
        columns_of = (run.test_frame["sample_id"], run.test.group, found.p_unseen, found.sets)
        for name, group, p, chosen in zip(*columns_of, strict=True):
            inside = " ".join(n for n, is_in in zip(names, chosen, strict=True) if is_in)
            rows.append({**about, "sample_id": name, "group": group, "p_seen": float(p), "set": inside})
    columns = (
        Column("model", "Model", "text"), Column("kind", "Strangeness", "text"), Column("sample_id", "Face", "text"),
        Column("group", "Group", "text"), Column("p_seen", "p of seen", "p_value", 4), Column("set", "Set", "text"),
    )  # fmt: skip
    return Table(f"Attribution sets at {LEVEL:.0%}, by face", columns, rows, ABOUT, names=3)
