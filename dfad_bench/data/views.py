"""Named per-sample views: what a model may ask for beside the pixels, and how each is obtained.

Views are computed before training, kept in side tables keyed by `sample_id`, and handed to the engine as frames.
A model names them in `needs` (test time too) or `needs_training`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dfad_bench.core.errors import UnknownNameError


@dataclass(frozen=True)
class View:
    """One view: its columns in the frame, what makes the frame, and what it means."""

    columns: tuple[str, ...]
    made_by: str  # "module:function", called with a manifest; the caller resolves it
    meaning: str


VIEWS: dict[str, View] = {
    "gaze": View(
        ("pitch_rad", "yaw_rad"),
        "dfad_bench.gaze.table:extract",
        "gaze direction in the camera frame, radians; pitch > 0 looks up, yaw > 0 to the left of the image",
    ),
}

ViewProvider = Callable[[str], pd.DataFrame]  # view name -> frame with `sample_id` and the view's columns


def view(name: str) -> View:
    """A view by name.

    Raises:
        UnknownNameError: with the nearest names.
    """
    if name not in VIEWS:
        raise UnknownNameError("view", name, VIEWS)
    return VIEWS[name]


def view_array(name: str, frame: pd.DataFrame, sample_ids: Sequence[str]) -> tuple[np.ndarray, int]:
    """The view of the given faces as (N, columns) float32, and how many faces have none.

    A face that is not in the frame, or with a value that is not finite, gets zeros: looking straight ahead in the
    case of gaze. The caller warns with the count.
    """
    columns = list(view(name).columns)
    table = frame.drop_duplicates("sample_id").set_index("sample_id")[columns]
    values = np.array(table.reindex(list(sample_ids)), dtype=np.float32)  # a copy: pandas hands out read-only arrays
    missing = ~np.isfinite(values).all(axis=1)
    values[missing] = 0.0
    return values, int(missing.sum())
