"""MobileGaze: L2CS-Net's binned angles on small backbones, from PyTorch files or from ONNX ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from dfad_bench.gaze import normalize
from dfad_bench.gaze.estimators.base import GazeCard
from dfad_bench.gaze.estimators.loading import State, read_family
from dfad_bench.gaze.estimators.nets.binned import Trunk, fill_binned, mobilenet, resnet
from dfad_bench.gaze.estimators.nets.mobileone import FEATURES, MobileOneS0
from dfad_bench.gaze.estimators.network import NetworkEstimator, Order

SIDE = 448


class MobileGazeEstimator(NetworkEstimator):
    """ResNet-18, 34, 50, MobileNetV2 or the fused MobileOne-S0, as the file has it; `.onnx` files run by onnxruntime.

    Outputs of an ONNX file are taken by position, yaw first: older exports swapped their names.
    """

    name = "mobilegaze"
    normalised: ClassVar[bool] = False  # its angles are those of the crop's camera
    card = GazeCard(
        display="MobileGaze",
        paper="yakhyo/gaze-estimation, after L2CS-Net (Abdelrahman et al., 2022); MobileOne: Vasu et al., CVPR 2023",
        idea="Binned angles as in L2CS-Net from a small backbone, trained on Gaze360.",
        limits="Gaze in the crop's camera, not in the normalised one: not comparable angle by angle with ETH-XGaze;"
        " boxes are guessed from landmarks; ONNX files run on the CPU.",
        licence="MIT code; trained on Gaze360, research only",
        weights=(
            "mobilegaze_resnet18",
            "mobilegaze_resnet34",
            "mobilegaze_resnet50",
            "mobilegaze_mobilenetv2",
            "mobilegaze_mobileone_s0",
            "mobilegaze_resnet18_onnx",
        ),
    )
    default_order: ClassVar[Order] = "yaw_pitch"
    order_varies: ClassVar[bool] = True
    batch_size: ClassVar[int] = 16
    side: ClassVar[int] = SIDE

    def load(self, path: Path) -> nn.Module:
        """See `NetworkEstimator.load`.

        Raises:
            MissingDependencyError: an ONNX file, and onnxruntime is not installed.
        """
        if path.suffix == ".onnx":
            from dfad_bench.gaze.estimators.nets.onnx_gaze import OnnxGaze

            return OnnxGaze(path, self.side)
        _, state = read_family(path, "mobilegaze")
        return fill_binned(trunk_of(state), state, ("fc_yaw", "fc_pitch"), path, "mobilegaze")

    def prepare(self, crops: np.ndarray, landmarks: np.ndarray) -> normalize.Patches:
        """Face boxes."""
        return normalize.face_boxes(crops, landmarks, self.side)

    def settings(self) -> dict[str, Any]:
        """See `NetworkEstimator.settings`."""
        return {"side": self.side}


def trunk_of(state: State) -> Trunk:
    """The backbone, without values, whose keys `state` has; a ResNet where none fits."""
    if "stage0.reparam_conv.weight" in state:
        with torch.device("meta"):
            return MobileOneS0(), FEATURES
    if "features.0.0.weight" in state:
        return mobilenet()
    return resnet(state)
