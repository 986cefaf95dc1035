"""The tile of an image with the richest texture, by its grey-level co-occurrence (MFCLIP, BMRL)."""

from __future__ import annotations

import torch
from torch import Tensor

_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as image libraries convert


def grey_levels(images: Tensor, *, rounded: bool = False) -> Tensor:
    """(B, 3, H, W) in [0, 1] to (B, H, W) grey levels 0 to 255, integers stored as floats.

    Levels are truncated, as MFCLIP's and BMRL's code does, or `rounded` to the nearest. Truncation allows a thousandth
    of a level, so that the error of floats takes no whole level from pixels that are grey already.
    """
    weights = torch.tensor(_GREY, dtype=torch.float32).to(images.device, non_blocking=True)
    levels = torch.einsum("bchw,c->bhw", images.float(), weights) * 255
    return (levels.round() if rounded else (levels + 1e-3).floor()).clamp(0, 255)


def homogeneity(grey: Tensor) -> Tensor:
    """GLCM homogeneity of (..., H, W) grey levels, over the last two axes.

    The normalised, symmetric co-occurrence matrix for distance 1 and angle 0 holds the frequencies p(i, j) of
    horizontal neighbour pairs, and homogeneity sums p(i, j) / (1 + (i - j)^2): this is the mean of that weight over
    all pairs, computed without the 256 x 256 matrix.
    """
    return (1 / (1 + (grey[..., 1:] - grey[..., :-1]) ** 2)).mean(dim=(-2, -1))


def tiles(images: Tensor) -> Tensor:
    """(B, C, H, W) to its four quarters (B, 4, C, H/2, W/2): top left, top right, bottom left, bottom right."""
    height, width = images.shape[-2] // 2, images.shape[-1] // 2
    rows = images[..., : 2 * height, : 2 * width].unflatten(-2, (2, height)).unflatten(-1, (2, width))
    return rows.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # (B, C, 2, h, 2, w) -> (B, 2, 2, C, h, w) -> (B, 4, C, h, w)


@torch.no_grad()
def richest_index(images: Tensor, *, rounded: bool = False) -> Tensor:
    """(B,) index of the quarter with the lowest homogeneity, the first one on a tie; `rounded`: see `grey_levels`."""
    return homogeneity(tiles(grey_levels(images, rounded=rounded)[:, None])[:, :, 0]).argmin(dim=1)


def richest_patch(images: Tensor, *, rounded: bool = False) -> Tensor:
    """(B, 3, H, W) in [0, 1] to the richest of its four quarters, (B, 3, H/2, W/2); `rounded`: see `grey_levels`."""
    rows = torch.arange(images.shape[0], device=images.device)
    return tiles(images)[rows, richest_index(images, rounded=rounded)]
