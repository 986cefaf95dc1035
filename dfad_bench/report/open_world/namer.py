"""Test faces of a run named by its seen classes and by generators enrolled from some of them, in either way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Literal

import numpy as np

from dfad_bench.metrics.enrolment import Episode, NamedRows, named_rows, prototypes_of, unit_length
from dfad_bench.metrics.enrolment_neighbours import (
    Neighbours,
    merged_neighbours,
    nearest_faces,
    neighbours_asked,
    votes,
)
from dfad_bench.report.open_world.run_arrays import RunArrays

Classifier = Literal["prototype", "knn"]
CLASSIFIERS: tuple[Classifier, ...] = ("prototype", "knn")


class Namer:
    """Names the test faces of a run.

    Args:
        run: that kept outputs of test and training faces.
        classifier: "prototype": the nearest mean; "knn": most of the nearest faces.
    """

    def __init__(self, run: RunArrays, classifier: Classifier) -> None:
        self.run, self.classifier = run, classifier
        self.points = unit_length(run.outputs("test", "enrolment").embedding)

    def episodes(self, new: Sequence[str], shots: int, draws: Iterable[Episode]) -> Iterator[NamedRows]:
        """The rows named in each draw.

        Args:
            new: the generators that are enrolled.
            shots: faces of each; 0 for none.
            draws: which faces those are.
        """
        prototypes, labels = self._prototypes
        seen = len(prototypes)
        place = {int(label): k for k, label in enumerate(labels)}
        own = np.array([place.get(int(label), -1) for label in self.run.test.label])
        new = new if shots else ()
        for number, key in enumerate(new):
            own[self.run.test.of([key])] = seen + number
        is_new = np.arange(seen + len(new)) >= seen
        for episode in draws:
            yield named_rows(*self._scores(episode, new, shots), own, is_new, episode.asked)

    def _scores(self, episode: Episode, new: Sequence[str], shots: int) -> tuple[np.ndarray, np.ndarray]:
        """Of every class, and where new ones alone are known."""
        prototypes, _ = self._prototypes
        seen, classes = len(prototypes), len(prototypes) + len(new)
        if self.classifier == "prototype":
            means = [self.points[episode.enrolled[key]].mean(axis=0) for key in new]
            gallery = np.concatenate([prototypes, unit_length(np.stack(means))]) if means else prototypes
            similar = self.points @ gallery.T
            return similar, np.where(np.arange(classes) >= seen, similar, -np.inf)
        k = neighbours_asked(shots)
        if not new:
            return votes(_nearest_of(self._neighbours, k), classes), np.full((len(self.points), classes), -np.inf)
        rows = np.concatenate([episode.enrolled[key] for key in new])
        of_new = np.repeat(np.arange(seen, classes), [len(episode.enrolled[key]) for key in new])
        enrolled = nearest_faces(self.points, self.points[rows], of_new, k)
        return votes(merged_neighbours(self._neighbours, enrolled, k), classes), votes(enrolled, classes)

    @cached_property
    def _prototypes(self) -> tuple[np.ndarray, np.ndarray]:
        known = self.run.outputs("training", "enrolment")
        return prototypes_of(known.embedding, known.label)

    @cached_property
    def _neighbours(self) -> Neighbours:
        """The nearest training faces."""
        known = self.run.outputs("training", "enrolment")
        place = np.unique(known.label, return_inverse=True)[1]
        return nearest_faces(self.points, unit_length(known.embedding), place)


def _nearest_of(nearest: Neighbours, k: int) -> Neighbours:
    """The k nearest of those."""
    return merged_neighbours(nearest, Neighbours(nearest.similar[:, :0], nearest.place[:, :0]), k)
