"""ETH-XGaze's baseline: a ResNet on the normalised face patch, pitch and yaw from one linear layer.

Zhang et al., "ETH-XGaze: A Large Scale Dataset for Gaze Estimation under Extreme Head Pose and Gaze Variation",
ECCV 2020, section 5. GazeCLIP's gaze encoder (its section III-B).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from dfad_bench.gaze.estimators.base import GazeCard
from dfad_bench.gaze.estimators.loading import fill, read_family, resnet_features, resnet_trunk, under, without
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
    """ResNet-50 in the official layout, or a ResNet in ptgaze's, told apart by their keys."""

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
        """See `NetworkEstimator.load`; the ImageNet classifier that the official file still carries is left out."""
        family, state = read_family(path, "eth_xgaze", "eth_xgaze_resnet")
        if family == "eth_xgaze":
            state = without(state, "gaze_network.fc.")
            trunk = under(state, "gaze_network.")
            with torch.device("meta"):
                network: nn.Module = _Official(resnet_trunk(trunk), resnet_features(trunk))
        else:
            network = resnet_trunk(state)
            network.fc = nn.Linear(resnet_features(state), 2, device="meta")
        fill(network, state, path, family)
        return network
