"""The faces of an epoch as training meets them: a share of each batch, augmented, gathered ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from dfad_bench.core.contract import Batch
from dfad_bench.data.dataset import prefetch
from dfad_bench.engine.augment import Augmenter
from dfad_bench.engine.checkpoint import Position
from dfad_bench.engine.distributed import Share, Team
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
        share: this process's part of a batch.
        team: the processes that share each batch.
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
        share: Callable[[np.ndarray], Share],
        team: Team,
        augment: Augmenter,
        device: torch.device,
    ) -> None:
        whole, extra = batches.of(epoch), batches.unlabelled(epoch)
        self.end = len(whole)  # batches of the epoch
        self._faces, self._team, self._augment, self._device = faces, team, augment, device
        self._rows = whole[position.batch :]
        self._shares = [share(index) for index in self._rows]
        self._unlabelled = None if extra is None else extra[position.batch : self.end]
        self._seed, self._first_step = position.seed, position.step

    def __iter__(self) -> Iterator[tuple[np.ndarray, Share, Batch]]:
        unlabelled = self._unlabelled
        if unlabelled is not None:
            unlabelled = [self._team.part(u, s) for u, s in zip(unlabelled, self._shares, strict=True)]
        coming = prefetch(
            self._faces,
            [share.index for share in self._shares],
            self._device,
            training=True,
            unlabelled=unlabelled,
            change=self._changed if self._augment else None,
        )
        yield from zip(self._rows, self._shares, coming, strict=True)

    def _changed(self, number: int, batch: Batch) -> Batch:
        """A batch with its faces augmented by their places in the whole batch."""
        share, unlabelled = self._shares[number], self._unlabelled
        places = self._team.part(np.arange(len(self._rows[number])), share)
        others = None if unlabelled is None else self._team.part(np.arange(len(unlabelled[number])), share)
        seed = derived(self._seed, "augment", self._first_step + number)
        return self._augment(batch, seed=seed, rows=places, unlabelled_rows=others)
