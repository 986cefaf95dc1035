"""Views of faces that no manifest holds: made in memory from their crops, as those of a manifest are.

A view that is read from files by the names of a manifest's faces has none for such a face, and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from dfad_bench.core.batch import ViewValue
from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.data.crop_batches import crop_landmarks
from dfad_bench.data.view_source import ViewSource, ViewValues
from dfad_bench.views.base import Faces, View
from dfad_bench.views.provider import BATCH, ViewProvider
from dfad_bench.views.sources import ComputedView


def check_loose(provider: ViewProvider, names: Collection[str], columns: Collection[str], model: str) -> None:
    """Refuse views that cannot be made from a face's crop and landmarks.

    Args:
        provider: builds the views.
        names: of the views.
        columns: what is known of a face beside its crop.
        model: who reads them, for the message.

    Raises:
        ConfigError: names the view and what to do.
        UnknownNameError: no such view.
    """
    for name in names:
        view = provider.view(name)
        if "crops" not in view.asks or "targets" in view.asks or set(view.columns) - set(columns):
            raise ConfigError(
                f"{model} reads the view {quoted(name)}, which is not made from a face's crop alone; build a manifest"
                " of these pictures and use `dfad evaluate` or `dfad identify`"
            )


def loose_source(
    provider: ViewProvider, name: str, rows: pd.DataFrame, crops: Sequence[np.ndarray], side: int
) -> ViewSource:
    """A view of some faces, in the order of their rows.

    Args:
        provider: builds the view, and says on which device it is made.
        name: of the view.
        rows: `sample_id`, `landmarks` and `crop_affine` as a manifest has them, and `View.columns`.
        crops: (H, W, 3) uint8 of each, all of one size.
        side: of the images the model gets.
    """
    view, pixels = provider.view(name), np.stack(crops)
    names = rows["sample_id"].tolist()
    if view.stored:
        made = [
            _make(view, rows.iloc[at : at + BATCH], pixels[at : at + BATCH], provider.device, side)
            for at in range(0, len(rows), BATCH)
        ]
        return MadeView(view, made)
    indexed = rows.set_index("sample_id", drop=False)

    def compute(some: Sequence[str], resized: np.ndarray) -> ViewValues:
        return _make(view, indexed.loc[list(some)], resized, provider.device, side, cut_at=pixels.shape[1])

    return ComputedView(view, names, compute)


def _make(
    view: View, rows: pd.DataFrame, crops: np.ndarray, device: str, side: int, cut_at: int | None = None
) -> ViewValues:
    """Values of some faces; `cut_at`: side of the crops their rows speak of, where these are resized ones."""
    landmarks = scale = None
    if "landmarks" in view.asks:
        landmarks, scale = crop_landmarks(rows)
        factor = 1.0 if cut_at is None else crops.shape[1] / cut_at
        landmarks, scale = landmarks * factor, scale / factor
    names = tuple(rows["sample_id"])
    faces = Faces(names, side, device, rows.reset_index(drop=True), crops, landmarks, scale)
    return view.checked(view.make(faces), len(names), side)


class MadeView:
    """A view in memory, handed to a model as a stored one is."""

    def __init__(self, view: View, made: Sequence[ViewValues]) -> None:
        self._view = view
        self.present = np.concatenate([each.present for each in made])
        if view.kind == "text":
            self._values: np.ndarray | tuple[str, ...] = tuple(text for each in made for text in each.values)
        else:
            self._values = np.concatenate([np.asarray(each.values) for each in made])

    def gather(self, index: np.ndarray, crops: Callable[[], Tensor]) -> ViewValue:
        """See `ViewSource.gather`."""
        if isinstance(self._values, tuple):
            return tuple(self._values[row] for row in index)
        return self._view.handed(self._values[index])

    def mirrored(self, values: ViewValue) -> ViewValue:
        """See `ViewSource.mirrored`."""
        return self._view.mirrored(values)
