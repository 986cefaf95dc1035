"""L2CS-Net: a ResNet-50 that classifies pitch and yaw into bins, on the box of a face detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import nn

from dfad_bench.gaze import normalize
from dfad_bench.gaze.estimators.base import GazeCard
from dfad_bench.gaze.estimators.loading import read_family, tensors_without
from dfad_bench.gaze.estimators.nets.binned import fill_binned, resnet
from dfad_bench.gaze.estimators.network import NetworkEstimator, Order

SIDE = 448  # of the input; the network was trained on faces of 224 px that were enlarged


class L2CSEstimator(NetworkEstimator):
    """The Gaze360 file (90 bins of 4 degrees) or one of MPIIFaceGaze (28 of 3); the shapes in the file decide.

    The layer `fc_yaw_gaze` and the first output are the yaw, although the authors' pipeline names them otherwise.
    """

    name = "l2cs"
    normalised: ClassVar[bool] = False  # its angles are those of the crop's camera
    card = GazeCard(
        display="L2CS-Net",
        paper="Abdelrahman et al., L2CS-Net: Fine-Grained Gaze Estimation in Unconstrained Environments, 2022",
        idea="A ResNet-50 gives each angle as a softmax over bins; the gaze is the expectation.",
        limits="Gaze in the crop's camera, not in the normalised one: not comparable angle by angle with ETH-XGaze;"
        " boxes are guessed from landmarks.",
        licence="MIT code; trained on Gaze360 or MPIIFaceGaze, research only",
        weights=("l2cs_gaze360",),
    )
    default_order: ClassVar[Order] = "yaw_pitch"
    order_varies: ClassVar[bool] = True
    batch_size: ClassVar[int] = 16
    side: ClassVar[int] = SIDE

    def load(self, path: Path) -> nn.Module:
        """See `NetworkEstimator.load`."""
        _, state = read_family(path, "l2cs")
        used = tensors_without(state, "fc_finetune.")  # of an earlier design, unused
        return fill_binned(resnet(state), used, ("fc_yaw_gaze", "fc_pitch_gaze"), path, "l2cs")

    def prepare(self, crops: np.ndarray, landmarks: np.ndarray) -> normalize.Patches:
        """Face boxes at half the side, enlarged as in training."""
        boxes = normalize.face_boxes(crops, landmarks, self.side // 2)
        return normalize.Patches(enlarge_images(boxes.images, self.side), boxes.head_rad, boxes.ok)

    def settings(self) -> dict[str, Any]:
        """See `NetworkEstimator.settings`."""
        return {"side": self.side}


def enlarge_images(images: np.ndarray, side: int) -> np.ndarray:
    """(N, side, side, 3) of (N, h, w, 3) uint8, bilinear."""
    import cv2

    out = np.empty((len(images), side, side, 3), dtype=np.uint8)
    for row, image in enumerate(images):
        out[row] = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)
    return out
