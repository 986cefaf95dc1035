"""PureGaze: a ResNet whose features are purified of gaze-irrelevant facts, by training against a decoder of the face.

Cheng, Bao and Lu, "PureGaze: Purifying Gaze Feature for Generalizable Gaze Estimation", AAAI 2022. The decoder is
used in training only; its weights in the published file are ignored.
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


class _PureGaze(nn.Module):
    """Keys as in the published files: `feature.*` and `gazeEs.fc.*`."""

    def __init__(self, trunk: nn.Module, features: int) -> None:
        super().__init__()
        self.feature = trunk
        self.gazeEs = nn.ModuleDict({"fc": nn.Linear(features, 2)})

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 224, 224) to (B, 2) radians."""
        return self.gazeEs["fc"](self.feature(images))  # (B, 2048) -> (B, 2)


class PureGazeEstimator(NetworkEstimator):
    """BGR in [0, 1] without further normalisation; the outputs' order depends on the training set and is checked."""

    name = "puregaze"
    card = GazeCard(
        display="PureGaze",
        paper="Cheng, Bao and Lu, AAAI 2022",
        idea="A gaze ResNet trained against a decoder, so that its features keep gaze and lose identity and light.",
        limits="Order of the outputs follows the training set; the mirror check swaps it where needed and says so.",
        licence="CC BY-NC, non-commercial",
        weights=("puregaze",),
    )
    default_channel = "bgr"
    default_norm = "unit"
    order_varies = True

    def load(self, path: Path) -> nn.Module:
        """See `NetworkEstimator.load`."""
        family, state = read_family(path, "puregaze")
        state = tensors_without(state, "deconv.")
        trunk = tensors_under(state, "feature.")
        with torch.device("meta"):
            network = _PureGaze(resnet_trunk(trunk), resnet_features(trunk))
        fill_module(network, state, path, family)
        return network
