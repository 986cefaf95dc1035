"""ETH-XGaze's baseline as a layer that can learn: a ResNet on normalised faces, and one linear layer for the gaze.

Zhang et al., "ETH-XGaze: A Large Scale Dataset for Gaze Estimation under Extreme Head Pose and Gaze Variation", ECCV
2020, section 5. The frozen estimator that stores its gaze is `dfad_bench.gaze.estimators.eth_xgaze`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor, nn

from dfad_bench.core.weights import load_into, load_state_dict
from dfad_bench.layers.resnet import resnet_trunk

GazeNetwork = Literal["resnet50", "resnet18", "tiny"]
PATCH_SIDE = 224  # of the published files' input
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, RGB (GazeCLIP IV-A)
_SMALL = 0.2  # scale of each residual branch at a random start


class _Sizes(NamedTuple):
    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    bottleneck: bool


_SIZES: dict[GazeNetwork, _Sizes] = {
    "resnet50": _Sizes((3, 4, 6, 3), (64, 128, 256, 512), True),
    "resnet18": _Sizes((2, 2, 2, 2), (64, 128, 256, 512), False),
    "tiny": _Sizes((1, 1, 1, 1), (8, 8, 16, 16), False),
}


class GazeResNet(nn.Module):
    """Normalised faces (B, 3, side, side) in [0, 1] to (B, 2) pitch and yaw in radians.

    Parameters are named as in the official file. Means and variances of the norms stay as they were at the start while
    all else learns: a batch of forged faces is no sample of what they were measured on.

    Args:
        network: "resnet50" as published, "resnet18" of ptgaze, "tiny" for trials.
    """

    def __init__(self, network: GazeNetwork = "resnet50") -> None:
        super().__init__()
        blocks, widths, bottleneck = _SIZES[network]
        self.gaze_network = resnet_trunk(blocks, widths, bottleneck=bottleneck)
        self.gaze_fc = nn.Sequential(nn.Linear(widths[-1] * (4 if bottleneck else 1), 2))
        last = "bn3" if bottleneck else "bn2"
        for name, norm in self.gaze_network.named_modules():
            if name.endswith(f".{last}"):  # with fixed statistics a deep random network would grow without bounds
                nn.init.constant_(norm.weight, _SMALL)

    def forward(self, patches: Tensor) -> Tensor:
        mean, std = (patches.new_tensor(value)[:, None, None] for value in (MEAN, STD))
        return self.gaze_fc(self.gaze_network((patches - mean) / std))

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def load(self, path: Path) -> None:
        """Start from a published file: ETH-XGaze's own, or ptgaze's ResNet, whose layer `fc` gives the gaze.

        Raises:
            WeightsError: it does not fit.
        """
        load_into(self, _official(_read(path)), path, "an ETH-XGaze gaze network's state dict")


def gaze_network_of(path: Path) -> GazeNetwork | None:
    """Which published network a file holds; None for others, a tiny one's among them.

    Raises:
        WeightsError: the file cannot be read.
    """
    state = _official(_read(path))
    first = state.get("gaze_network.conv1.weight", torch.empty(0))
    for name, sizes in _SIZES.items():
        deep = f"gaze_network.layer3.{sizes.blocks[2] - 1}.conv1.weight" in state
        same = ("gaze_network.layer1.0.conv3.weight" in state) == sizes.bottleneck
        if name != "tiny" and deep and same and len(first) == sizes.widths[0]:
            return name
    return None


def _read(path: Path) -> Mapping[str, Tensor]:
    return load_state_dict(
        path, lambda s: "gaze_fc.0.weight" in s or {"layer1.0.conv1.weight", "fc.weight"} <= s.keys()
    )


def _official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the official file's names; its ImageNet classifier, which nothing reads, is left out."""
    if "gaze_fc.0.weight" in state:
        return {key: value for key, value in state.items() if not key.startswith("gaze_network.fc.")}
    renamed = {"fc.weight": "gaze_fc.0.weight", "fc.bias": "gaze_fc.0.bias"}
    return {renamed.get(key, f"gaze_network.{key}"): value for key, value in state.items()}
