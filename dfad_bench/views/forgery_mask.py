"""Where a face was forged, as a view for training: from its kind, or from the real face it was made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfad_bench.core.labels import FAKE, REAL
from dfad_bench.core.taxonomy import ForgeryType
from dfad_bench.data.view_source import ViewValues
from dfad_bench.views.base import Faces, View


@dataclass(frozen=True)
class ForgeryMaskSettings:
    """When a pixel counts as forged.

    Attributes:
        threshold: mean absolute difference of the three colours, in [0, 1], above which it does.
    """

    threshold: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise ValueError(f"threshold must lie in [0, 1), got {self.threshold:g}")


class ForgeryMask(View):
    """1 where a face was forged; a forged face that is neither synthesized as a whole nor of a pair is absent.

    Everywhere of an entirely synthesized face, nowhere of a real one, and of others where the crop differs from that of
    the real face it was made of, by the manifest's pairs. Both are compared as they are: where they were cut
    differently the difference is larger than the forgery.
    """

    name = "forgery_mask"
    meaning = "1 where the face was forged, 0 elsewhere; (1, H, W)"
    kind = "image"
    dtype = "uint8"
    when = "training"
    asks = ("crops", "targets")
    columns = ("forgery", "detection_label")
    Settings = ForgeryMaskSettings
    settings: ForgeryMaskSettings

    def shape(self, side: int) -> tuple[int, ...]:
        return (1, side, side)

    @property
    def levels(self) -> int:
        return 2

    def make(self, faces: Faces) -> ViewValues:
        assert faces.crops is not None
        assert faces.targets is not None
        assert faces.has_target is not None
        labels = faces.rows["detection_label"].to_numpy(dtype=np.int64)
        whole = (labels == FAKE) & (faces.rows["forgery"].astype(str) == ForgeryType.EFS.value).to_numpy()
        paired = (labels == FAKE) & ~whole & faces.has_target
        values = np.zeros((len(faces), *self.shape(faces.side)), np.uint8)
        values[whole] = 1
        for row in np.flatnonzero(paired):
            values[row, 0] = self._differs(faces.crops[row], faces.targets[row])
        return ViewValues(values, (labels == REAL) | whole | paired)

    def _differs(self, crop: np.ndarray, target: np.ndarray) -> np.ndarray:
        """(side, side) bool; the crop is resized as targets are (Lanczos)."""
        from PIL import Image

        size = target.shape[1::-1]
        resized = np.asarray(Image.fromarray(crop).resize(size, Image.Resampling.LANCZOS))
        apart: np.ndarray = np.abs(resized.astype(np.float64) - target).mean(axis=2) / 255
        return apart > self.settings.threshold
