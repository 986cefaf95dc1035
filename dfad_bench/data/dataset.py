"""Selected rows as batches: one vectorised gather a batch, no Python work per face.

Which rows make up a batch is decided in `data.sampling`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import torch

from dfad_bench.core.contract import Batch, Inputs, ViewValue
from dfad_bench.core.errors import ProtocolError
from dfad_bench.core.protocol import Protocol
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.pools import ranks
from dfad_bench.data.prompts import Prompts
from dfad_bench.data.view_source import HeldView, ViewSource


class FaceDataset:
    """Faces of one part of a selection.

    Args:
        rows: a frame of `Selection`.
        store: their crops.
        protocol: labels are those of its groups.
        views: per view name its source, or an array with a row per row of `rows`; test-time views.
        training_views: the same for views that only `losses` may see.
        prompts: per class its prompts; empty for models that read none.
        unlabelled: the faces of `Selection.unlabelled` with the test-time views, for models that learn from them.
        images: False for models that read no pixels: images are (B, 3, 0, 0), and no crop is read for them.

    `without_view` counts, per view, the faces that have no value; batches carry a mask of them (`Inputs.present`), and
    `presence` names them.
    `mirrors` gives, per view that has a source, what flipping a face does to its values.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        store: CropStore,
        protocol: Protocol,
        *,
        views: Mapping[str, ViewSource | np.ndarray] | None = None,
        training_views: Mapping[str, ViewSource | np.ndarray] | None = None,
        prompts: Sequence[Prompts] = (),
        unlabelled: FaceDataset | None = None,
        images: bool = True,
    ) -> None:
        self.sample_ids: np.ndarray = rows["sample_id"].to_numpy()
        self.groups = rows["group"].to_numpy()
        self.attribution = rows["attribution_label"].to_numpy(dtype=np.int64)
        self.detection = rows["detection_label"].to_numpy(dtype=np.int64)
        self.num_generators, self.side = protocol.num_generators, protocol.image_size
        self.without_view: dict[str, int] = {}
        self._store, self._places = store, store.places(self.sample_ids.tolist())
        self._views = {name: self._view(name, source) for name, source in (views or {}).items()}
        self._training_views = {name: self._view(name, source) for name, source in (training_views or {}).items()}
        given = {**(training_views or {}), **(views or {})}
        self.mirrors = {name: view.mirrored for name, view in given.items() if not isinstance(view, np.ndarray)}
        self._prompts = tuple(prompts)
        self.unlabelled, self._images = unlabelled, images

    def __len__(self) -> int:
        return len(self.sample_ids)

    def read_in(self, order: np.ndarray) -> None:
        """Told the order in which rows will be asked for, where they are made ahead; held ones need not know."""

    def inputs(self, index: np.ndarray, device: torch.device | None = None) -> Inputs:
        """Pixels and views of the given rows, on `device`: all that a model may see at test time."""
        if not self._images:
            views = self._gathered(self._views, index, lambda: self._store.gather(self._places[index]), device)
            empty = torch.empty(len(index), 3, 0, 0, device=device or "cpu")
            return Inputs(empty, views, self._masks(self._views, index, device))
        pixels = self._store.gather(self._places[index])  # (B, H, W, 3) uint8
        views = self._gathered(self._views, index, lambda: pixels, device)
        if device is not None and device.type != "cpu" and pixels.device.type == "cpu":
            pixels = pixels.pin_memory().to(device, non_blocking=True)  # a quarter of the bytes of float pixels
        masks = self._masks(self._views, index, device)
        return Inputs(pixels.permute(0, 3, 1, 2).contiguous().float().div_(255), views, masks)

    def presence(self, name: str, index: np.ndarray) -> np.ndarray:
        """(B,) bool: which of the given rows have the view `name`."""
        return {**self._training_views, **self._views}[name].present[index]

    def batch(
        self, index: np.ndarray, device: torch.device | None = None, unlabelled: np.ndarray | None = None
    ) -> Batch:
        """Inputs, labels, prompts and training-only views of the given rows.

        Args:
            index: row numbers.
            device: where the batch goes.
            unlabelled: row numbers in the dataset `self.unlabelled`; None for a batch without unlabelled faces.

        Raises:
            ProtocolError: a row is of no seen class, its detection label is unknown, or unlabelled rows are asked of
                a dataset that has none.
        """
        labels, detection = self.attribution[index], self.detection[index]
        if (labels < 0).any() or (detection < 0).any():
            raise ProtocolError(f"{self.groups[index][(labels < 0) | (detection < 0)][0]}: not a group to train on")
        place = device or torch.device("cpu")
        return Batch(
            self.inputs(index, device),
            torch.from_numpy(labels).to(place),
            torch.from_numpy(detection).to(place),
            tuple(self._prompts[label] for label in labels) if self._prompts else (),
            self._gathered(self._training_views, index, lambda: self._store.gather(self._places[index]), device),
            None if unlabelled is None else self._unlabelled_inputs(unlabelled, device),
            self._masks(self._training_views, index, device),
        )

    def _unlabelled_inputs(self, index: np.ndarray, device: torch.device | None) -> Inputs:
        if self.unlabelled is None:
            raise ProtocolError("this run has no unlabelled faces; give its protocol an unlabelled part")
        return self.unlabelled.inputs(index, device)

    @staticmethod
    def _gathered(
        sources: Mapping[str, ViewSource],
        index: np.ndarray,
        crops: Callable[[], torch.Tensor],
        device: torch.device | None,
    ) -> dict[str, ViewValue]:
        """Each view of the given rows, on `device` where it is a tensor."""
        views = {name: source.gather(index, crops) for name, source in sources.items()}
        if device is None or device.type == "cpu":
            return views
        return {name: view.to(device) if isinstance(view, torch.Tensor) else view for name, view in views.items()}

    @staticmethod
    def _masks(
        sources: Mapping[str, ViewSource], index: np.ndarray, device: torch.device | None
    ) -> dict[str, torch.Tensor]:
        """Which of the given rows have each view, on `device`; of views that some face of the dataset lacks."""
        masks = {name: source.present[index] for name, source in sources.items() if not source.present.all()}
        return {name: torch.from_numpy(mask).to(device or "cpu") for name, mask in masks.items()}

    def _view(self, name: str, source: ViewSource | np.ndarray) -> ViewSource:
        if isinstance(source, np.ndarray):
            source = HeldView(source.astype(np.float32))
        if len(source.present) != len(self.sample_ids):
            raise ValueError(f"view {name!r} has {len(source.present)} rows for {len(self.sample_ids)} faces")
        if missing := int((~source.present).sum()):
            self.without_view[name] = missing
        return source


