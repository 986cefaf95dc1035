"""Faces named by what a run knows: its seen classes, and the generators enrolled in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dfad_bench.core.run_outputs import Outputs
from dfad_bench.metrics.conformal import hierarchical_p_values, least_calibration_sources
from dfad_bench.metrics.enrolment import prototypes_of, unit_length
from dfad_bench.metrics.enrolment_neighbours import MOST_NEIGHBOURS, nearest_faces, neighbours_asked, votes
from dfad_bench.metrics.unseen.of_embeddings import neighbour_similarity
from dfad_bench.report.open_world.namer import Classifier
from dfad_bench.report.table import Column, Table

UNSEEN_AT = 0.1
ABOUT = (
    "Named by {}: a seen class, or an enrolled generator. p of seen: share of validation"
    f" sources as strange to the training faces (nearest neighbours); {UNSEEN_AT:g} or less and no enrolled generator"
    " nearest: unseen. Nothing says that the nearest generator made the face."
)
BY = {
    "prototype": "the nearest prototype (cosine)",
    "knn": f"most of the k nearest faces (cosine), k = the fewest faces of an enrolled one, at most {MOST_NEIGHBOURS}",
}


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


def enrolled_table(
    name: str,
    new: Outputs,
    known: Outputs,
    classes: Sequence[str],
    tested: Outputs | None,
    classifier: Classifier = "prototype",
) -> Table:
    """What enrolling did: the nearest seen class, whether faces find each other, and what is taken from seen classes.

    Args:
        name: of the new generator.
        new: its faces.
        known: training faces of the seen classes.
        classes: names of those, in the order of their labels.
        tested: test faces of the run, where outputs of them were kept.
        classifier: how faces are named.
    """
    prototypes, labels = prototypes_of(known.embedding, known.label)
    points = unit_length(new.embedding)
    mean = unit_length(points.mean(axis=0, keepdims=True))
    similar = (mean @ prototypes.T)[0]
    row: dict[str, Any] = {"name": name, "faces": len(new), "sources": len(set(new.source))}
    row |= {"nearest": classes[int(labels[similar.argmax()])], "similarity": float(similar.max())}
    row["found"] = _found_again(points, new.source, known, classifier)
    if tested is not None:
        seen = tested.label >= 0
        faces = unit_length(tested.embedding[seen])
        row["taken"] = float(_as_new(faces, points, known, classifier).mean()) if seen.any() else None
    columns = (
        Column("name", "Enrolled", "text"), Column("faces", "Faces", "count"), Column("sources", "Sources", "count"),
        Column("nearest", "Nearest seen class", "text"), Column("similarity", "Cosine", "number", 3),
        Column("found", "Found again", "percent"), Column("taken", "Seen test faces taken", "percent"),
    )  # fmt: skip
    notes = (
        f"Found again: faces that are named rightly by those of other sources ({BY[classifier]}); none with a single"
        " source.",
        "Taken: seen test faces of the run that would be named as it, and not as their own or any other class.",
    )
    return Table(f"Enrolled {name}", columns, [row], notes)


def class_scores(
    faces: np.ndarray, known: Outputs, enrolled: Sequence[np.ndarray], classifier: Classifier
) -> np.ndarray:
    """A score of each face (n, d) for each seen class, by label, and each enrolled generator: (n, classes).

    Args:
        faces: embeddings of length 1.
        known: training faces of the seen classes.
        enrolled: embeddings of length 1 of each enrolled generator.
        classifier: the cosine of prototypes, or votes of the nearest faces.
    """
    if classifier == "prototype":
        prototypes, _ = prototypes_of(known.embedding, known.label)
        means = [points.mean(axis=0) for points in enrolled]
        similar: np.ndarray = faces @ np.concatenate([prototypes, *([unit_length(np.stack(means))] if means else [])]).T
        return similar
    labels, place = np.unique(known.label, return_inverse=True)
    others = np.repeat(len(labels) + np.arange(len(enrolled)), [len(points) for points in enrolled])
    k = neighbours_asked(min((len(points) for points in enrolled), default=0))
    every = np.concatenate([unit_length(known.embedding), *enrolled])
    return votes(nearest_faces(faces, every, np.concatenate([place, others]), k), len(labels) + len(enrolled))


def _as_new(faces: np.ndarray, new: np.ndarray, known: Outputs, classifier: Classifier) -> np.ndarray:
    """Which faces (n, d) are named as a generator of these embeddings and not as any class."""
    scores = class_scores(faces, known, [new], classifier)
    found: np.ndarray = scores[:, -1] > scores[:, :-1].max(axis=1)
    return found


def _found_again(points: np.ndarray, sources: np.ndarray, known: Outputs, classifier: Classifier) -> float | None:
    """Share of faces named as the generator by its faces of other sources; None for one source."""
    if len(set(sources)) < 2:
        return None
    hits = []
    for source in dict.fromkeys(sources.tolist()):
        mine = sources == source
        hits += _as_new(points[mine], points[~mine], known, classifier).tolist()
    return float(np.mean(hits))


def named_table(
    faces: Outputs,
    names: Sequence[str],
    known: Outputs,
    classes: Sequence[str],
    enrolled: Mapping[str, Outputs],
    validation: Outputs | None,
    classifier: Classifier = "prototype",
) -> Table:
    """A row a face: the nearest name, the second nearest, and the p-value of being of a seen class.

    Args:
        faces: what is asked about.
        names: of their files.
        known: training faces of the seen classes.
        classes: names of those, in the order of their labels.
        enrolled: faces of enrolled generators, by name.
        validation: faces that the p-value is calibrated on, where outputs of them were kept.
        classifier: how faces are named.
    """
    labels = np.unique(known.label)
    points = unit_length(faces.embedding)
    own = [unit_length(one.embedding) for one in enrolled.values()]
    titles = [*(classes[int(label)] for label in labels), *enrolled]
    scores = class_scores(points, known, own, classifier)
    similar = scores if classifier == "prototype" else class_scores(points, known, own, "prototype")
    ranked = np.argsort(-scores, axis=1, kind="stable")
    p = _p_of_seen(faces, known, validation)
    rows = []
    for number, name in enumerate(names):
        first, second = ranked[number, 0], ranked[number, min(1, len(titles) - 1)]
        unseen = p is not None and p[number] <= UNSEEN_AT and first < len(labels)
        row = {"face": name, "named": "unseen" if unseen else titles[first], "nearest": titles[first]}
        voted = np.isfinite(scores[number, second])
        row |= {"similarity": float(similar[number, first]), "second": titles[second] if voted else None}
        rows.append(row | {"p_seen": None if p is None else float(p[number])})
    columns = (
        Column("face", "Face", "text"), Column("named", "Named", "text"), Column("nearest", "Nearest", "text"),
        Column("similarity", "Cosine to its mean", "number", 3), Column("second", "Second", "text"),
        Column("p_seen", "p of seen", "p_value", 3),
    )  # fmt: skip
    few = () if p is not None else ("No p-value: the run kept no outputs of 9 or more validation sources.",)
    return Table("Faces named", columns, rows, (ABOUT.format(BY[classifier]), *few))


def _p_of_seen(faces: Outputs, known: Outputs, validation: Outputs | None) -> np.ndarray | None:
    if validation is None or len(set(validation.source)) < least_calibration_sources(1 - UNSEEN_AT):
        return None
    strange = [-neighbour_similarity(one.embedding, known.embedding, known.label) for one in (validation, faces)]
    return hierarchical_p_values(strange[0], validation.source, strange[1])
