"""Gaze estimators for tests: one that reads the brightness, one without its weights, one that is not installed."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np

from dfad_bench.core.errors import MissingDependencyError, WeightsError
from dfad_bench.gaze.estimators.base import GazeCard, GazeFlag, GazeResult

TOYS = {
    "toy": "gaze_toys:ToyEstimator",
    "weightless": "gaze_toys:Weightless",
    "absent": "gaze_toys:Absent",
}
_CARD = GazeCard("Toy", "none", "brightness of two halves", "everything", "none")


class ToyEstimator:
    """Gaze from the brightness of the four halves: no gaze at all, but finite, and different from face to face."""

    name = "toy"
    card = _CARD
    fingerprint = "70" * 32
    remarks = ("toy: reads brightness, not gaze",)

    @classmethod
    def build(cls, weights: Path | None) -> Self:
        return cls()

    def estimate(
        self,
        crops: np.ndarray,
        landmarks: np.ndarray,
        device: str = "cpu",
        *,
        source_scale: np.ndarray | None = None,
    ) -> GazeResult:
        grey = crops.mean(axis=3) / 255
        half = crops.shape[1] // 2
        pitch = grey[:, :half].mean(axis=(1, 2)) - grey[:, half:].mean(axis=(1, 2))
        yaw = grey[:, :, :half].mean(axis=(1, 2)) - grey[:, :, half:].mean(axis=(1, 2))
        ones = np.ones(len(crops))
        return GazeResult(pitch, yaw, ones, np.full(len(crops), GazeFlag.RESIZED.value), 0 * ones, 0 * ones)


class Weightless(ToyEstimator):
    name = "weightless"

    @classmethod
    def build(cls, weights: Path | None) -> Self:
        raise WeightsError("weights 'weightless' not found; get them from nowhere")


class Absent(ToyEstimator):
    name = "absent"

    @classmethod
    def build(cls, weights: Path | None) -> Self:
        raise MissingDependencyError("absent gaze needs absent: pip install absent")


class Renamed(ToyEstimator):
    """The toy with other weights."""

    fingerprint = "71" * 32
