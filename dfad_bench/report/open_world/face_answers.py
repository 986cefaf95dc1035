"""What a finished run says of a new face: forged or not at a point that validation faces give, and by which generator.

A number near a threshold is called "unsure". The band is the run's own where there are enough real validation sources:
between its points of 5 % and of 1 % false alarms. Where there are not, it is 0.1 to both sides of the threshold, and at
most half of what lies beyond, so that no verdict is out of reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dfad_bench.core.errors import ConfigError
from dfad_bench.metrics.unseen import UndefinedScoreError
from dfad_bench.report.open_world.alarm_points import ALARMS, PAPERS, alarm_points
from dfad_bench.report.open_world.attribution_sets import KINDS, LEVEL, SetCalibration, calibrate_sets
from dfad_bench.report.open_world.run_arrays import UNTRAINED, RunArrays

FAKE, REAL, UNSURE, NONE = "fake", "real", "unsure", "none"  # verdicts; none: the run has no detection expert
UNSEEN = "unseen"
NEAR = 0.1  # of a threshold without a second one: within it nothing is said
_EDGE = 1e-12


@dataclass(frozen=True)
class DetectionBand:
    """Where a face is called forged (above `high`), real (at or below `low`), and neither; `rule` says why there."""

    low: float
    high: float
    rule: str

    def verdict(self, p_fake: float) -> str:
        """What a probability is called.

        >>> band = DetectionBand(0.4, 0.6, "")
        >>> band.verdict(0.4), band.verdict(0.5), band.verdict(0.61)
        ('real', 'unsure', 'fake')
        """
        return FAKE if p_fake > self.high else REAL if p_fake <= self.low else UNSURE


def band_around(threshold: float, rule: str) -> DetectionBand:
    """`NEAR` to both sides of a threshold, at most halfway to 0 and to 1.

    >>> band_around(0.5, ""), band_around(0.98, "").high
    (DetectionBand(low=0.4, high=0.6, rule=''), 0.99)
    """
    return DetectionBand(max(threshold - NEAR, threshold / 2), min(threshold + NEAR, (1 + threshold) / 2), rule)


@dataclass(frozen=True)
class Naming:
    """Who made a face, as a run says: a class, or unseen.

    Attributes:
        generator: the most likely class, or `UNSEEN`.
        p_seen: the p-value of "of a seen class"; None where the run gives none.
        inside: classes of the attribution set, None likewise.
        top: classes and their probabilities, the most likely first.
    """

    generator: str
    p_seen: float | None
    inside: tuple[str, ...] | None
    top: tuple[tuple[str, float], ...]


@dataclass
class RunAnswers:
    """Verdicts and names by one run, calibrated on its validation faces.

    Args:
        arrays: the run.
    """

    arrays: RunArrays

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Generators of the classes, in the order of their labels."""
        return tuple(group.generator for group in sorted(self.arrays.protocol.seen, key=lambda group: group.label))

    @cached_property
    def detects(self) -> bool:
        """Whether the detection expert was trained."""
        return self.arrays.record.model.heads != "attribution"

    @cached_property
    def attributes(self) -> bool:
        """Whether the attribution expert was trained."""
        return self.arrays.record.model.heads != "detection"

    @cached_property
    def band(self) -> DetectionBand | None:
        """Where faces are called forged and real; None where the detection expert was not trained."""
        if not self.detects:
            return None
        try:
            points = alarm_points(self.arrays)[1:]
        except ConfigError:  # the run kept no predictions of validation faces
            return band_around(
                PAPERS, f"within {NEAR:g} of {PAPERS:g}: the run kept no predictions of validation faces"
            )
        (_, loose, count, why), (_, strict, _, why_strict) = points
        if loose is not None and strict is not None:
            return DetectionBand(loose, strict, f"its points of {ALARMS[0]:.0%} and {ALARMS[1]:.0%} false alarms")
        if loose is not None:
            rule = (
                f"within {NEAR:g} of its point of {ALARMS[0]:.0%} false alarms; that of {ALARMS[1]:.0%} is {why_strict}"
            )
            return band_around(loose, rule)
        return band_around(PAPERS, f"within {NEAR:g} of {PAPERS:g}; its point of {ALARMS[0]:.0%} false alarms is {why}")

    @cached_property
    def sets(self) -> SetCalibration | None:
        """What p-values are made of; None where `no_sets` says why."""
        return self._sets[0]

    @cached_property
    def no_sets(self) -> str:
        """Why there are no p-values; empty where there are."""
        return self._sets[1]

    @cached_property
    def _sets(self) -> tuple[SetCalibration | None, str]:
        if not self.attributes:
            return None, UNTRAINED
        why = ""
        for kind in reversed(KINDS):  # the first that can tell an unseen generator
            try:
                return calibrate_sets(self.arrays, kind), ""
            except (UndefinedScoreError, ConfigError) as error:
                why = str(error)
        return None, why

    def p_values(self, probs: np.ndarray, embedding: np.ndarray) -> np.ndarray | None:
        """The p-value of each class (n, x) for faces with probabilities (n, x) and embeddings (n, d)."""
        return None if self.sets is None else self.sets.p_values(probs, embedding)

    def verdicts(self, p_fake: np.ndarray) -> list[str]:
        """What probabilities (n,) are called."""
        return [NONE if self.band is None else self.band.verdict(float(value)) for value in p_fake]

    def names(self, probs: np.ndarray, p_values: np.ndarray | None, top: int) -> list[Naming | None]:
        """Who made each face, from probabilities and p-values (n, x); None where no attribution expert was trained.

        A face is unseen where no class is left in its set. Without p-values the papers' rule says so: the largest
        probability is below the protocol's threshold.
        """
        if not self.attributes:
            return [None] * len(probs)
        least = self.arrays.protocol.attribution.headline
        return [
            name_face(self.classes, row, None if p_values is None else p_values[number], top, least)
            for number, row in enumerate(probs)
        ]


def name_face(classes: Sequence[str], probs: np.ndarray, p: np.ndarray | None, top: int, least: float) -> Naming:
    """A face by its class probabilities (x,) and p-values (x,); without the latter unseen below `least`.

    >>> name_face(("real", "gan"), np.array([0.2, 0.8]), np.array([0.05, 0.3]), 1, 0.9)
    Naming(generator='gan', p_seen=0.3, inside=('gan',), top=(('gan', 0.8),))
    >>> name_face(("real", "gan"), np.array([0.2, 0.8]), None, 1, 0.9).generator
    'unseen'
    """
    order = np.argsort(-probs, kind="stable")
    best = tuple((classes[k], float(probs[k])) for k in order[:top])
    if p is None:
        return Naming(classes[order[0]] if probs[order[0]] >= least else UNSEEN, None, None, best)
    inside = tuple(classes[k] for k in range(len(p)) if p[k] > 1 - LEVEL + _EDGE)
    return Naming(classes[order[0]] if inside else UNSEEN, float(p.max()), inside, best)
