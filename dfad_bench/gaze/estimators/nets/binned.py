"""Gaze as two classifications: an angle is the expectation over the bins of a softmax.

L2CS-Net (Abdelrahman et al., arXiv 2203.03339, section III) and the networks that follow it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from dfad_bench.core.errors import WeightsError
from dfad_bench.gaze.estimators.loading import State, fill_module, resnet_trunk, tensors_without

BINS_DEG = {90: (4.0, -180.0), 28: (3.0, -42.0)}  # bins of Gaze360 and MPIIFaceGaze: width, and angle of the first
Trunk = tuple[nn.Module, int]  # (B, 3, H, W) to (B, features), and features


class BinnedGaze(nn.Module):
    """A trunk and a linear layer per angle.

    Args:
        trunk: (B, 3, H, W) to (B, features).
        features: number of features of the trunk.
        bins: a key of `BINS_DEG`.
    """

    def __init__(self, trunk: nn.Module, features: int, bins: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.yaw = nn.Linear(features, bins)
        self.pitch = nn.Linear(features, bins)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 2) in radians: the angle called yaw, then the angle called pitch."""
        features = self.trunk(images)
        return torch.stack([expected_angle(self.yaw(features)), expected_angle(self.pitch(features))], dim=1)


def expected_angle(logits: Tensor) -> Tensor:
    """(B, bins) logits to (B,) radians: the softmax's expectation over the bins' angles.

    >>> print(f"{expected_angle(torch.zeros(1, 90)).rad2deg().item():.6f}")  # bins at -180, -176, ... 176
    -2.000000
    """
    width, first = BINS_DEG[logits.shape[1]]
    angles = torch.deg2rad(first + width * torch.arange(logits.shape[1], device=logits.device, dtype=torch.float64))
    return logits.double().softmax(dim=1) @ angles


def bins_of(layer: str, state: State, path: Path) -> int:
    """How many bins the layer named `layer` has.

    Raises:
        WeightsError: not one of the known numbers.
    """
    weight = state.get(f"{layer}.weight")
    bins = len(weight) if weight is not None and weight.ndim == 2 else 0
    if bins not in BINS_DEG:
        raise WeightsError(f"{path}: {layer} has {bins} bins; known are {', '.join(map(str, BINS_DEG))}")
    return bins


def fill_binned(trunk: Trunk, state: State, layers: tuple[str, str], path: Path, family: str) -> BinnedGaze:
    """A network with the weights of `state`, every key used.

    Args:
        trunk: the trunk without values, and its number of features.
        state: the trunk's keys, and weight and bias of both `layers`.
        layers: names of the yaw's and the pitch's layer.
        path: the file, for errors.
        family: a key of `loading.FAMILIES`, for errors.

    Raises:
        WeightsError: keys or shapes do not fit.
    """
    with torch.device("meta"):
        network = BinnedGaze(*trunk, bins_of(layers[0], state, path))
    heads = tuple(f"{layer}." for layer in layers)
    fill_module(network.trunk, tensors_without(state, *heads), path, family)
    both = nn.ModuleDict(dict(zip(layers, (network.yaw, network.pitch), strict=True)))
    fill_module(both, {key: value for key, value in state.items() if key.startswith(heads)}, path, family)
    return network


def resnet(state: State) -> Trunk:
    """The ResNet-18, 34 or 50, without values, whose keys `state` has."""
    return resnet_trunk(state), 2048 if "layer1.0.conv3.weight" in state else 512


def mobilenet() -> Trunk:
    """A MobileNetV2 without values."""
    from torchvision.models import mobilenet_v2

    with torch.device("meta"):
        trunk = mobilenet_v2(weights=None)
    trunk.classifier = nn.Identity()
    return trunk, trunk.last_channel
