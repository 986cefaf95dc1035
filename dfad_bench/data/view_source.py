"""How a dataset asks for views: named values beside the pixels of its faces, of which some faces may have none.

What views there are, and how they are made, is `dfad_bench.views`' part; a dataset gets one source a view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dfad_bench.core.batch import ViewValue


@dataclass(frozen=True)
class ViewValues:
    """Values of one view for N faces; what a face that is not `present` has means nothing (zeros, or an empty text)."""

    values: np.ndarray | tuple[str, ...]  # (N, ...), or N texts
    present: np.ndarray  # (N,) bool

    def __len__(self) -> int:
        return len(self.present)


class ViewSource(Protocol):
    """One view of the rows of a dataset."""

    present: np.ndarray  # (rows,) bool: the faces that have the view

    def gather(self, index: np.ndarray, crops: Callable[[], Tensor]) -> ViewValue:
        """Values of the given rows, (B, ...) or B texts; zeros and empty texts where a face has none.

        Args:
            index: row numbers.
            crops: gives their crops, (B, H, W, 3) uint8; only called by views that are computed in the batch.
        """

    def mirrored(self, values: ViewValue) -> ViewValue:
        """What `values` become when the faces are flipped from left to right."""


class HeldView:
    """A view in memory: vectors or tokens as an array, or texts.

    Args:
        values: (rows, ...) array, or a text a row.
        present: (rows,) bool, the faces that have it; None: all.
        mirror: what flipping a face does to its values; by default nothing.
    """

    def __init__(
        self,
        values: np.ndarray | Sequence[str],
        present: np.ndarray | None = None,
        mirror: Callable[[ViewValue], ViewValue] | None = None,
    ) -> None:
        self._values = values if isinstance(values, np.ndarray) else tuple(values)
        self.present = np.ones(len(values), bool) if present is None else present
        self._mirror = mirror

    def __len__(self) -> int:
        return len(self._values)

    def gather(self, index: np.ndarray, crops: Callable[[], Tensor]) -> ViewValue:
        """See `ViewSource.gather`."""
        if isinstance(self._values, tuple):
            return tuple(self._values[row] for row in index)
        return torch.from_numpy(self._values[index])

    def mirrored(self, values: ViewValue) -> ViewValue:
        """See `ViewSource.mirrored`."""
        return values if self._mirror is None else self._mirror(values)


# view, sample ids, their crops (N, S, S, 3) uint8 of whatever size -> its values
LiveViews = Callable[[str, Sequence[str], np.ndarray], ViewValues]
