"""Resizing with antialiasing as two fixed matrices, which every runtime multiplies in the same way.

Crops have one size, so each resize of a model is a linear map that does not depend on the picture: rows times the
image times columns. Runtimes differ in how they resize with antialiasing; matrices leave nothing to them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_MODES = ("bilinear", "bicubic")


def resize_matrix(before: int, after: int, mode: str = "bilinear") -> Tensor:
    """(after, before) float32: what `F.interpolate` with antialiasing does along one side, worked out in float64.

    >>> resize_matrix(4, 2)
    tensor([[0.4286, 0.4286, 0.1429, 0.0000],
            [0.0000, 0.1429, 0.4286, 0.4286]])
    """
    rows = torch.eye(before, dtype=torch.float64)[None, None]
    found = F.interpolate(rows, (after, before), mode=mode, antialias=True, align_corners=False)
    return found[0, 0].float()


class FixedResizing(TorchFunctionMode):
    """Inside it, antialiased `F.interpolate` to a given size is two products with matrices.

    A model must have run once inside it before its graph is captured: matrices are made then, outside of the graph.
    """

    def __init__(self) -> None:
        super().__init__()
        self.matrices: dict[tuple[int, int, str], Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace the one function; see the class."""
        given = kwargs or {}
        if func is not F.interpolate or not given.get("antialias") or given.get("mode") not in _MODES:
            return func(*args, **given)
        size = given.get("size", args[1] if len(args) > 1 else None)
        if size is None or given.get("align_corners"):
            return func(*args, **given)
        images, mode = args[0], given["mode"]
        height, width = (size, size) if isinstance(size, int) else size
        rows = self._matrix(int(images.shape[-2]), int(height), mode)
        columns = self._matrix(int(images.shape[-1]), int(width), mode)
        return torch.matmul(torch.matmul(rows, images), columns.T)

    def _matrix(self, before: int, after: int, mode: str) -> Tensor:
        key = (before, after, mode)
        if key not in self.matrices:
            self.matrices[key] = resize_matrix(before, after, mode)
        return self.matrices[key]
