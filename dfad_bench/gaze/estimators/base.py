"""What every gaze estimator is: crops and landmarks in, angles and how far to trust them out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np


class GazeFlag(IntFlag):
    """Why a gaze is worth less; the sum is stored in the column `flags`."""

    NONE = 0
    NO_POSE = 1  # no landmarks, or no head pose fits them
    HEAD_ONLY = 2  # irises cannot be seen, the face being too small or cut off: head pose alone
    EYES_DISAGREE = 4  # the two eyes look in clearly different directions
    RESIZED = 8  # not normalised, the whole crop was resized


@dataclass(frozen=True)
class GazeCard:
    """What a reader of a gaze table must know about its estimator."""

    display: str
    paper: str
    idea: str  # one sentence
    limits: str  # what it cannot do
    licence: str  # of the weights
    weights: tuple[str, ...] = ()  # names in manifests/weights.yaml it can load


@dataclass(frozen=True)
class GazeResult:
    """One row a face; angles in radians in ETH-XGaze's signs (see `gaze.vectors`), nan where there is none."""

    pitch_rad: np.ndarray  # (N,)
    yaw_rad: np.ndarray
    confidence: np.ndarray  # (N,) 0 to 1
    flags: np.ndarray  # (N,) int, sum of `GazeFlag`
    head_pitch_rad: np.ndarray
    head_yaw_rad: np.ndarray


@runtime_checkable
class GazeEstimator(Protocol):
    """A gaze estimator. `fingerprint` (64 hex) changes with weights and constants, so tables never mix."""

    name: str
    card: GazeCard
    fingerprint: str

    @classmethod
    def build(cls, weights: Path | None) -> Self:
        """A new estimator.

        Raises:
            WeightsError: it needs weights, takes none, or these do not fit.
        """

    def estimate(
        self,
        crops: np.ndarray,
        landmarks: np.ndarray,
        device: str = "cpu",
        *,
        source_scale: np.ndarray | None = None,
    ) -> GazeResult:
        """Gaze of each face; a row never depends on the others.

        Args:
            crops: (N, H, W, 3) uint8 RGB.
            landmarks: (N, 5, 2) in crop pixels, continuous coordinates (the crop spans 0 to W); nan where unknown.
                Order: image-left eye, image-right eye, nose, image-left and image-right mouth corner.
            device: torch device.
            source_scale: (N,) source pixels a crop pixel, so that enlarged small faces are known as small.
        """


def remarks_of(estimator: GazeEstimator) -> tuple[str, ...]:
    """What a reader of this estimator's results must know besides its card; a network's weights are checked for it.

    Raises:
        WeightsError: the weights fail the check.
    """
    return tuple(getattr(estimator, "remarks", ()))
