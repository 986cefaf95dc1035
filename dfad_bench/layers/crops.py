"""Random crops of a batch, from torch's global generator."""

from __future__ import annotations

import torch
from torch import Tensor


def random_crops(images: Tensor, count: int, size: int) -> Tensor:
    """(B, C, H, W) to (B, count, C, size, size), every position equally likely, each crop drawn independently.

    Raises:
        ValueError: the images are smaller than a crop.
    """
    batch, _, height, width = images.shape
    if min(height, width) < size:
        raise ValueError(f"crops of {size} pixels do not fit in images of {height}x{width}")
    tops = torch.randint(height - size + 1, (batch, count)).tolist()
    lefts = torch.randint(width - size + 1, (batch, count)).tolist()
    rows = [
        torch.stack([image[:, y : y + size, x : x + size] for y, x in zip(ys, xs, strict=True)])
        for image, ys, xs in zip(images, tops, lefts, strict=True)
    ]
    return torch.stack(rows)
