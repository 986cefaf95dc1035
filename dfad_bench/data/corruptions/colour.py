"""Corruptions that change each pixel independently: colour, brightness and noise.

YCbCr is that of BT.601 with chroma centred on zero; luma and chroma range over 0 to 255 and -127.5 to 127.5.
"""

from __future__ import annotations

import numpy as np

# BT.601: R = Y + 1.402 Cr, B = Y + 1.772 Cb; G follows from Y = 0.299 R + 0.587 G + 0.114 B
_LUMA = np.array([0.299, 0.587, 0.114])
_RED, _BLUE = 1.402, 1.772
_LUMA_STEP = 255 * 255 / 219  # one unit of luma in studio-range YCbCr in [0, 1], in grey levels
_CHROMA_STEP = 255 * 255 / 224


def saturation(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Reduce the colour: chroma becomes 0.5 + (chroma - 0.5) * share, luma stays (DeeperForensics-1.0, CS)."""
    y, cb, cr = _ycbcr(image)
    return to_uint8(_rgb(y, cb * share, cr * share))


def contrast(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Multiply every value by `factor`; the mean is not kept, so the image darkens (DeeperForensics-1.0, CC)."""
    return to_uint8(image * float(factor))


def gaussian_noise(image: np.ndarray, variance: float, rng: np.random.Generator) -> np.ndarray:
    """Add white Gaussian noise of a `variance` to studio-range YCbCr in [0, 1], in all three planes.

    DeeperForensics-1.0, GNC. In grey levels the standard deviation of luma is 297 times the root of the variance.
    """
    y, cb, cr = _ycbcr(image)
    noise = rng.standard_normal((3, *y.shape)) * np.sqrt(variance)
    return to_uint8(_rgb(y + _LUMA_STEP * noise[0], cb + _CHROMA_STEP * noise[1], cr + _CHROMA_STEP * noise[2]))


def brightness(image: np.ndarray, added: float, rng: np.random.Generator) -> np.ndarray:
    """Add a fraction of full white to every value."""
    return to_uint8(image + 255.0 * added)


def gamma(image: np.ndarray, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """Raise every value in [0, 1] to an `exponent`: above 1 darkens the mid-tones, black and white stay."""
    return to_uint8(255.0 * (image / 255.0) ** exponent)


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Values as uint8: clipped to the range, fractions truncated as the reference's cast does.

    A tiny number is added first, so that integers with a rounding error do not lose one level.
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
