"""Corrupted faces, made by worker processes ahead of the model; nothing is stored.

Crops are corrupted at their own size and then resized to the size of the model's protocol (Lanczos, as `CropStore`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
import torch

from dfad_bench.core.children import STILL_SECONDS, Stillness, WorkerPool
from dfad_bench.core.contract import Inputs, ViewValue
from dfad_bench.core.errors import DFADError
from dfad_bench.core.protocol import Protocol
from dfad_bench.data.corruptions.spec import Corruption
from dfad_bench.data.corruptions.work import corrupt_block, prepare_worker
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.dataset import FaceDataset
from dfad_bench.data.view_source import LiveViews, ViewSource

_POLL_SECONDS = 1.0  # between two looks at whether the processes still work
BLOCK = 16  # faces per task: small enough that a few workers share one batch


class Workers:
    """Processes that corrupt faces; with `count` 0 this process does it, on demand.

    Use as a context manager: leaving it ends the processes and drops tasks not yet begun.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: WorkerPool | None = None
        self._blocks_done = 0  # blocks, which shows that the processes work
        self._watch = Stillness()

    def __enter__(self) -> Self:
        if self.count:
            self._pool = WorkerPool(self.count, prepare_worker)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._pool is not None:
            if kind is not None:  # what they make is not waited for
                self._pool.kill()
            self._pool.end()

    def submit(self, *task: Any) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
        """Start a block (`work.corrupt_block`); the returned function waits for the result and returns it.

        Raises:
            DFADError: (when called) a worker died, or was stopped.
        """
        if self._pool is None:
            return lambda: corrupt_block(*task)
        try:
            future = self._pool.submit(corrupt_block, *task)
        except BrokenProcessPool as error:
            raise _worker_death("was killed (out of memory?)") from error
        return partial(self._wait, self._pool, future)

    def _wait(self, pool: WorkerPool, future: Future[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        """The result of a block; gives up where no block is finished for `STILL_SECONDS`."""
        self._blocks_done += 1  # the next block is asked for: its time begins now
        while not wait([future], timeout=_POLL_SECONDS).done:
            if self._watch.seconds("all", self._blocks_done) > STILL_SECONDS:
                pool.kill()
                raise _worker_death(f"was stopped, or waits for the disk, and made nothing for {STILL_SECONDS:g} s")
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise _worker_death("was killed (out of memory?)") from error


class CorruptedFaces(FaceDataset):
    """Faces under one corruption at one severity; made ahead in the order that `read_in` is told, at first the rows'.

    Args:
        rows: a frame of `Selection`.
        store: their crops at the size at which they are corrupted.
        protocol: gives the labels and, by `image_size`, the size of the model's input.
        corruption: the corruption.
        severity: its severity, from 1.
        workers: processes that corrupt the crops.
        seed: seed of the corruption, see `spec.corrupt`.
        needs: names of the views that are made from the corrupted crops.
        live_views: makes these views, before resizing.
        views: the views that are taken from the uncorrupted faces.
        keep: folder for the corrupted crops as PNG; None stores nothing.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        store: CropStore,
        protocol: Protocol,
        corruption: Corruption,
        severity: int,
        *,
        workers: Workers,
        seed: int = 0,
        needs: Sequence[str] = (),
        live_views: LiveViews | None = None,
        views: Mapping[str, ViewSource] | None = None,
        keep: Path | None = None,
    ) -> None:
        super().__init__(rows, store, protocol, views=views)
        self._crops, self._rows = store.array, store.places(self.sample_ids.tolist())
        self._side, self._corruption, self._severity, self._seed = protocol.image_size, corruption, severity, seed
        self._workers, self._keep = workers, keep
        self._needs, self._live_views = tuple(needs), live_views
        if self._needs and live_views is None:
            raise ValueError(f"the views {', '.join(self._needs)} of corrupted faces need `live_views`")
        self._blocks_ahead = 2 * workers.count
        self._lacking: dict[str, set[int]] = {}  # by view, the rows that were found to have none
        self.read_in(np.arange(len(self)))

    def read_in(self, order: np.ndarray) -> None:
        """See `FaceDataset.read_in`; blocks that are made ahead are of this order."""
        self._order, self._turn = order, np.argsort(order)
        self._calls: dict[int, Callable[[], tuple[np.ndarray, np.ndarray]]] = {}
        self._ready_blocks: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def inputs(self, index: np.ndarray, device: torch.device | None = None) -> Inputs:
        """Corrupted pixels and their views of the given rows, on `device`."""
        corrupted, sized = self._take(np.asarray(index))
        views = self._gathered(self._views, index, lambda: torch.from_numpy(self._crops[self._rows[index]]), device)
        masks = self._masks(self._views, index, device)
        for name in self._needs:
            view, masks[name] = self._live_view(name, index, corrupted, device)
            views[name] = view.to(device) if device is not None and isinstance(view, torch.Tensor) else view
        pixels = torch.from_numpy(sized)
        if device is not None and device.type != "cpu":
            pixels = pixels.pin_memory().to(device, non_blocking=True)
        return Inputs(pixels.permute(0, 3, 1, 2).contiguous().float().div_(255), views, masks)

    def _live_view(
        self, name: str, index: np.ndarray, corrupted: np.ndarray, device: torch.device | None
    ) -> tuple[ViewValue, torch.Tensor]:
        """A view of corrupted faces, and which of them have it."""
        assert self._live_views is not None
        made = self._live_views(name, self.sample_ids[index].tolist(), corrupted)
        if not made.present.all():  # a face may be asked for more than once
            self._lacking.setdefault(name, set()).update(np.asarray(index)[~made.present].tolist())
            self.without_view[name] = len(self._lacking[name])
        values = made.values if isinstance(made.values, tuple) else torch.from_numpy(made.values)
        return values, torch.from_numpy(made.present).to(device or "cpu")

    def _take(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Corrupted crops (B, S, S, 3) at their own size and at the protocol's."""
        turns = self._turn[index]
        blocks = turns // BLOCK
        first, last = int(blocks.min()), int(blocks.max())
        final = (len(self) - 1) // BLOCK
        for block in range(first, min(last + self._blocks_ahead, final) + 1):
            if block not in self._calls and block not in self._ready_blocks:
                self._calls[block] = self._begin_block(block)
        for block in np.unique(blocks).tolist():
            if block in self._calls:
                self._ready_blocks[block] = self._calls.pop(block)()
        pairs = [(self._ready_blocks[block], row) for block, row in zip(blocks.tolist(), turns % BLOCK, strict=True)]
        block_rows = np.stack([made[0][row] for made, row in pairs]), np.stack([made[1][row] for made, row in pairs])
        self._ready_blocks = {block: made for block, made in self._ready_blocks.items() if block >= last}
        self._calls = {block: call for block, call in self._calls.items() if block >= last}
        return block_rows

    def _begin_block(self, block: int) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
        rows = self._order[block * BLOCK : (block + 1) * BLOCK]
        pixels = np.ascontiguousarray(self._crops[self._rows[rows]])
        samples = self.sample_ids[rows].tolist()
        return self._workers.submit(
            pixels, samples, self._corruption, self._severity, self._seed, self._side, self._keep
        )


def _worker_death(how: str) -> DFADError:
    return DFADError(
        f"a process that corrupts faces {how}; run the same command again with fewer --workers: finished cells are kept"
    )
