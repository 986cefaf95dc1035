"""Boxes x0, y0, x1, y1 in pixels: their areas, how much they share, which is taken, and the square around one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_SAME_FACE = 0.3  # intersection over union of boxes from which on two frames show the same face


def overlap(boxes: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """Intersection over union (n,) of `boxes` (n, 4) with `box`.

    >>> overlap(np.array([[0.0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]]), (0, 0, 2, 2)).round(3).tolist()
    [1.0, 0.333, 0.0]
    """
    x0, y0, x1, y1 = box
    width = np.minimum(boxes[:, 2], x1) - np.maximum(boxes[:, 0], x0)
    height = np.minimum(boxes[:, 3], y1) - np.maximum(boxes[:, 1], y0)
    common = np.maximum(width, 0) * np.maximum(height, 0)
    return common / np.maximum(box_areas(boxes) + (x1 - x0) * (y1 - y0) - common, 1e-9)


def box_areas(boxes: np.ndarray) -> np.ndarray:
    """Areas (n,) of boxes (n, 4)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def choose_box(boxes: np.ndarray, near: Sequence[float] | None) -> tuple[int, bool]:
    """Which of `boxes` to take, and whether the face of the frame before is lost by that."""
    biggest = int(np.argmax(box_areas(boxes)))
    if near is None:
        return biggest, False
    shares = overlap(boxes, near)
    followed = int(np.argmax(shares))
    return (followed, False) if shares[followed] >= _SAME_FACE else (biggest, True)


def square_around(x: float, y: float, side: float, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """A square around (x, y), shifted into the image, shrunk where it is larger than the image.

    >>> square_around(10, 50, 60, (100, 200))
    (0.0, 20.0, 60.0, 80.0)
    """
    width, height = size
    side = min(side, width, height)
    x0 = min(max(x - side / 2, 0.0), width - side)
    y0 = min(max(y - side / 2, 0.0), height - side)
    return x0, y0, min(x0 + side, float(width)), min(y0 + side, float(height))
