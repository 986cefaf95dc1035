"""Affine maps, and cropping by them. All coordinates are continuous: the first pixel spans 0 to 1.

An affine map is six numbers (a, b, c, d, e, f): x' = a x + b y + c, y' = d x + e y + f.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

Affine = tuple[float, ...]  # a, b, c, d, e, f
IDENTITY: Affine = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_OVERSAMPLING = 4  # source pixels per crop pixel along a side from which on the source is shrunk first


def box_affine(box: Sequence[float], side: int) -> Affine:
    """The map of the square `box` x0, y0, x1, y1 onto a crop of `side` pixels.

    >>> box_affine((10, 20, 30, 40), 10)
    (0.5, 0.0, -5.0, 0.0, 0.5, -10.0)
    """
    x0, y0, x1, y1 = box
    return side / (x1 - x0), 0.0, -x0 * side / (x1 - x0), 0.0, side / (y1 - y0), -y0 * side / (y1 - y0)


def fit_similarity(points: np.ndarray, target: np.ndarray) -> Affine:
    """The rotation, scale and shift that maps `points` (n, 2) closest to `target` (n, 2), by least squares.

    Raises:
        ValueError: the points are all the same.
    """
    z, w = (np.asarray(p, dtype=np.float64) @ [1, 1j] for p in (points, target))
    spread = float((np.abs(z - z.mean()) ** 2).sum())
    if spread < 1e-9:
        raise ValueError("the points are all the same")
    turn = complex((np.conj(z - z.mean()) * (w - w.mean())).sum() / spread)
    shift = complex(w.mean() - turn * z.mean())
    return turn.real, -turn.imag, shift.real, turn.imag, turn.real, shift.imag


def compose_affines(second: Sequence[float], first: Sequence[float]) -> Affine:
    """The map that does `first`, then `second`.

    >>> compose_affines((1, 0, 5, 0, 1, 0), (2, 0, 0, 0, 2, 0))  # twice as large, then moved by 5
    (2, 0, 5, 0, 2, 0)
    """
    a, b, c, d, e, f = second
    p, q, r, s, t, u = first
    return a * p + b * s, a * q + b * t, a * r + b * u + c, d * p + e * s, d * q + e * t, d * r + e * u + f


def apply_affine(affine: Sequence[float], points: np.ndarray) -> np.ndarray:
    """Points (n, 2) after the map."""
    matrix = np.asarray(affine, dtype=np.float64).reshape(2, 3)
    return np.asarray(points, dtype=np.float64) @ matrix[:, :2].T + matrix[:, 2]


def warp(image: Image.Image, affine: Sequence[float], side: int) -> np.ndarray:
    """The crop (side, side, 3) that a similarity maps the image onto; black where the image does not reach.

    Where the map shrinks, every source pixel counts: the crop is sampled finer (bicubic) and reduced (Lanczos).
    """
    from PIL import Image

    matrix = np.vstack([np.asarray(affine, dtype=np.float64).reshape(2, 3), [0, 0, 1]])
    shrink = 1 / math.hypot(matrix[0, 0], matrix[1, 0])
    if (step := int(shrink / _OVERSAMPLING)) > 1:
        image = image.reduce(step)
        matrix[:2, :2] *= step
        shrink /= step
    finer = max(1, math.ceil(shrink - 1e-6))
    matrix[:2] *= finer
    inverse = np.linalg.inv(matrix)[:2].ravel().tolist()
    size = (side * finer, side * finer)
    fine = image.transform(size, Image.Transform.AFFINE, inverse, Image.Resampling.BICUBIC)
    return np.asarray(fine if finer == 1 else fine.resize((side, side), Image.Resampling.LANCZOS))
