"""The interface of gaze estimators: from crops and landmarks to angles with a confidence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np


class GazeFlag(IntFlag):
    """Why a gaze is less reliable; the sum is stored in the column `flags`."""

    NONE = 0
    NO_POSE = 1  # no landmarks, or no head pose fits them
    HEAD_ONLY = 2  # from the head pose only: irises are not visible, the face is too small or cut off
    EYES_DISAGREE = 4  # the two eyes look in clearly different directions
    RESIZED = 8  # not normalised, the whole crop was resized


@dataclass(frozen=True)
class GazeCard:
    """Facts about an estimator that a reader of its results needs."""

    display: str
    paper: str
    idea: str  # one sentence
    limits: str  # what it cannot do
    licence: str  # of the weights
    weights: tuple[str, ...] = ()  # names in manifests/weights.yaml it can load


@dataclass(frozen=True)
class GazeResult:
    """One row per face; angles in radians in ETH-XGaze's signs (see `gaze.vectors`), NaN where there is no gaze."""

    pitch_rad: np.ndarray  # (N,)
    yaw_rad: np.ndarray
    confidence: np.ndarray  # (N,) 0 to 1
    flags: np.ndarray  # (N,) int, sum of `GazeFlag`
    head_pitch_rad: np.ndarray
    head_yaw_rad: np.ndarray


@runtime_checkable
class GazeEstimator(Protocol):
    """A gaze estimator. `fingerprint` (64 hex) changes with weights and constants, so that results never mix."""

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
            landmarks: (N, 5, 2) in crop pixels, continuous coordinates (the crop spans 0 to W); NaN where unknown.
                Order: image-left eye, image-right eye, nose, image-left and image-right mouth corner.
            device: torch device.
            source_scale: (N,) source pixels per crop pixel, so that small faces that were enlarged are recognised.
        """


def remarks_of(estimator: GazeEstimator) -> tuple[str, ...]:
    """Remarks for a reader of this estimator's results, besides its card; for a network, checks its weights.

    Raises:
        WeightsError: the weights fail the check.
    """
    return tuple(getattr(estimator, "remarks", ()))
