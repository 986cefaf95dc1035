"""Storage of crops: decoded in memory or memory-mapped, on an accelerator, or as PNG that is decoded on demand."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import numpy as np

from dfad_bench.core.cores import usable_cores
from dfad_bench.data.stored_crop import StoredCrop

if TYPE_CHECKING:
    import torch

AT_ONCE = 64  # crops decoded at a time


class Pixels(Protocol):
    """Crops by row number."""

    def gather(self, places: np.ndarray) -> torch.Tensor:
        """(B, H, W, 3) uint8 of the given rows, on the device of the storage."""


class ArrayPixels:
    """(N, H, W, 3) uint8 in memory or memory-mapped."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def gather(self, places: np.ndarray) -> torch.Tensor:
        """See `Pixels.gather`."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(self.array[places]))


class DevicePixels:
    """(N, H, W, 3) uint8 on a torch device."""

    def __init__(self, array: np.ndarray, device: str | torch.device) -> None:
        import torch

        self._pixels = torch.empty(array.shape, dtype=torch.uint8, device=device)
        for start in range(0, len(array), AT_ONCE):  # in pieces: the array may be larger than the memory
            self._pixels[start : start + AT_ONCE] = torch.from_numpy(np.array(array[start : start + AT_ONCE]))

    def gather(self, places: np.ndarray) -> torch.Tensor:
        """See `Pixels.gather`."""
        import torch

        return self._pixels[torch.from_numpy(np.asarray(places)).to(self._pixels.device)]


class PngPixels:
    """PNG bytes in memory, decoded (and checked) on demand by one thread per usable core."""

    def __init__(self, crops: Sequence[StoredCrop], side: int) -> None:
        self._crops, self._side = list(crops), side
        self._pool = ThreadPoolExecutor(usable_cores())

    def gather(self, places: np.ndarray) -> torch.Tensor:
        """See `Pixels.gather`."""
        import torch

        rows = self._pool.map(lambda row: sized(self._crops[row], self._side), places)
        return torch.from_numpy(np.stack(list(rows)))


def sized(crop: StoredCrop, side: int) -> np.ndarray:
    """The (side, side, 3) pixels of a crop, resized (Lanczos) where it has another size.

    Raises:
        IntegrityError: they are not what its row states.
    """
    return resized_pixels(crop.pixels(), side)


def resized_pixels(pixels: np.ndarray, side: int) -> np.ndarray:
    """An image (H, W, 3) uint8 as a model of images of this side gets it: (side, side, 3), resized by Lanczos."""
    from PIL import Image

    if pixels.shape[:2] == (side, side):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS))
