"""FAZE, also known by its first author, Park: gaze from a strip with both eyes, through a code that rotates with it.

Only the gaze half of the network is used; `nets.dted` says which of its properties are assumed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from dfad_bench.core.files import sha256_file
from dfad_bench.core.weights import find_weights
from dfad_bench.gaze import normalize
from dfad_bench.gaze.estimators.base import GazeCard, GazeFlag, GazeResult
from dfad_bench.gaze.estimators.loading import read_family
from dfad_bench.gaze.estimators.nets.dted import STRIP_HEIGHT, STRIP_WIDTH, read_gaze_code
from dfad_bench.gaze.estimators.network import NetworkEstimator, Norm

FOCAL_PX = 1300.0
DISTANCE_MM = 600.0
EYES_MIDDLE_MM = normalize.FACE_MODEL_MM[:2].mean(axis=0)


class FazeEstimator(NetworkEstimator):
    """FAZE's DT-ED encoder with its gaze estimator, or with the few-shot layers before any calibration."""

    name = "faze"
    card = GazeCard(
        display="FAZE (Park et al.)",
        paper="Park et al., Few-Shot Adaptive Gaze Estimation, ICCV 2019",
        idea="A DenseNet turns a strip with both eyes into a code that rotates with the gaze; a small MLP reads it.",
        limits="Not calibrated to a person, as the paper means it to be; needs landmarks (no gaze without); strips are"
        " centred between the eyes, not between their inner corners (a few pixels apart); the network's strides and"
        " activations are not in its weight file and follow the paper, with the mirror check as the only proof.",
        licence="NVIDIA source code licence, non-commercial",
        weights=("faze",),
    )
    default_norm: ClassVar[Norm] = "signed"

    def load(self, path: Path) -> nn.Module:
        """See `NetworkEstimator.load`; for a file of few-shot layers the encoder is the one named `faze`."""
        family, state = read_family(path, "faze", "faze_maml")
        self.encoder_weights = path
        if family == "faze_maml":
            self.encoder_weights = find_weights("faze")
            head = {
                f"gaze{number}.{ours}": state[f"layer0{number}.{theirs}"]
                for number in (1, 2)
                for ours, theirs in (("weight", "weights"), ("bias", "bias"))
                if f"layer0{number}.{theirs}" in state
            }
            state = read_family(self.encoder_weights, "faze")[1] | head
        return read_gaze_code(state, path)

    @property
    def remarks(self) -> tuple[str, ...]:
        """See `NetworkEstimator.remarks`."""
        if self.encoder_weights == self.weights:
            return super().remarks
        return (
            *super().remarks,
            f"few-shot layers of {self.weights.name} on the encoder of {self.encoder_weights.name}",
        )

    def prepare(self, crops: np.ndarray, landmarks: np.ndarray) -> normalize.Patches:
        """Eye strips (N, 64, 256, 3), their brightness equalised."""
        strips = normalize.normalize(
            crops,
            landmarks,
            side=STRIP_WIDTH,
            height=STRIP_HEIGHT,
            focal_px=FOCAL_PX,
            distance_mm=DISTANCE_MM,
            centre_mm=EYES_MIDDLE_MM,
        )
        return replace(strips, images=equalize_images(strips.images))

    def decode(self, output: Any) -> Tensor:
        """Angles of the negated gaze vectors the network returns: their y is up, their x to the image's left."""
        x, y, z = output.double().unbind(dim=1)
        return torch.stack([torch.asin(y.clamp(-1, 1)), torch.atan2(x, z)], dim=1)

    def settings(self) -> dict[str, Any]:
        """See `NetworkEstimator.settings`."""
        return {
            "strip": [STRIP_WIDTH, STRIP_HEIGHT, FOCAL_PX, DISTANCE_MM, EYES_MIDDLE_MM.tolist()],
            "encoder": sha256_file(self.encoder_weights),
        }

    def estimate(
        self,
        crops: np.ndarray,
        landmarks: np.ndarray,
        device: str = "cpu",
        *,
        source_scale: np.ndarray | None = None,
    ) -> GazeResult:
        """See `NetworkEstimator.estimate`; a face without landmarks has no strip, hence no gaze."""
        found = super().estimate(crops, landmarks, device, source_scale=source_scale)
        lost = found.flags & GazeFlag.RESIZED != 0
        return replace(
            found,
            pitch_rad=np.where(lost, np.nan, found.pitch_rad),
            yaw_rad=np.where(lost, np.nan, found.yaw_rad),
            flags=np.where(lost, found.flags & ~int(GazeFlag.RESIZED), found.flags).astype(np.int16),
        )


def equalize_images(images: np.ndarray) -> np.ndarray:
    """(N, h, w, 3) uint8 RGB with the luma's histogram (Y of YCrCb) equalised, image by image."""
    import cv2

    out = np.empty_like(images)
    for row, image in enumerate(images):
        luma = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
        luma[..., 0] = cv2.equalizeHist(np.ascontiguousarray(luma[..., 0]))
        out[row] = cv2.cvtColor(luma, cv2.COLOR_YCrCb2RGB)
    return out
