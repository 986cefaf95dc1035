"""The faces of a run as a model's hooks see them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from dfad_bench.core.contract import Batch
from dfad_bench.data.dataset import in_order, prefetch
from dfad_bench.engine.devices import Place

if TYPE_CHECKING:
    from dfad_bench.data.dataset import FaceDataset


class FaceData:
    """Training and validation faces in order, unaugmented, on the device; see `core.stages.StageData`.

    Args:
        train: faces to learn from.
        validation: faces set aside; may be empty.
        place: device and memory layout of the batches.
    """

    def __init__(self, train: FaceDataset, validation: FaceDataset, place: Place) -> None:
        self._train, self._validation, self._place = train, validation, place

    @property
    def device(self) -> torch.device:
        """Where batches are."""
        return self._place.device

    def train(self, batch_size: int = 64) -> Iterator[Batch]:
        """Every training face once."""
        return self._batches(self._train, batch_size)

    def validation(self, batch_size: int = 64) -> Iterator[Batch]:
        """Every validation face once; nothing where there is none."""
        return self._batches(self._validation, batch_size)

    def _batches(self, faces: FaceDataset, batch_size: int) -> Iterator[Batch]:
        return prefetch(faces, in_order(len(faces), batch_size), self._place.device, training=True)
