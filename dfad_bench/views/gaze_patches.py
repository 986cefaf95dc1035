"""Normalised faces as a view: what a gaze network sees, for models that run one inside their training graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfad_bench.core.files import content_hash
from dfad_bench.data.view_source import ViewValues
from dfad_bench.gaze import normalize
from dfad_bench.views.base import Faces, View

_SIDES = (32, 1024)  # fewest and most pixels a side


@dataclass(frozen=True)
class GazePatchSettings:
    """How patches are cut.

    Attributes:
        side: of a patch in pixels; the field of view is the same at each.
    """

    side: int = normalize.PATCH_SIDE

    def __post_init__(self) -> None:
        if not _SIDES[0] <= self.side <= _SIDES[1]:
            raise ValueError(f"side must be {_SIDES[0]} to {_SIDES[1]}, got {self.side}")


class GazePatches(View):
    """Patches (3, side, side) in [0, 1] by ETH-XGaze's normalisation; its estimators here read the same pixels.

    A face without landmarks or head pose is resized as a whole, as they do, so every face has a patch.
    """

    name = "gaze_patches"
    meaning = "eyes and face as a virtual camera upright before the head sees them, RGB; (3, side, side)"
    kind = "image"
    dtype = "float32"
    every_face = True
    asks = ("crops", "landmarks")
    Settings = GazePatchSettings
    settings: GazePatchSettings

    def shape(self, side: int) -> tuple[int, ...]:
        return (3, self.settings.side, self.settings.side)

    def files(self) -> str:
        """The constants of the normalisation, which decide the pixels as a file would."""
        lengths = [normalize.FOCAL_FACTOR, normalize.FOCAL_NORM_PX, normalize.DISTANCE_NORM_MM, normalize.PATCH_SIDE]
        return content_hash([normalize.FACE_MODEL_MM.tolist(), normalize.FACE_CENTRE_MM.tolist(), lengths])

    def make(self, faces: Faces) -> ViewValues:
        assert faces.crops is not None
        assert faces.landmarks is not None
        side = self.settings.side
        focal = normalize.FOCAL_NORM_PX * side / normalize.PATCH_SIDE
        patches = normalize.normalize(faces.crops, faces.landmarks, side=side, focal_px=focal)
        return ViewValues(np.ascontiguousarray(patches.images.transpose(0, 3, 1, 2)), np.ones(len(faces), bool))
