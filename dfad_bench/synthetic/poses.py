"""Poses and gaze directions of people, and the gaze error of a forgery."""

from __future__ import annotations

import math

from dfad_bench.synthetic.geometry import Pose
from dfad_bench.synthetic.seeding import lattice, normal_quantile

HEAD_LIMIT_RAD = math.radians(25.0)
_EYE_YAW_RAD = 0.20  # eyes turn up to this far within a real face's head
_EYE_PITCH_RAD = 0.12
_EYE_YAW_LIMIT_RAD = 0.60  # beyond it, an iris would leave the opening of the eye
_EYE_PITCH_LIMIT_RAD = 0.24
_SYSTEMATIC, _RANDOM = 0.8, 0.6  # parts of the yaw error; their squares add up to 1
_PITCH_PART = 0.4
BASE_YAW_VARIANCE = HEAD_LIMIT_RAD**2 / 3 + _EYE_YAW_RAD**2 / 3


def natural_pose(seed: int, series: str, number: int, shot: int, roll_rad: float) -> Pose:
    """A random head pose and gaze: uniform yaw, triangular pitch, both within +-25 degrees."""
    yaw, pitch, eye_yaw, eye_pitch = lattice(seed, series, number, shot, 4)
    head_yaw = HEAD_LIMIT_RAD * (2 * yaw - 1)
    head_pitch = HEAD_LIMIT_RAD * _triangular(float(pitch))
    gaze_yaw = head_yaw + _EYE_YAW_RAD * (2 * eye_yaw - 1)
    gaze_pitch = head_pitch + _EYE_PITCH_RAD * (2 * eye_pitch - 1)
    return Pose(head_pitch, float(head_yaw), float(gaze_pitch), float(gaze_yaw), roll_rad)


def with_gaze_error(
    pose: Pose, seed: int, generator: str, number: int, shot: int, *, noise_rad: float, head_share: float
) -> Pose:
    """`pose` as a generator with that gaze noise renders it.

    The yaw error has root mean square `noise_rad`: a systematic part toward one side, equal for all faces of the
    generator, and a random part. The fraction `head_share` of the error turns the head, the rest the eyes.
    """
    first, second = lattice(seed, f"error {generator}", number, shot, 2)
    yaw_error = noise_rad * (_SYSTEMATIC + _RANDOM * normal_quantile(float(first)))
    pitch_error = noise_rad * _PITCH_PART * normal_quantile(float(second))
    head_yaw = _clip(pose.head_yaw_rad + head_share * yaw_error, HEAD_LIMIT_RAD)
    head_pitch = _clip(pose.head_pitch_rad + head_share * pitch_error, HEAD_LIMIT_RAD)
    eye_yaw = _clip(pose.yaw_rad + yaw_error - head_yaw, _EYE_YAW_LIMIT_RAD)
    eye_pitch = _clip(pose.pitch_rad + pitch_error - head_pitch, _EYE_PITCH_LIMIT_RAD)
    return Pose(head_pitch, head_yaw, head_pitch + eye_pitch, head_yaw + eye_yaw, pose.roll_rad)


def share_kept(noise_rad: float) -> float:
    """The degree to which gaze is preserved: variance of yaw over variance plus squared error; 1 for real faces."""
    return BASE_YAW_VARIANCE / (BASE_YAW_VARIANCE + noise_rad**2)


def _triangular(share: float) -> float:
    return math.sqrt(2 * share) - 1 if share < 0.5 else 1 - math.sqrt(2 * (1 - share))


def _clip(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)
