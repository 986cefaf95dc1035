"""Further traces, of the stand-ins that are only ever tested: none is one of `traces.py` at another strength.

Images are (320, 320, 3) float32 RGB, 0 to 255, as there.
"""

from __future__ import annotations

import math

import numpy as np

from dfad_bench.synthetic.canvas import SIDE
from dfad_bench.synthetic.traces import overlap_pattern

_GREY = np.array([0.299, 0.587, 0.114], np.float32)


def shuffle_pixels(image: np.ndarray, name: str, factor: int, bias: float, gain: float) -> np.ndarray:
    """Sub-pixel convolution: each of `factor` x `factor` output phases comes from filters of its own.

    Their biases, `bias` grey levels, are added whatever the brightness (a transposed convolution's overlap multiplies
    it), and each phase has its own `gain` of detail.
    """
    import cv2

    repeats = -(-SIDE // factor)
    biases, gains = (
        np.tile(overlap_pattern(f"{name} {part}", factor), (repeats, repeats, 1))[:SIDE, :SIDE]
        for part in ("bias", "gain")
    )
    detail = image - cv2.GaussianBlur(image, (0, 0), 2.0)
    return image + bias * biases + gain * gains * detail


def coarsen_colour(image: np.ndarray, factor: int, span: float) -> np.ndarray:
    """Colour made at a coarser resolution and repeated in blocks, all values within `span` of middle grey (tanh)."""
    import cv2

    grey = (image @ _GREY)[..., None]
    small = -(-SIDE // factor)
    coarse = cv2.resize(image - grey, (small, small), interpolation=cv2.INTER_AREA)
    colour = np.repeat(np.repeat(coarse, factor, 0), factor, 1)[:SIDE, :SIDE]
    return 127.5 + span * np.tanh((grey + colour - 127.5) / span)


def steepen_spectrum(image: np.ndarray, cut: float, exponent: float) -> np.ndarray:
    """Amplitudes fall by another f^-`exponent` beyond `cut` cycles per pixel: what repeated denoising leaves."""
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None, :])
    fall = (1 + (frequency / cut) ** 2) ** (-exponent / 2)
    spectrum = np.fft.rfft2(image, axes=(0, 1)) * fall[..., None]
    return np.fft.irfft2(spectrum, s=(SIDE, SIDE), axes=(0, 1)).astype(np.float32)


def offset_patches(image: np.ndarray, cell: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Each patch of `cell` pixels is a little brighter or darker: a decoder of latent patches that overlap too little.

    Unlike a checkerboard, no offset is repeated: it has edges at a fixed period and no spectral peak.
    """
    size = -(-SIDE // cell)
    offsets = rng.standard_normal((size, size, 1), dtype=np.float32) * strength
    return image + np.repeat(np.repeat(offsets, cell, 0), cell, 1)[:SIDE, :SIDE]


def add_ring_noise(
    image: np.ndarray, frequency: float, width: float, strength: float, rng: np.random.Generator
) -> np.ndarray:
    """Add noise of one ring of frequencies (cycles per pixel): what a sampler of few steps has not removed.

    `strength` is its standard deviation in grey levels.
    """
    radius = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None, :])
    ring = np.exp(-(((radius - frequency) / width) ** 2))
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) * ring, s=(SIDE, SIDE))
    return image + (strength * field / field.std()).astype(np.float32)[..., None]


def overdrive(image: np.ndarray, sigma: float, gain: float, saturation: float) -> np.ndarray:
    """Contrast of details up to `sigma` pixels and colour are exaggerated: too much guidance."""
    import cv2

    detail = image - cv2.GaussianBlur(image, (0, 0), sigma)
    grey = (image @ _GREY)[..., None]
    return grey + saturation * (image - grey) + gain * 20 * np.tanh(detail / 20)


def couple_cells(image: np.ndarray, cell: int, bias: float, gain: float) -> np.ndarray:
    """Every second cell of a chessboard of `cell` pixels is shifted by `bias`, its detail scaled by 1 + `gain`.

    A coupling layer changes one half of its input, chosen by a chessboard, and leaves the other half alone.
    """
    import cv2

    rows = np.arange(SIDE) // cell
    changed = ((rows[:, None] + rows[None, :]) % 2)[..., None].astype(np.float32)
    detail = image - cv2.GaussianBlur(image, (0, 0), 2.0)
    return image + changed * (bias + gain * detail)


def smear(image: np.ndarray, angle_rad: float, length: int) -> np.ndarray:
    """Blurred along one direction over `length` pixels: paths that were straightened too far."""
    import cv2

    kernel = np.zeros((length, length), np.float32)
    middle = (length - 1) / 2
    for place in np.linspace(-middle, middle, 4 * length):
        x, y = middle + place * math.cos(angle_rad), middle - place * math.sin(angle_rad)
        kernel[round(y), round(x)] += 1
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()))


def add_grain(image: np.ndarray, scale: float, share: float, rng: np.random.Generator) -> np.ndarray:
    """Grain of `scale` pixels whose size is the `share` of the brightness: samples drawn at too high a temperature."""
    import cv2

    field = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE), dtype=np.float32), (0, 0), scale)
    return image * (1 + share * field / field.std())[..., None]
