"""Faces named by the prototypes of a run: its seen classes, and the generators enrolled in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dfad_bench.core.run_outputs import Outputs
from dfad_bench.metrics.conformal import hierarchical_p_values, least_calibration_sources
from dfad_bench.metrics.enrolment import prototypes_of, unit_length
from dfad_bench.metrics.unseen.of_embeddings import neighbour_similarity
from dfad_bench.report.table import Column, Table

UNSEEN_AT = 0.1
ABOUT = (
    "Named by the nearest prototype (cosine): a seen class, or an enrolled generator. p of seen: share of validation"
    f" sources as strange to the training faces (nearest neighbours); {UNSEEN_AT:g} or less and no enrolled generator"
    " nearest: unseen. Nothing says that the nearest generator made the face.",
)


@dataclass(frozen=True)
class Prototypes:
    """Mean embeddings of length 1 (k, d), of seen classes first and of enrolled generators behind, and their names."""

    points: np.ndarray
    titles: tuple[str, ...]
    seen: int  # how many are of seen classes

    @classmethod
    def of(cls, known: Outputs, classes: Sequence[str], enrolled: Mapping[str, Outputs]) -> Prototypes:
        """Those of the training faces of a run and of faces of enrolled generators, by name."""
        points, labels = prototypes_of(known.embedding, known.label)
        own = [unit_length(one.embedding).mean(axis=0) for one in enrolled.values()]
        titles = [*(classes[int(label)] for label in labels), *enrolled]
        return cls(np.concatenate([points, unit_length(np.stack(own))]) if own else points, tuple(titles), len(points))

    def similarities(self, embedding: np.ndarray) -> np.ndarray:
        """Cosines (n, k) of embeddings (n, d)."""
        found: np.ndarray = unit_length(embedding) @ self.points.T
        return found


def enrolled_table(name: str, new: Outputs, known: Outputs, classes: Sequence[str], tested: Outputs | None) -> Table:
    """What enrolling did: the nearest seen class, whether faces find each other, and what is taken from seen classes.

    Args:
        name: of the new generator.
        new: its faces.
        known: training faces of the seen classes.
        classes: names of those, in the order of their labels.
        tested: test faces of the run, where outputs of them were kept.
    """
    prototypes, labels = prototypes_of(known.embedding, known.label)
    points = unit_length(new.embedding)
    mean = unit_length(points.mean(axis=0, keepdims=True))
    similar = (mean @ prototypes.T)[0]
    row: dict[str, Any] = {"name": name, "faces": len(new), "sources": len(set(new.source))}
    row |= {"nearest": classes[int(labels[similar.argmax()])], "similarity": float(similar.max())}
    row["found"] = _found_again(points, new.source, prototypes)
    if tested is not None:
        seen = tested.label >= 0
        faces = unit_length(tested.embedding[seen])
        row["taken"] = float((faces @ mean[0] > (faces @ prototypes.T).max(axis=1)).mean()) if seen.any() else None
    columns = (
        Column("name", "Enrolled", "text"), Column("faces", "Faces", "count"), Column("sources", "Sources", "count"),
        Column("nearest", "Nearest seen class", "text"), Column("similarity", "Cosine", "number", 3),
        Column("found", "Found again", "percent"), Column("taken", "Seen test faces taken", "percent"),
    )  # fmt: skip
    notes = (
        "Found again: faces that a prototype of those of other sources names rightly; none with a single source.",
        "Taken: seen test faces of the run that are nearer to it than to their own and every other class.",
    )
    return Table(f"Enrolled {name}", columns, [row], notes)


def _found_again(points: np.ndarray, sources: np.ndarray, prototypes: np.ndarray) -> float | None:
    """Share of faces nearer to the prototype of the faces of other sources than to any class; None for one source."""
    if len(set(sources)) < 2:
        return None
    hits = []
    for source in dict.fromkeys(sources.tolist()):
        mine = sources == source
        others = unit_length(points[~mine].mean(axis=0, keepdims=True))[0]
        hits += (points[mine] @ others > (points[mine] @ prototypes.T).max(axis=1)).tolist()
    return float(np.mean(hits))


def named_table(
    faces: Outputs,
    names: Sequence[str],
    known: Outputs,
    classes: Sequence[str],
    enrolled: Mapping[str, Outputs],
    validation: Outputs | None,
) -> Table:
    """A row a face: the nearest name, the second nearest, and the p-value of being of a seen class.

    Args:
        faces: what is asked about.
        names: of their files.
        known: training faces of the seen classes.
        classes: names of those, in the order of their labels.
        enrolled: faces of enrolled generators, by name.
        validation: faces that the p-value is calibrated on, where outputs of them were kept.
    """
    gallery = Prototypes.of(known, classes, enrolled)
    similar, titles = gallery.similarities(faces.embedding), gallery.titles
    ranked = np.argsort(-similar, axis=1, kind="stable")
    p = _p_of_seen(faces, known, validation)
    rows = []
    for number, name in enumerate(names):
        first, second = ranked[number, 0], ranked[number, min(1, len(titles) - 1)]
        unseen = p is not None and p[number] <= UNSEEN_AT and first < gallery.seen
        row = {"face": name, "named": "unseen" if unseen else titles[first], "nearest": titles[first]}
        row |= {"similarity": float(similar[number, first]), "second": titles[second]}
        rows.append(row | {"p_seen": None if p is None else float(p[number])})
    columns = (
        Column("face", "Face", "text"), Column("named", "Named", "text"), Column("nearest", "Nearest", "text"),
        Column("similarity", "Cosine", "number", 3), Column("second", "Second", "text"),
        Column("p_seen", "p of seen", "p_value", 3),
    )  # fmt: skip
    few = () if p is not None else ("No p-value: the run kept no outputs of 9 or more validation sources.",)
    return Table("Faces named", columns, rows, (*ABOUT, *few))


def _p_of_seen(faces: Outputs, known: Outputs, validation: Outputs | None) -> np.ndarray | None:
    if validation is None or len(set(validation.source)) < least_calibration_sources(1 - UNSEEN_AT):
        return None
    strange = [-neighbour_similarity(one.embedding, known.embedding, known.label) for one in (validation, faces)]
    return hierarchical_p_values(strange[0], validation.source, strange[1])
