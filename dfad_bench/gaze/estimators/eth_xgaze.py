"""ETH-XGaze's baseline: a ResNet on the normalised face patch, pitch and yaw from one linear layer.

Zhang et al., "ETH-XGaze: A Large Scale Dataset for Gaze Estimation under Extreme Head Pose and Gaze Variation",
ECCV 2020, section 5. GazeCLIP's gaze encoder (its section III-B).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from dfad_bench.gaze.estimators.base import GazeCard
from dfad_bench.gaze.estimators.loading import (
    fill_module,
    read_family,
    resnet_features,
    resnet_trunk,
    tensors_under,
    tensors_without,
)
from dfad_bench.gaze.estimators.network import NetworkEstimator


class _Official(nn.Module):
    """Keys as in the official file: `gaze_network.*` and `gaze_fc.0.*`."""

    def __init__(self, trunk: nn.Module, features: int) -> None:
        super().__init__()
        self.gaze_network = trunk
        self.gaze_fc = nn.Sequential(nn.Linear(features, 2))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 224, 224) to (B, 2) pitch and yaw in radians."""
        return self.gaze_fc(self.gaze_network(images))  # (B, 2048) -> (B, 2)


class EthXGazeEstimator(NetworkEstimator):
    """ResNet-50 in the official layout, or a ResNet in ptgaze's; the keys of the file decide."""

    name = "eth_xgaze"
    card = GazeCard(
        display="ETH-XGaze",
        paper="Zhang et al., ECCV 2020",
        idea="A ResNet trained on a million photographs of 110 people under extreme head poses; L1 on pitch and yaw.",
        limits="Trained in one studio at high resolution; five landmarks stand in for its six-point head pose; no"
        " confidence of its own.",
        licence="CC BY-NC-SA 4.0, non-commercial",
        weights=("eth_xgaze", "eth_xgaze_r18"),
    )

    def load(self, path: Path) -> nn.Module:
        """See `NetworkEstimator.load`; the ImageNet classifier in the official file is ignored."""
        family, state = read_family(path, "eth_xgaze", "eth_xgaze_resnet")
        if family == "eth_xgaze":
            state = tensors_without(state, "gaze_network.fc.")
            trunk = tensors_under(state, "gaze_network.")
            with torch.device("meta"):
                network: nn.Module = _Official(resnet_trunk(trunk), resnet_features(trunk))
        else:
            network = resnet_trunk(state)
            network.fc = nn.Linear(resnet_features(state), 2, device="meta")
        fill_module(network, state, path, family)
        return network
