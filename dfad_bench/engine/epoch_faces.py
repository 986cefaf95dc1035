"""The faces of an epoch as training meets them: a share of each batch, augmented, gathered ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from dfad_bench.core.contract import Batch
from dfad_bench.data.dataset import prefetch
from dfad_bench.engine.augment import Augmenter
from dfad_bench.engine.checkpoint import Position
from dfad_bench.engine.distributed import Share
from dfad_bench.engine.seeding import derived
from dfad_bench.engine.stage_batches import StageBatches

if TYPE_CHECKING:
    from dfad_bench.data.dataset import FaceDataset


class EpochFaces:
    """What is left of an epoch; iterates over (rows of the whole batch, this process's share, its faces).

    Args:
        faces: the training faces.
        batches: of the stage.
        epoch: in the stage.
        position: where the run stands; batches done are left out. What is drawn follows from the number of the step.
        share: this process's part of a batch and of its unlabelled rows.
        augment: changes the faces.
        device: where they go.
    """

    def __init__(
        self,
        faces: FaceDataset,
        batches: StageBatches,
        epoch: int,
        position: Position,
        *,
        share: Callable[[np.ndarray, np.ndarray | None], Share],
        augment: Augmenter,
        device: torch.device,
    ) -> None:
        whole, extra = batches.of(epoch), batches.unlabelled(epoch)
        self.end = len(whole)  # batches of the epoch
        self._faces, self._augment, self._device = faces, augment, device
        self._rows = whole[position.batch :]
        more = [None] * len(self._rows) if extra is None else extra[position.batch : self.end]
        self._shares = [share(index, rows) for index, rows in zip(self._rows, more, strict=True)]
        hidden = batches.hidden(epoch)
        self._hidden = None if hidden is None else hidden[position.batch : self.end]
        self._seed, self._first_step = position.seed, position.step

    def __iter__(self) -> Iterator[tuple[np.ndarray, Share, Batch]]:
        unlabelled = [share.unlabelled for share in self._shares if share.unlabelled is not None]
        coming = prefetch(
            self._faces,
            [share.index for share in self._shares],
            self._device,
            training=True,
            unlabelled=unlabelled or None,
            change=self._changed if self._augment else None,
        )
        for number, (index, share, batch) in enumerate(zip(self._rows, self._shares, coming, strict=True)):
            if self._hidden is not None:
                mask = torch.from_numpy(self._hidden[number][share.places.start : share.places.stop])
                batch = replace(batch, hidden=mask)
            yield index, share, batch

    def _changed(self, number: int, batch: Batch) -> Batch:
        """A batch with its faces augmented by their places in the whole batch."""
        share, seed = self._shares[number], derived(self._seed, "augment", self._first_step + number)
        return self._augment(batch, seed=seed, rows=share.places, unlabelled_rows=share.unlabelled_places)
