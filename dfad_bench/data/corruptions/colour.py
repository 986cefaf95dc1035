"""Corruptions that change each pixel by itself: colour, light and noise.

YCbCr is that of BT.601 with chroma centred on zero; luma and chroma reach over 0 to 255 and -127.5 to 127.5.
"""

from __future__ import annotations

import numpy as np

# BT.601: R = Y + 1.402 Cr, B = Y + 1.772 Cb, and what follows for G from Y = 0.299 R + 0.587 G + 0.114 B
_LUMA = np.array([0.299, 0.587, 0.114])
_RED, _BLUE = 1.402, 1.772
_LUMA_STEP = 255 * 255 / 219  # one unit of luma in studio-range YCbCr in [0, 1], in grey levels
_CHROMA_STEP = 255 * 255 / 224


def saturation(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Keep a `share` of the colour: chroma becomes 0.5 + (chroma - 0.5) share, luma stays (DeeperForensics-1.0, CS)."""
    y, cb, cr = _ycbcr(image)
    return whole(_rgb(y, cb * share, cr * share))


def contrast(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Multiply every value by `factor`, which darkens: no mean is kept (DeeperForensics-1.0, CC)."""
    return whole(image * float(factor))


def gaussian_noise(image: np.ndarray, variance: float, rng: np.random.Generator) -> np.ndarray:
    """White Gaussian noise of a `variance` in studio-range YCbCr in [0, 1], in all three planes.

    DeeperForensics-1.0, GNC. In grey levels the luma's deviation is 297 times the root of the variance.
    """
    y, cb, cr = _ycbcr(image)
    noise = rng.standard_normal((3, *y.shape)) * np.sqrt(variance)
    return whole(_rgb(y + _LUMA_STEP * noise[0], cb + _CHROMA_STEP * noise[1], cr + _CHROMA_STEP * noise[2]))


def brightness(image: np.ndarray, added: float, rng: np.random.Generator) -> np.ndarray:
    """Add a share of full white to every value."""
    return whole(image + 255.0 * added)


def gamma(image: np.ndarray, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """Raise every value in [0, 1] to an `exponent`: above 1 darkens the middle, black and white stay."""
    return whole(255.0 * (image / 255.0) ** exponent)


def whole(values: np.ndarray) -> np.ndarray:
    """Values as uint8: clipped to the range, fractions cut off as the reference's cast does.

    A hair is added first, so that numbers that are whole but for rounding stay what they are.
    """
    return np.clip(np.floor(values + 1e-4), 0, 255).astype(np.uint8)


def _ycbcr(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values = image.astype(np.float64)
    y = values @ _LUMA  # (H, W)
    return y, (values[..., 2] - y) / _BLUE, (values[..., 0] - y) / _RED


def _rgb(y: np.ndarray, cb: np.ndarray, cr: np.ndarray) -> np.ndarray:
    red, blue = y + _RED * cr, y + _BLUE * cb
    green = (y - _LUMA[0] * red - _LUMA[2] * blue) / _LUMA[1]
    return np.stack([red, green, blue], axis=-1)
