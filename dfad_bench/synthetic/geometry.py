"""The head in three dimensions: pose, projection, eyeballs.

Axes are the camera's: x right, y down, z away from the camera; the head frame has the nose tip at its origin and
coincides with them for a frontal face. Lengths in millimetres, image positions continuous (the centre of the first
pixel is 0.5). Angles: pitch > 0 looks up, yaw > 0 looks toward the image's left (the convention of ETH-XGaze).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

EYEBALL_RADIUS_MM = 11.4
IRIS_RADIUS_MM = 5.9
IRIS_DISTANCE_MM = math.sqrt(EYEBALL_RADIUS_MM**2 - IRIS_RADIUS_MM**2)  # eyeball centre to the plane of the iris
EYEBALL_DEPTH_MM = 4.6  # eyeball centre behind the midpoint of the eye corners
EYE_MIDPOINT_MM = (31.7, -32.0, 37.0)  # between the corners of an eye, x mirrored for the other; adult mean 63.4 apart
_CAMERA_DISTANCE_MM = 700.0
_PIVOT_MM = np.array([0.0, -8.0, 45.0])  # point that keeps its position in the image when the head turns


@dataclass(frozen=True)
class Pose:
    """Direction of the head and of the gaze, both in the camera frame, radians."""

    head_pitch_rad: float
    head_yaw_rad: float
    pitch_rad: float
    yaw_rad: float
    roll_rad: float = 0.0


@dataclass(frozen=True)
class Placement:
    """Pixels per millimetre at the nose tip of a frontal face, and the position of the head in the image."""

    scale: float
    centre: tuple[float, float]


def direction(pitch_rad: float, yaw_rad: float) -> np.ndarray:
    """The unit vector of a gaze or a head in camera axes.

    >>> direction(0.0, 0.0).tolist() == [0.0, 0.0, -1.0]
    True
    """
    flat = math.cos(pitch_rad)
    return np.array([-flat * math.sin(yaw_rad), -math.sin(pitch_rad), -flat * math.cos(yaw_rad)]) + 0.0


def rotation(pose: Pose) -> np.ndarray:
    """The (3, 3) matrix from the head frame to the camera frame; its third column is minus the head's direction."""
    cy, sy = math.cos(pose.head_yaw_rad), math.sin(pose.head_yaw_rad)
    cp, sp = math.cos(pose.head_pitch_rad), math.sin(pose.head_pitch_rad)
    cr, sr = math.cos(pose.roll_rad), math.sin(pose.roll_rad)
    yaw = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    pitch = np.array([[1.0, 0.0, 0.0], [0.0, cp, sp], [0.0, -sp, cp]])
    roll = np.array([[cr, -sr, 0.0], [sr, cr, 0.0], [0.0, 0.0, 1.0]])
    return yaw @ pitch @ roll


class Projector:
    """Projection from the head frame to the image, for one pose and placement."""

    def __init__(self, pose: Pose, placement: Placement) -> None:
        self.pose = pose
        self.placement = placement
        self.rotation = rotation(pose)

    def camera(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 3) of the head frame in camera axes, millimetres relative to the pivot."""
        return (np.asarray(points, float) - _PIVOT_MM) @ self.rotation.T

    def image(self, camera_points: np.ndarray) -> np.ndarray:
        """Camera points (n, 3) to pixels (n, 2)."""
        depth = _CAMERA_DISTANCE_MM + camera_points[:, 2:] + _PIVOT_MM[2]
        return (
            np.asarray(self.placement.centre)
            + self.placement.scale * _CAMERA_DISTANCE_MM * camera_points[:, :2] / depth
        )

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 3) of the head frame to pixels (n, 2)."""
        return self.image(self.camera(points))

    def eyeballs(self) -> np.ndarray:
        """Eyeball centres (2, 3) in camera axes, first the eye that is on the image's left in a frontal face."""
        x, y, z = EYE_MIDPOINT_MM
        return self.camera(np.array([[-x, y, z + EYEBALL_DEPTH_MM], [x, y, z + EYEBALL_DEPTH_MM]]))

    def iris_centres(self) -> np.ndarray:
        """Iris centres (2, 2) in pixels: each eyeball's centre moved along the gaze."""
        gaze = direction(self.pose.pitch_rad, self.pose.yaw_rad)
        return self.image(self.eyeballs() + IRIS_DISTANCE_MM * gaze)

    def iris_circle(self, eye: int, radius_mm: float, points: int = 28) -> np.ndarray:
        """The outline (points, 2) in pixels of a disc of that radius on the iris plane of eye 0 or 1."""
        gaze = direction(self.pose.pitch_rad, self.pose.yaw_rad)
        right = np.cross([0.0, 1.0, 0.0], gaze)
        right /= np.linalg.norm(right)
        down = np.cross(gaze, right)
        angles = np.linspace(0.0, 2 * math.pi, points, endpoint=False)[:, None]
        centre = self.eyeballs()[eye] + IRIS_DISTANCE_MM * gaze
        return self.image(centre + radius_mm * (np.cos(angles) * right + np.sin(angles) * down))
