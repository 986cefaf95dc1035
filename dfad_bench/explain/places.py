"""Where in the picture the cells of a map lie: grids of tokens, and whether a map shows the whole picture."""

from __future__ import annotations

from math import isqrt

import torch
from torch import Tensor

_PREFIX = 8  # class token and registers: no more stand before the patches
_COVERED = 0.9  # of the picture's columns and rows; strides leave some at the edge
_APART = 0.05  # of the side: what half a map follows from, to the left of what the other follows from
_MASS = 1e-6  # of the largest


def token_grid(count: int) -> tuple[int, int] | None:
    """How many of `count` tokens stand before the patches, and the side of the patches' square; None: no square.

    >>> token_grid(197), token_grid(201), token_grid(256), token_grid(3)
    ((1, 14), (5, 14), (0, 16), None)
    """
    for prefix in range(_PREFIX + 1):
        side = isqrt(max(count - prefix, 0))
        if side >= 2 and side * side == count - prefix:
            return prefix, side
    return None


def as_map(value: Tensor) -> Tensor | None:
    """(B, C, h, w), or tokens (B, N, d), or (B, h, w, C) of a square map, to (B, C, h, w); None: it is no map."""
    if value.ndim == 3:
        grid = token_grid(value.shape[1])
        if grid is None:
            return None
        prefix, side = grid
        return value[:, prefix:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
    if value.shape[1] == value.shape[2] != value.shape[3]:
        value = value.permute(0, 3, 1, 2)
    return value if value.shape[2] == value.shape[3] >= 2 else None  # crops are square


def shows_picture(cells: Tensor, images: Tensor, *, judged: bool = True) -> bool:
    """Whether a map (B, C, h, w) shows the whole of the images, left to the left and top at the top.

    Judged by gradients: each face's map follows from nearly all columns and rows, and its halves from different
    sides. A map that no gradient connects with pixels shows none (it is of a text), but in a model that no gradient
    passes (which reads low bits): there nothing can be judged (`judged` is False), and it counts as showing them.
    """
    if not judged:
        return True
    for dim in (3, 2):
        first, second = (part.sum() for part in torch.tensor_split(cells, [cells.shape[dim] // 2], dim=dim))
        found = [_profile(part, images, dim) for part in (first, second)]
        low, high = found  # (B, side) each
        if low is None or high is None:
            return False
        both = low + high
        covered = (both > _MASS * both.amax(dim=1, keepdim=True)).float().mean(dim=1)
        places = torch.linspace(0, 1, both.shape[1], device=both.device)
        apart = _centre(high, places) - _centre(low, places)
        if covered.mean() < _COVERED or apart.mean() < _APART:
            return False
    return True


def blind_margin(cells: Tensor, images: Tensor) -> int:
    """Cells at the edge of a map (B, C, h, w) that no pixel reaches, as a learned border around a picture has."""
    margin = 0
    while 2 * (margin + 2) < min(cells.shape[-2:]):
        end = -margin or None
        ring = cells[..., margin:end, margin:end]
        inner = ring[..., 1:-1, 1:-1]
        (found,) = torch.autograd.grad(ring.sum() - inner.sum(), images, retain_graph=True, allow_unused=True)
        if found is None or found.abs().sum() > 0:
            return margin if found is not None else 0
        margin += 1
    return 0


def _profile(value: Tensor, images: Tensor, dim: int) -> Tensor | None:
    """(B, side): how much `value` follows from each column (dim 3) or row (dim 2) of each image."""
    if not value.requires_grad:
        return None
    (found,) = torch.autograd.grad(value, images, retain_graph=True, allow_unused=True)
    return None if found is None or not found.any() else found.abs().sum(dim=(1, 5 - dim))


def _centre(profile: Tensor, places: Tensor) -> Tensor:
    return (profile * places).sum(dim=1) / profile.sum(dim=1).clamp(min=1e-30)
