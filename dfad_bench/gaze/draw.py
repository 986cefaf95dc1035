"""Drawing a gaze as an arrow: on the normalised patch it was estimated from, or on the face crop."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dfad_bench.gaze.normalize import DISTANCE_NORM_MM, FOCAL_NORM_PX, PATCH_SIDE, solve_pose, virtual_camera
from dfad_bench.gaze.vectors import to_unit

RED_RGB = (255, 0, 0)
WHITE_RGB = (255, 255, 255)
ARROW_MM = 168.0  # length in space: at 25 degrees from the view the arrow ends at the patch's edge
PATCH_ARROW_PX = ARROW_MM * FOCAL_NORM_PX / DISTANCE_NORM_MM
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates
_WIDTHS_A_SIDE = 80  # shorter side of an image over the line width
Point = tuple[float, float]


def draw_arrow(
    image: np.ndarray,
    start: Point,
    tip: Point,
    *,
    colour: tuple[int, int, int] = RED_RGB,
    halo: tuple[int, int, int] | None = None,
    thickness: int = 2,
) -> np.ndarray:
    """A copy of `image` with an arrow; points that are not finite draw nothing.

    Args:
        image: (H, W, 3) uint8 RGB.
        start: (x, y) in continuous coordinates: the first pixel's centre is at 0.5.
        tip: as `start`; may lie outside.
        colour: RGB.
        halo: colour of a rim, so that the arrow is visible on dark and bright faces; with it a dot marks the start.
        thickness: thickness of the line, pixels.
    """
    import cv2

    drawn = np.ascontiguousarray(image).copy()
    if not np.isfinite([*start, *tip]).all():
        return drawn
    begin, end = (tuple(round((value - 0.5) * 2**_SHIFT) for value in point) for point in (start, tip))
    reach = max(float(np.hypot(tip[0] - start[0], tip[1] - start[1])), 1.0)
    head = min(max(0.2 * reach, 3 * thickness), 0.5 * reach) / reach if halo else 0.2  # short arrows keep a head
    for paint, rim in [(colour, 0)] if halo is None else [(halo, thickness), (colour, 0)]:
        if halo is not None:
            radius = (2 * thickness + rim) * 2 ** (_SHIFT - 1)
            cv2.circle(drawn, begin, radius, paint, -1, cv2.LINE_AA, _SHIFT)
        cv2.arrowedLine(drawn, begin, end, paint, thickness + rim, cv2.LINE_AA, _SHIFT, head)
    return drawn


def draw_on_crop(
    crop: np.ndarray, landmarks: np.ndarray, pitch_yaw_rad: ArrayLike, *, normalised: bool = True
) -> np.ndarray:
    """A copy of a face crop with its gaze from the face's centre, `ARROW_MM` long in space.

    Args:
        crop: (H, W, 3) uint8 RGB.
        landmarks: (5, 2) in crop pixels, NaN where unknown; as given to the estimator.
        pitch_yaw_rad: (2,); not finite draws nothing.
        normalised: the angles are those of the virtual camera, otherwise of the crop's own.
    """
    height, width = crop.shape[:2]
    start, tip = arrow_on_crop(width, height, landmarks, pitch_yaw_rad, normalised=normalised)
    return draw_arrow(crop, start, tip, halo=WHITE_RGB, thickness=_thickness(crop))


def draw_on_patch(patch: np.ndarray, pitch_yaw_rad: ArrayLike) -> np.ndarray:
    """A copy of a normalised patch with its gaze from the middle, as long in space as on the crop."""
    side = patch.shape[0]
    begin = (side / 2, side / 2)
    tip = _flat_tip(begin, pitch_yaw_rad, PATCH_ARROW_PX * side / PATCH_SIDE)
    return draw_arrow(patch, begin, tip, halo=WHITE_RGB, thickness=_thickness(patch))


def arrow_on_crop(
    width: int, height: int, landmarks: np.ndarray, pitch_yaw_rad: ArrayLike, *, normalised: bool = True
) -> tuple[Point, Point]:
    """Start and tip of the arrow of `draw_on_crop` in continuous coordinates, NaN where the gaze is not finite.

    The gaze is rotated back from the virtual camera (g = R^T g_norm) and projected with the crop's camera. Without
    a head pose it starts in the middle of the crop, in weak perspective.
    """
    angles = np.asarray(pitch_yaw_rad, dtype=np.float64)
    pose = solve_pose(np.asarray(landmarks, dtype=np.float64)[None], width, height)
    if not pose.ok[0]:
        begin = (width / 2, height / 2)
        return begin, _flat_tip(begin, angles, min(width, height) / 2)
    gaze = to_unit(angles)
    if normalised:
        gaze = virtual_camera(pose).rotation[0].T @ gaze
    ends = np.stack([pose.centre[0], pose.centre[0] + ARROW_MM * gaze]) @ pose.camera.T
    start, tip = ends[:, :2] / ends[:, 2:]
    return (float(start[0]), float(start[1])), (float(tip[0]), float(tip[1]))


def _flat_tip(start: Point, pitch_yaw_rad: ArrayLike, length: float) -> Point:
    x, y, _ = to_unit(pitch_yaw_rad) * length
    return start[0] + float(x), start[1] + float(y)


def _thickness(image: np.ndarray) -> int:
    return max(2, round(min(image.shape[:2]) / _WIDTHS_A_SIDE))
