"""Edges by the Sobel operator (BMRL's edge view)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dfad_bench.layers.richest_patch import grey_levels

_ACROSS = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))  # d/dx; its transpose is d/dy


def sobel(grey: Tensor) -> Tensor:
    """(B, 1, H, W) to the length of the gradient (B, 1, H, W): 3 x 3 filters, borders mirrored without the edge."""
    across = torch.tensor(_ACROSS, dtype=grey.dtype).to(grey.device, non_blocking=True)
    slopes = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="reflect"), torch.stack([across, across.T])[:, None])
    return slopes.square().sum(dim=1, keepdim=True).sqrt()


@torch.no_grad()
def edges(images: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] to the edge image (B, 1, H, W): `sobel` of the grey levels 0 to 255, divided by 255.

    Not clipped: a step from black to white gives 4, so values exceed 1.
    """
    return (sobel(grey_levels(images)[:, None]) / 255).to(images.dtype)
