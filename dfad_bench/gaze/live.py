"""Gaze of crops at hand, such as corrupted ones; `table` is for those of a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dfad_bench.gaze.estimators.build import build_estimator
from dfad_bench.gaze.table import VALUES, crop_landmarks

if TYPE_CHECKING:
    from dfad_bench.data.manifest import Manifest


class LiveGaze:
    """Estimates gaze from other pixels of a manifest's faces, with the landmarks they were cropped by.

    Args:
        manifests: whose landmarks to take.
        estimator: a name of `gaze.estimators.ESTIMATORS`.
        weights: the estimator's weight file, by name or path.
        device: torch device.
    """

    def __init__(
        self, manifests: Sequence[Manifest], estimator: str, *, weights: str | None = None, device: str = "cpu"
    ) -> None:
        self._estimator, self._device = build_estimator(estimator, weights), device
        columns = ["sample_id", "landmarks", "crop_affine", "width", "height"]
        rows = pd.concat([manifest.frame(columns) for manifest in manifests], ignore_index=True)
        self._rows = rows.set_index("sample_id")

    def __call__(self, view: str, sample_ids: Sequence[str], crops: np.ndarray) -> pd.DataFrame:
        """Columns of a gaze table for crops (N, H, W, 3) uint8 of the given faces, of whatever size."""
        rows = self._rows.loc[list(sample_ids)]
        landmarks, scale = crop_landmarks(rows)  # in pixels of the manifest's crop
        height, width = crops.shape[1:3]
        factor = np.stack([width / rows["width"].to_numpy(float), height / rows["height"].to_numpy(float)], axis=1)
        resized = landmarks * factor[:, None]
        result = self._estimator.estimate(crops, resized, self._device, source_scale=scale / factor[:, 0])
        return pd.DataFrame({"sample_id": list(sample_ids), **{name: getattr(result, name) for name in VALUES}})
