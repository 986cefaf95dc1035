"""Gaze as a view: two angles a face, from the side tables of `dfad_bench.gaze.table`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch import Tensor

from dfad_bench.core.batch import ViewValue
from dfad_bench.data.view_source import ViewValues
from dfad_bench.gaze.estimators.base import GazeEstimator
from dfad_bench.gaze.estimators.build import build_estimator
from dfad_bench.gaze.table import extract, stored_tables
from dfad_bench.views.base import Faces, View, ViewTable

if TYPE_CHECKING:
    from dfad_bench.core.progress import Progress
    from dfad_bench.data.manifest import Manifest

GAZE_FACTS = ("pitch_rad", "yaw_rad")


@dataclass(frozen=True)
class GazeSettings:
    """How gaze is estimated.

    Attributes:
        estimator: a name of `dfad list estimators`, with settings of a network after a colon.
        weights: weight file of the estimator, by name or path.
    """

    estimator: str = "geometric"
    weights: str | None = None


class Gaze(View):
    """Gaze direction in the camera frame; a face without a gaze (no landmarks, for instance) is absent."""

    name = "gaze"
    meaning = "(pitch, yaw) in radians; pitch > 0 looks up, yaw > 0 to the left of the image"
    kind = "vector"
    dtype = "float32"
    asks = ("crops", "landmarks")
    Settings = GazeSettings
    settings: GazeSettings

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        self._built: GazeEstimator | None = None

    @property
    def estimator(self) -> GazeEstimator:
        """The estimator, built on first use.

        Raises:
            UnknownNameError: no such estimator.
            WeightsError: its weights are missing or do not fit.
        """
        if self._built is None:
            self._built = build_estimator(self.settings.estimator, self.settings.weights)
        return self._built

    def shape(self, side: int) -> tuple[int, ...]:
        return (2,)

    def files(self) -> str:
        return self.estimator.fingerprint

    def public_settings(self) -> dict[str, Any]:
        weights = self.settings.weights
        return {"estimator": self.settings.estimator, "weights": Path(weights).name if weights else None}

    def identity(self) -> dict[str, Any]:
        return self.public_settings()  # as runs have kept it since before there were other views

    def stored_elsewhere(self, manifest: Manifest, device: str, progress: Progress) -> ViewTable:
        frame = extract(
            manifest, self.settings.estimator, weights=self.settings.weights, device=device, progress=progress
        )
        return ViewTable(frame["sample_id"].tolist(), _values(np.stack([frame[name] for name in GAZE_FACTS], axis=1)))

    def make(self, faces: Faces) -> ViewValues:
        assert faces.crops is not None
        assert faces.landmarks is not None
        result = self.estimator.estimate(faces.crops, faces.landmarks, faces.device, source_scale=faces.source_scale)
        return _values(np.stack([result.pitch_rad, result.yaw_rad], axis=1))

    def mirrored(self, values: ViewValue) -> ViewValue:
        assert isinstance(values, Tensor)
        return values * values.new_tensor([1.0, -1.0])


def _values(angles: np.ndarray) -> ViewValues:
    present = np.isfinite(angles).all(axis=1)
    return ViewValues(np.where(present[:, None], angles, 0).astype(np.float32), present)


def stored_gaze(
    manifests: Sequence[Manifest], *, prefer: str | None = None, fingerprint: str | None = None
) -> tuple[pd.DataFrame, dict[str, Any]] | None:
    """The angles of all faces, where one estimator's tables are stored beside every manifest.

    Args:
        manifests: whose faces.
        prefer: the estimator that is taken where several have tables; else the first by name.
        fingerprint: of the estimator that alone will do.

    Returns:
        `GAZE_FACTS` by `sample_id`, NaN where a face has no gaze, and the estimator's name and fingerprint; None
        where there are no such tables.

    Raises:
        IntegrityError: a table is not what was stored.
    """
    tables = [stored_tables(manifest) for manifest in manifests]
    common = set.intersection(*(set(each) for each in tables)) if tables else set()
    chosen = sorted((key for key in common if fingerprint in (None, key[1])), key=lambda key: (key[0] != prefer, key))
    if not chosen:
        return None
    frames = [each[chosen[0]].read() for each in tables]
    found = pd.concat([frame for frame in frames if frame is not None], ignore_index=True)
    angles = found.drop_duplicates("sample_id").set_index("sample_id")[list(GAZE_FACTS)]
    return angles, {"estimator": chosen[0][0], "fingerprint": chosen[0][1]}
