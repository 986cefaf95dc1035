"""Views for tests: gaze from a function, a toy image view and a toy string view with a model that reads both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dfad_bench.core.progress import Progress
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.view_source import ViewValues
from dfad_bench.views.base import Faces, View, ViewTable
from dfad_bench.views.provider import ViewProvider

Angles = Callable[[Sequence[str], np.ndarray | None], np.ndarray]  # sample ids, crops if at hand -> (N, 2); nan: none


class MadeUpGaze(View):
    """Gaze from a function, for faces of a manifest and for crops at hand."""

    name, meaning, kind, dtype = "gaze", "made up", "vector", "float32"

    def __init__(self, angles: Angles, identity: Mapping[str, Any] | None = None, *, live: bool = True) -> None:
        super().__init__()
        self._angles, self._identity = angles, dict(identity or {"estimator": "fake"})
        self.asks = ("crops",) if live else ()

    def shape(self, side: int) -> tuple[int, ...]:
        return (2,)

    def identity(self) -> dict[str, Any]:
        return self._identity

    def stored_elsewhere(self, manifest: Manifest, device: str, progress: Progress) -> ViewTable:
        ids = manifest.frame(["sample_id"])["sample_id"].tolist()
        return ViewTable(ids, self._values(self._angles(ids, None)))

    def make(self, faces: Faces) -> ViewValues:
        return self._values(self._angles(faces.sample_ids, faces.crops))

    @staticmethod
    def _values(angles: np.ndarray) -> ViewValues:
        present = np.isfinite(angles).all(axis=1)
        return ViewValues(np.where(present[:, None], angles, 0).astype(np.float32), present)


def made_up(manifests: Sequence[Manifest], angles: Angles, **settings: Any) -> ViewProvider:
    """A provider whose gaze is made up."""
    return ViewProvider(manifests, views={"gaze": MadeUpGaze(angles, **settings)})
