"""What every gaze estimator is: crops and landmarks in, angles and how far to trust them out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np

from dfad_bench.core.errors import ConfigError


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


def build_estimator(name: str, weights: str | None = None) -> GazeEstimator:
    """A registered estimator with its weights, given by name or by path.

    Settings of networks follow the name: `eth_xgaze:yaw_pitch,bgr` (see `network.WORDS`).

    Raises:
        UnknownNameError: no estimator of that name.
        WeightsError: weights missing, or given to an estimator that takes none.
        ConfigError: a setting the estimator does not have.
    """
    from dfad_bench.core.weights import find_weights

    kind, (_, _, words) = estimator_class(name), name.partition(":")
    file = find_weights(weights) if weights is not None else None
    if not words:
        return kind.build(file)
    from dfad_bench.gaze.estimators.network import NetworkEstimator, settings_of

    if not issubclass(kind, NetworkEstimator):
        raise ConfigError(f"estimator {name!r}: {kind.name} has no settings; leave {':' + words!r} out")
    return kind.build(file, **settings_of(words))


def estimator_names() -> list[str]:
    """Every name and alias `build_estimator` knows."""
    from dfad_bench.gaze.estimators import ALIASES, ESTIMATORS

    return sorted({*ESTIMATORS, *ALIASES})


def estimator_class(name: str) -> type[GazeEstimator]:
    """The class of an estimator, by name or alias, whatever settings follow it.

    Raises:
        UnknownNameError: no estimator of that name.
    """
    from dfad_bench.core.registry import resolve
    from dfad_bench.gaze.estimators import ALIASES, ESTIMATORS

    known = {**ESTIMATORS, **{alias: ESTIMATORS[real] for alias, real in ALIASES.items() if real in ESTIMATORS}}
    return resolve("estimator", name.partition(":")[0], known)
