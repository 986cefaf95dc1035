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
from dfad_bench.metrics.unseen.of_embeddings import class_distances
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


def attribution_sets(run: RunArrays, kind: str) -> AttributionSets:
    """The p-values of one kind of strangeness.

    Raises:
        ConfigError: the run kept no predictions of validation faces.
    """
    if run.record.model.heads == "detection":
        return AttributionSets(kind, None, UNTRAINED)
    validation = run.validation
    try:
        known, asked = _strangeness(run, kind, "validation"), _strangeness(run, kind, "test")
    except UndefinedScoreError as error:
        return AttributionSets(kind, None, str(error))
    least, classes = least_calibration_sources(LEVEL), sorted(run.protocol.seen, key=lambda group: group.label)
    always = tuple(c.key for c in classes if len(set(validation.source[validation.label == c.label])) < least)
    return AttributionSets(kind, class_p_values(known, validation.label, validation.source, asked), "", always)


def _strangeness(run: RunArrays, kind: str, part: str) -> np.ndarray:
    """Strangeness (n, x) of the faces of a part to each class."""
    faces = run.test if part == "test" else run.validation
    if kind == "lac":
        found: np.ndarray = 1 - faces.probs
        return found
    arrays = run.arrays(part)
    if "train_embedding" not in arrays:
        raise UndefinedScoreError("the run kept no embeddings of training faces")
    names = ("embedding", "train_embedding", "train_labels", "train_sources")
    distances, classes = class_distances(*(arrays[name] for name in names))
    if classes.tolist() != list(range(faces.probs.shape[1])):
        raise UndefinedScoreError("a class has no training faces")
    return distances


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