def mixed_order(sample_ids: np.ndarray, seed: int) -> np.ndarray:
    """Every row number once, by the seeded hash of its name: neighbours say nothing of each other's group or label.

    Selections are sorted by group or by name; a batch of one group would tell a model that looks at the whole batch
    what the labels are.

    Args:
        sample_ids: (N,) names of the faces.
        seed: of the run; every model has the same order.
    """
    return np.argsort(ranks(pd.Series(sample_ids), f"{seed}:predicted").to_numpy(), kind="stable")


def mixed_batches(dataset: FaceDataset, batch_size: int, seed: int) -> list[np.ndarray]:
    """Row numbers of each batch in `mixed_order`, all of them: for prediction and validation."""
    order = mixed_order(dataset.sample_ids, seed)
    return [order[rows] for rows in in_order(len(order), batch_size)]


def in_order(count: int, batch_size: int) -> list[np.ndarray]:
    """Row numbers of each batch, in order, all of them."""
    return [np.arange(begin, min(begin + batch_size, count)) for begin in range(0, count, batch_size)]


def prefetch(
    dataset: FaceDataset,
    batches: Sequence[np.ndarray],
    device: torch.device,
    *,
    training: bool,
    unlabelled: Sequence[np.ndarray] | None = None,
    change: Callable[[int, Batch], Batch] | None = None,
) -> Iterator:
    """`Batch` (training) or `Inputs` of each entry of `batches`; the next one is gathered meanwhile.

    Args:
        dataset: the faces.
        batches: row numbers of each batch.
        device: where the batches go.
        training: whether labels are wanted.
        unlabelled: per batch, row numbers of the unlabelled faces that go with it (training only).
        change: called with the number of each batch and the batch, meanwhile, too; it must not draw from global
            generators, which belong to the model (training only).
    """

    def load(number: int) -> Batch | Inputs:
        if not training:
            return dataset.inputs(batches[number], device)
        batch = dataset.batch(batches[number], device, None if unlabelled is None else unlabelled[number])
        return batch if change is None else change(number, batch)

    with ThreadPoolExecutor(1) as pool:
        coming = None
        for number in range(len(batches)):
            ready, coming = coming, pool.submit(load, number)
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()
