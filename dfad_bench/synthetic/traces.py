"""The traces each kind of generator leaves in its pixels, as plain image operations.

Images are (320, 320, 3) float32 RGB, 0 to 255. Periods and cut-offs are between 4 and 24 pixels, so that they are
still present in a face crop resized to 256 or 128 pixels.
"""

from __future__ import annotations

import numpy as np

from dfad_bench.synthetic.canvas import SIDE
from dfad_bench.synthetic.seeding import rng_for


def overlap_pattern(name: str, stride: int) -> np.ndarray:
    """The gain of a transposed convolution by output phase: (stride, stride, 3), zero mean, unit spread.

    A kernel not divisible by its stride covers some phases more often than others: the checkerboard of Odena et
    al. (2016). The kernel is part of the generator's weights, so it depends on its name.
    """
    rng = rng_for(0, "kernel", name)
    across, down = (
        np.where(np.arange(stride) < (stride + 1) // 2, 1.0, -1.0) + rng.normal(0, 0.25, stride) for _ in "xy"
    )
    pattern = across[None, :, None] + down[:, None, None] + 0.8 * (across[None, :] * down[:, None])[..., None]
    pattern = pattern * (1.0 + rng.normal(0, 0.15, 3))
    pattern -= pattern.mean((0, 1))
    return (pattern / pattern.std()).astype(np.float32)


def checkerboard(image: np.ndarray, name: str, stride: int, strength: float) -> np.ndarray:
    """Multiply by the overlap pattern, repeated over the image: spectral peaks at multiples of 1 / stride."""
    repeats = -(-SIDE // stride)
    tiled = np.tile(overlap_pattern(name, stride), (repeats, repeats, 1))[:SIDE, :SIDE]
    return image * (1.0 + strength * tiled)


def nearest_upsampling(image: np.ndarray, factor: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Detail made at a coarser resolution and repeated `factor` times in both directions, noise included."""
    import cv2

    small = -(-SIDE // factor)
    smooth = cv2.GaussianBlur(image, (0, 0), factor / 2)
    detail = image - smooth
    shrunk = cv2.resize(detail, (small, small), interpolation=cv2.INTER_AREA)
    shrunk = shrunk + strength * rng.standard_normal((small, small, 1), dtype=np.float32)
    coarse = np.repeat(np.repeat(shrunk, factor, 0), factor, 1)[:SIDE, :SIDE]
    return smooth + 0.75 * detail + coarse


def denoise(image: np.ndarray, cut: float, keep: float, edge: float) -> np.ndarray:
    """Over-smoothing: texture finer than about `cut` pixels is reduced to the fraction `keep`, strong edges stay.

    The steep spectral fall-off of images from a denoising chain; `edge` is the contrast, in grey levels, that counts
    as an edge.
    """
    import cv2

    smooth = cv2.GaussianBlur(image, (0, 0), cut)
    detail = image - smooth
    contrast = _largest_magnitude(detail) / edge
    return smooth + detail * (1.0 - (1.0 - keep) * np.exp(-(contrast**2)))


def remove_band(image: np.ndarray, fine: float, coarse: float, share: float) -> np.ndarray:
    """Remove `share` of the band between two Gaussian cut-offs where it is faint: the spectrum of another sampler."""
    import cv2

    band = cv2.GaussianBlur(image, (0, 0), fine) - cv2.GaussianBlur(image, (0, 0), coarse)
    faint = np.exp(-((_largest_magnitude(band) / 14.0) ** 2))
    return image - share * band * faint


def blotches(image: np.ndarray, period: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Add faint coloured noise of low frequency: a remainder of the noise a sampler started from."""
    import cv2

    size = -(-SIDE // period)
    field = rng.standard_normal((size, size, 3), dtype=np.float32) * strength
    return image + cv2.resize(field, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def quantise_wavelets(image: np.ndarray, steps: tuple[float, ...]) -> np.ndarray:
    """Round Haar details to multiples of `steps` (finest level first).

    Flows repeatedly squeeze 2 x 2 pixels into channels; the limited precision of the deep channels is visible as
    blocks of 2, 4, 8 pixels.
    """
    if not steps:
        return image
    rows = image.reshape(image.shape[0] // 2, 2, image.shape[1] // 2, 2, 3)
    a, b, c, d = rows[:, 0, :, 0], rows[:, 0, :, 1], rows[:, 1, :, 0], rows[:, 1, :, 1]
    mean = quantise_wavelets((a + b + c + d) / 4, steps[1:])
    details = [(a - b + c - d) / 4, (a + b - c - d) / 4, (a - b - c + d) / 4]
    h, v, x = (np.rint(part / steps[0]) * steps[0] for part in details)
    out = np.empty_like(rows)
    out[:, 0, :, 0], out[:, 0, :, 1] = mean + h + v + x, mean - h + v - x
    out[:, 1, :, 0], out[:, 1, :, 1] = mean + h - v - x, mean - h - v + x
    return out.reshape(image.shape)


def block_warp(
    image: np.ndarray, cell: int, amplitude: float, still_mask: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Shift the image cell by cell, as a coarse motion field does; nothing moves where `still_mask` is 1."""
    import cv2

    size = -(-SIDE // cell)
    flow = rng.standard_normal((size, size, 2), dtype=np.float32) * amplitude
    flow = np.repeat(np.repeat(flow, cell, 0), cell, 1)[:SIDE, :SIDE] * (1.0 - still_mask[..., None])
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    moved = cv2.remap(image, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.ascontiguousarray(moved)


def coarse_grid_resampling(image: np.ndarray, factor: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Texture interpolated linearly from a coarser grid: its variance repeats every `factor` pixels."""
    import cv2

    size = -(-SIDE // factor)
    field = rng.standard_normal((size, size, 1), dtype=np.float32) * strength
    enlarged = cv2.resize(field, (size * factor, size * factor), interpolation=cv2.INTER_LINEAR)[:SIDE, :SIDE]
    return denoise(image, factor / 2, 0.35, 30.0) + enlarged[..., None]


def paste(target: np.ndarray, source: np.ndarray, mask: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """`target` with `source`, its colours multiplied by `gain` (3,), blended in by the soft mask."""
    share = mask[..., None]
    return target * (1.0 - share) + np.clip(source * gain, 0, 255) * share


def _largest_magnitude(detail: np.ndarray) -> np.ndarray:
    """The largest magnitude over the channels, (320, 320, 1); faster than a reduction over three values."""
    size = np.abs(detail)
    return np.maximum(np.maximum(size[..., 0], size[..., 1]), size[..., 2])[..., None]
