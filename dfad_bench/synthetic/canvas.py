"""An anti-aliased drawing surface: the colour of each pixel, and the part of the face it belongs to."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

SIDE = 320  # side of a finished image, pixels
_ZOOM = 2  # images are drawn this much larger, then reduced
_SHIFT = 4  # OpenCV's fixed-point bits


class Part(IntEnum):
    """The part of a face that a pixel belongs to."""

    BACKDROP = 0
    HAIR = 1
    SKIN = 2
    CLOTH = 3
    EYE = 4
    LIPS = 5


class Canvas:
    """A drawing surface; positions are continuous pixels of the finished image, colours RGB, 0 to 255."""

    def __init__(self, backdrop: np.ndarray) -> None:
        self.pixels = backdrop
        self.parts = np.zeros(backdrop.shape[:2], np.uint8)

    def fill(self, outline: np.ndarray, colour: tuple[float, ...], part: Part | None = None) -> None:
        """Fill a polygon (n, 2)."""
        import cv2

        points = fixed_point(outline)
        cv2.fillPoly(self.pixels, [points], colour, cv2.LINE_AA, _SHIFT)
        if part is not None:
            cv2.fillPoly(self.parts, [points], int(part), cv2.LINE_8, _SHIFT)

    def fill_hull(self, points: np.ndarray, colour: tuple[float, ...], part: Part | None = None) -> None:
        """Fill the convex hull of points (n, 2): the silhouette of a convex body."""
        import cv2

        self.fill(cv2.convexHull(points.astype(np.float32))[:, 0], colour, part)

    def stroke(self, line: np.ndarray, colour: tuple[float, ...], width: float) -> None:
        """Draw an open line (n, 2) of a width in pixels."""
        import cv2

        thick = max(1, round(width * _ZOOM))
        cv2.polylines(self.pixels, [fixed_point(line)], False, colour, thick, cv2.LINE_AA, _SHIFT)

    def inset_within(self, outline: np.ndarray) -> Inset:
        """A small canvas of which only a polygon is visible: for eyes behind their lids."""
        return Inset(self, outline)

    def finished_image(self) -> np.ndarray:
        """The image (SIDE, SIDE, 3) as float32, 0 to 255."""
        import cv2

        return cv2.resize(self.pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)

    def mask(self, *parts: Part) -> np.ndarray:
        """The fraction of each pixel that belongs to one of the parts, (SIDE, SIDE) float32 in [0, 1]."""
        import cv2

        table = np.zeros(256, np.uint8)
        table[list(parts)] = 255
        chosen = cv2.LUT(self.parts, table)
        return cv2.resize(chosen, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0


class Inset:
    """A copy of the polygon's surroundings to draw on; `close` blends it back inside the polygon."""

    def __init__(self, canvas: Canvas, outline: np.ndarray) -> None:
        import cv2

        limit = canvas.pixels.shape[0]
        low = np.clip(np.floor(outline.min(0) * _ZOOM).astype(int) - 4, 0, limit - 1)
        high = np.clip(np.ceil(outline.max(0) * _ZOOM).astype(int) + 4, 1, limit)
        self._window = (slice(low[1], max(high[1], low[1] + 1)), slice(low[0], max(high[0], low[0] + 1)))
        self._origin = low / _ZOOM
        self._target = canvas.pixels[self._window]
        self._parts = canvas.parts[self._window]
        self.canvas = Canvas(self._target.copy())
        self._mask = np.zeros(self._target.shape[:2], np.uint8)
        cv2.fillPoly(self._mask, [fixed_point(outline - self._origin)], 255, cv2.LINE_AA, _SHIFT)

    def fill(self, outline: np.ndarray, colour: tuple[float, ...]) -> None:
        """Fill a polygon (n, 2) given in pixels of the whole image."""
        self.canvas.fill(outline - self._origin, colour)

    def stroke(self, line: np.ndarray, colour: tuple[float, ...], width: float) -> None:
        """Draw an open line given in pixels of the whole image."""
        self.canvas.stroke(line - self._origin, colour, width)

    def close(self, part: Part) -> None:
        """Blend what was drawn into the canvas."""
        share = self._mask[..., None].astype(np.float32) / 255.0
        mixed = self._target * (1 - share) + self.canvas.pixels * share
        self._target[...] = np.rint(mixed).astype(np.uint8)
        self._parts[self._mask > 127] = int(part)


def new_canvas(backdrop: np.ndarray) -> Canvas:
    """A canvas over a backdrop with sides of `canvas_side()` pixels."""
    return Canvas(np.ascontiguousarray(backdrop))


def canvas_side() -> int:
    """Side of the drawing surface in its own pixels."""
    return SIDE * _ZOOM


def fixed_point(points: np.ndarray, zoom: float = _ZOOM) -> np.ndarray:
    """Continuous positions as OpenCV's fixed-point pixel indices (the centre of pixel 0 is 0.5 here, 0 in OpenCV)."""
    return np.rint((np.asarray(points, float) * zoom - 0.5) * (1 << _SHIFT)).astype(np.int32)
