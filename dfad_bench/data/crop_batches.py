"""A manifest's faces as batches of pixels with their landmarks: what gaze and other views are made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pandas as pd

from dfad_bench.data.manifest import Manifest
from dfad_bench.data.row_check import check_rows

COLUMNS = ("sample_id", "landmarks", "crop_affine", "width", "height")  # what landmarks of a crop follow from


@dataclass(frozen=True)
class CropBatch:
    """Faces whose crops have one size."""

    sample_ids: np.ndarray  # (N,) text
    crops: np.ndarray  # (N, H, W, 3) uint8 RGB
    landmarks: np.ndarray  # (N, 5, 2) in crop pixels; nan where unknown
    source_scale: np.ndarray  # (N,) source pixels a crop pixel; nan where unknown


def crop_batches(manifest: Manifest, rows: pd.DataFrame, size: int) -> Iterator[list[CropBatch]]:
    """The crops of `rows`, at most `size` at a time, those of one size together; in the order of the parts.

    Args:
        manifest: where the crops are.
        rows: indexed by `sample_id`, with the columns `landmarks` and `crop_affine`.
        size: crops in memory.

    Raises:
        ManifestError: a face has no crop in the manifest.
        IntegrityError: a crop has other pixels than its row states, or the rows are not those of the content hash.
    """
    if len(rows):
        check_rows(manifest)
    stored = manifest.crops(set(rows.index)) if len(rows) else iter(())
    while batch := list(islice(stored, size)):
        names = np.array([crop.sample_id for crop in batch])
        crops = [crop.pixels() for crop in batch]
        shapes = np.array([crop.shape[:2] for crop in crops])
        made = []
        for shape in np.unique(shapes, axis=0):
            of_shape = np.flatnonzero((shapes == shape).all(axis=1))
            landmarks, scale = crop_landmarks(rows.loc[names[of_shape]])
            stacked = np.stack([crops[index] for index in of_shape])
            made.append(CropBatch(names[of_shape], stacked, landmarks, scale))
        yield made


def crop_landmarks(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks (N, 5, 2) in crop pixels and source pixels a crop pixel (N,) of manifest rows; nan where unknown.

    Args:
        rows: columns landmarks (source pixels) and crop_affine (from there into the crop).
    """

    def numbers(column: str, count: int) -> np.ndarray:
        values = [np.full(count, np.nan) if value is None else np.asarray(value, float) for value in rows[column]]
        return np.array(values).reshape(len(rows), count)

    points, affine = numbers("landmarks", 10).reshape(-1, 5, 2), numbers("crop_affine", 6).reshape(-1, 2, 3)
    mapped = points @ affine[:, :, :2].transpose(0, 2, 1) + affine[:, None, :, 2]
    return mapped, 1 / np.hypot(affine[:, 0, 0], affine[:, 1, 0])


class ResizedLandmarks:
    """Landmarks of faces whose crops are at hand at another size than in their manifest, such as corrupted ones."""

    def __init__(self, manifests: Sequence[Manifest]) -> None:
        rows = pd.concat([manifest.frame(COLUMNS) for manifest in manifests], ignore_index=True)
        self._rows = rows.set_index("sample_id")

    def of(self, sample_ids: Sequence[str], height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Landmarks (N, 5, 2) in pixels of crops (height, width), and source pixels a pixel of theirs (N,)."""
        rows = self._rows.loc[list(sample_ids)]
        landmarks, scale = crop_landmarks(rows)  # in pixels of the manifest's crop
        factor = np.stack([width / rows["width"].to_numpy(float), height / rows["height"].to_numpy(float)], axis=1)
        return landmarks * factor[:, None], scale / factor[:, 0]
