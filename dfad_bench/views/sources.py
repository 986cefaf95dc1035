"""What a dataset gathers views from: arrays mapped into memory, and values computed from a batch's crops."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from dfad_bench.core.batch import ViewValue
from dfad_bench.core.errors import DFADError
from dfad_bench.data.view_source import HeldView, ViewValues
from dfad_bench.views.base import View, ViewTable
from dfad_bench.views.store import StoredImages


class MappedView:
    """An image-shaped view, or a mapped one, of the given faces; only the rows of a batch are read, as they are stored.

    Args:
        view: the view.
        stored: arrays that together hold every face.
        sample_ids: the faces of a dataset, in its order.
    """

    def __init__(self, view: View, stored: Sequence[StoredImages], sample_ids: Sequence[str]) -> None:
        self._view, self._arrays = view, [images.array for images in stored]
        places = {name: (k, row) for k, images in enumerate(stored) for row, name in enumerate(images.sample_ids)}
        absent = {name for images in stored for name in images.absent}
        self._places = np.array([places[name] for name in sample_ids], dtype=np.int64).reshape(-1, 2)
        self.present = np.array([name not in absent for name in sample_ids], dtype=bool)

    def gather(self, index: np.ndarray, crops: Callable[[], Tensor]) -> ViewValue:
        """See `ViewSource.gather`."""
        places = self._places[index]
        values = np.empty((len(index), *self._arrays[0].shape[1:]), self._view.array_dtype)
        for number, array in enumerate(self._arrays):
            mine = np.flatnonzero(places[:, 0] == number)
            values[mine] = array[places[mine, 1]]
        return self._view.handed(values)

    def mirrored(self, values: ViewValue) -> ViewValue:
        """See `ViewSource.mirrored`."""
        return self._view.mirrored(values)


class ComputedView:
    """A view that is computed from the crops of each batch and stored nowhere; every face must have it.

    Args:
        view: the view.
        sample_ids: the faces of a dataset, in its order.
        make: values of some of them from their crops (N, H, W, 3) uint8.
    """

    def __init__(
        self, view: View, sample_ids: Sequence[str], make: Callable[[Sequence[str], np.ndarray], ViewValues]
    ) -> None:
        self._view, self._make, self._ids = view, make, np.array(sample_ids, dtype=object)
        self.present = np.ones(len(sample_ids), bool)

    def gather(self, index: np.ndarray, crops: Callable[[], Tensor]) -> ViewValue:
        """See `ViewSource.gather`.

        Raises:
            DFADError: a face has no value.
        """
        names = self._ids[index].tolist()
        made = self._make(names, crops().cpu().numpy())
        if not made.present.all():
            name = names[int(np.argmin(made.present))]
            raise DFADError(
                f"view {self._view.name!r}: no value for face {name}; a view that some faces lack must be a stored one"
            )
        return self._view.handed(made.values)

    def mirrored(self, values: ViewValue) -> ViewValue:
        """See `ViewSource.mirrored`."""
        return self._view.mirrored(values)


def hold_view(view: View, tables: Sequence[ViewTable], sample_ids: Sequence[str], side: int) -> HeldView:
    """Vectors or texts of the given faces in memory; faces that no table holds are absent."""
    whole = {name: (k, row) for k, table in enumerate(tables) for row, name in enumerate(table.sample_ids)}
    places = [whole.get(name) for name in sample_ids]
    present = np.array([at is not None and bool(tables[at[0]].values.present[at[1]]) for at in places], dtype=bool)
    if view.kind == "text":
        texts = ["" if at is None else tables[at[0]].values.values[at[1]] for at in places]
        return HeldView(texts, present)
    values = np.zeros((len(places), *view.shape(side)), view.dtype)
    for number, table in enumerate(tables):
        mine = [row for row, at in enumerate(places) if at is not None and at[0] == number and present[row]]
        rows = [at[1] for row in mine if (at := places[row]) is not None]
        values[mine] = np.asarray(table.values.values)[rows].reshape(len(rows), *view.shape(side))
    return HeldView(values, present, view.mirrored)
