"""Gaze angles and unit vectors, in ETH-XGaze's signs.

Camera axes: x to the image's right, y down, z away from the camera. pitch > 0 looks up, yaw > 0 looks toward the
image's left; (0, 0) looks straight into the camera.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def to_unit(pitch_yaw_rad: ArrayLike) -> np.ndarray:
    """(..., 2) pitch and yaw in radians to (..., 3) unit vectors in camera axes.

    >>> to_unit([0.0, 0.0]).tolist()
    [-0.0, -0.0, -1.0]
    """
    angles = np.asarray(pitch_yaw_rad, dtype=np.float64)
    pitch, yaw = angles[..., 0], angles[..., 1]
    return -np.stack([np.cos(pitch) * np.sin(yaw), np.sin(pitch), np.cos(pitch) * np.cos(yaw)], axis=-1)


def to_pitch_yaw(vectors: ArrayLike) -> np.ndarray:
    """(..., 3) vectors of any length in camera axes to (..., 2) pitch and yaw in radians."""
    v = np.asarray(vectors, dtype=np.float64)
    norm = np.linalg.norm(v, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):  # a zero vector has no direction: nan
        pitch = np.arcsin((-v[..., 1] / norm).clip(-1, 1))
    return np.stack([pitch, np.arctan2(-v[..., 0], -v[..., 2])], axis=-1)


def angular_error_rad(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Angle between two gazes given as (..., 2) pitch and yaw in radians.

    >>> round(float(np.degrees(angular_error_rad([0.0, 0.0], [0.0, 0.5236]))), 3)
    30.0
    """
    u, v = to_unit(a), to_unit(b)
    # atan2 keeps its precision for nearly equal directions, arccos does not
    return np.arctan2(np.linalg.norm(np.cross(u, v), axis=-1), (u * v).sum(axis=-1))


def mirrored(pitch_yaw_rad: ArrayLike) -> np.ndarray:
    """The gaze after flipping the image left to right: the yaw changes its sign."""
    return np.asarray(pitch_yaw_rad, dtype=np.float64) * [1.0, -1.0]
