"""The two-dimensional discrete cosine transform, on whatever device the images are."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def dct_matrix(size: int, *, device: torch.device | str | None = None) -> Tensor:
    """(size, size) orthonormal DCT-II: row k is sqrt(2 / size) cos(pi (2 n + 1) k / (2 size)), row 0 over sqrt(2)."""
    places = torch.arange(size, dtype=torch.float64, device="cpu")  # not every device has float64, few are quick at it
    rows = torch.cos(math.pi / (2 * size) * (2 * places + 1) * places[:, None]) * math.sqrt(2 / size)
    rows[0] /= math.sqrt(2)
    return rows.float() if device is None else rows.float().to(device, non_blocking=True)


def dct2(images: Tensor) -> Tensor:
    """(..., H, W) to its orthonormal two-dimensional DCT-II, low frequencies first; in float32 also under autocast."""
    with torch.autocast(images.device.type, enabled=False):
        height, width = (dct_matrix(size, device=images.device) for size in images.shape[-2:])
        return height @ images.float() @ width.T
