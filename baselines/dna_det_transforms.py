"""The 170 image transformations DNA-Det is pre-trained to tell apart."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np

_QUALITIES = range(30, 100, 3)  # 24
_KERNELS = range(3, 30, 2)  # 14
_SCALES = tuple(round(0.15 + 0.05 * step, 2) for step in range(16))  # 0.15 to 0.90
_INTERPOLATIONS = ("nearest", "linear", "cubic", "area", "lanczos")
_VARIANCES = range(10, 50, 3)  # 14, of 8-bit levels


@dataclass(frozen=True)
class Transformation:
    """One class of the pre-training task: `kind` and its parameters."""

    kind: str  # jpeg, double_jpeg, gaussian_blur, median_blur, resize, noise
    level: float  # quality, first quality, kernel width, scale or variance
    second: int = 0  # second quality
    interpolation: str = ""


def _all_transformations() -> tuple[Transformation, ...]:
    qualities = list(_QUALITIES)
    shifted = qualities[12:] + qualities[:12]  # fixed partner of each first quality, never the same
    return (
        *(Transformation("jpeg", quality) for quality in qualities),
        *(Transformation("double_jpeg", a, second=b) for a, b in zip(qualities, shifted, strict=True)),
        *(Transformation("gaussian_blur", kernel) for kernel in _KERNELS),
        *(Transformation("median_blur", kernel) for kernel in _KERNELS),
        *(Transformation("resize", scale, interpolation=name) for name in _INTERPOLATIONS for scale in _SCALES),
        *(Transformation("noise", variance) for variance in _VARIANCES),
    )


TRANSFORMATIONS = _all_transformations()


def transform(image: Tensor, index: int) -> Tensor:
    """(3, H, W) in [0, 1], on the host, to the same, changed by `TRANSFORMATIONS[index]` on 8-bit levels.

    JPEG q 30 to 99 in threes; the same twice, with a fixed second quality; Gaussian and median blur of width 3
    to 29; down to 0.15 .. 0.90 and up again in five interpolations; Gaussian noise of variance 10 to 49, drawn
    from torch's global generator.
    """
    import numpy as np

    pixels = (image.detach().float() * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    changed = _apply(np.ascontiguousarray(pixels), TRANSFORMATIONS[index])
    return torch.from_numpy(np.ascontiguousarray(changed)).permute(2, 0, 1).to(image.dtype) / 255


def _apply(pixels: np.ndarray, change: Transformation) -> np.ndarray:
    import cv2
    import numpy as np

    if change.kind == "jpeg":
        return _jpeg(pixels, int(change.level))
    if change.kind == "double_jpeg":
        return _jpeg(_jpeg(pixels, int(change.level)), change.second)
    if change.kind == "gaussian_blur":
        return cv2.GaussianBlur(pixels, (int(change.level),) * 2, 0)
    if change.kind == "median_blur":
        return cv2.medianBlur(pixels, int(change.level))
    if change.kind == "noise":
        noise = torch.randn(pixels.shape).numpy() * change.level**0.5
        return (pixels + noise).round().clip(0, 255).astype(np.uint8)
    mode = getattr(cv2, f"INTER_{change.interpolation.upper()}" + ("4" if change.interpolation == "lanczos" else ""))
    height, width = pixels.shape[:2]
    small = cv2.resize(
        pixels, (max(1, round(width * change.level)), max(1, round(height * change.level))), None, 0, 0, mode
    )
    return cv2.resize(small, (width, height), None, 0, 0, mode)


def _jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    import numpy as np
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.array(Image.open(stream, formats=("JPEG",)))  # a copy: torch wants it writable
