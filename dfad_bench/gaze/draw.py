"""A gaze as an arrow on a face."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

RED_RGB = (255, 0, 0)


def draw_gaze(
    image: np.ndarray,
    pitch_yaw_rad: ArrayLike,
    *,
    start: tuple[float, float] | None = None,
    length: float | None = None,
    colour: tuple[int, int, int] = RED_RGB,
) -> np.ndarray:
    """A copy of `image` with an arrow from `start` along the gaze, seen in weak perspective.

    Args:
        image: (H, W, 3) uint8 RGB.
        pitch_yaw_rad: (2,); a gaze that is not finite draws nothing.
        start: (x, y) in pixels; default the centre.
        length: pixels of a gaze at right angles to the view; default half the shorter side. Panels to be
            compared need the same one.
        colour: RGB.
    """
    import cv2

    drawn = np.ascontiguousarray(image).copy()
    pitch, yaw = np.asarray(pitch_yaw_rad, dtype=np.float64)
    if not np.isfinite([pitch, yaw]).all():
        return drawn
    height, width = drawn.shape[:2]
    x, y = start or (width / 2, height / 2)
    reach = min(height, width) / 2 if length is None else length
    tip = (x - reach * np.sin(yaw) * np.cos(pitch), y - reach * np.sin(pitch))
    begin, end = ((round(float(p)), round(float(q))) for p, q in ((x, y), tip))
    cv2.arrowedLine(drawn, begin, end, colour, 2, cv2.LINE_AA, tipLength=0.2)
    return drawn
