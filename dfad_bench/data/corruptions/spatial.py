"""Corruptions that mix neighbouring pixels or cover them: blocks, blurs, pixelation."""

from __future__ import annotations

import numpy as np

BLOCK = 8
NEEDS_SIDE = 256  # pixels of the shorter side per step in the number of blocks of block-wise distortion


def block_wise(image: np.ndarray, blocks: float, rng: np.random.Generator) -> np.ndarray:
    """Cover `min(H, W) // 256 * blocks` squares of 8x8 pixels with grey 128 (DeeperForensics-1.0, BW).

    Squares may overlap. By that formula an image with a side below 256 pixels is unchanged: corrupt before resizing.
    """
    result = image.copy()
    height, width = image.shape[:2]
    count = min(height, width) // NEEDS_SIDE * int(blocks)
    tops = rng.integers(0, height - BLOCK, size=count, endpoint=True) if count else ()
    lefts = rng.integers(0, width - BLOCK, size=count, endpoint=True) if count else ()
    for top, left in zip(tops, lefts, strict=True):
        result[top : top + BLOCK, left : left + BLOCK] = 128
    return result


def blur(image: np.ndarray, kernel: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur, `kernel` pixels wide, with a sixth of it as standard deviation (DeeperForensics-1.0, GB)."""
    import cv2

    size = int(kernel)
    return cv2.GaussianBlur(image, (size, size), sigmaX=size / 6)


def pixelation(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Shrink by `factor` and enlarge again, both bilinear (called JPEG in DeeperForensics-1.0)."""
    import cv2

    height, width = image.shape[:2]
    small = (max(width // int(factor), 1), max(height // int(factor), 1))
    return cv2.resize(cv2.resize(image, small), (width, height))


def motion_blur(image: np.ndarray, length: float, rng: np.random.Generator) -> np.ndarray:
    """Mean along a line of `length` pixels in a random direction."""
    import cv2

    size, turn = int(length), rng.uniform(0, np.pi)
    steps = np.linspace(-(size - 1) / 2, (size - 1) / 2, 8 * size)
    kernel = np.zeros((size, size))
    middle = (size - 1) / 2
    np.add.at(kernel, (_nearest(middle + steps * np.sin(turn)), _nearest(middle + steps * np.cos(turn))), 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def defocus_blur(image: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """Mean over a disc of `radius` pixels."""
    import cv2

    reach = np.arange(-int(np.ceil(radius)), int(np.ceil(radius)) + 1)
    disc = (np.hypot(reach[:, None], reach[None]) <= radius).astype(float)
    return cv2.filter2D(image, -1, disc / disc.sum())


def _nearest(places: np.ndarray) -> np.ndarray:
    return np.floor(places + 0.5).astype(int)
