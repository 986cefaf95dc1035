"""Residual networks (He et al., CVPR 2016), as timm builds them, with the parameter names of torchvision's files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfad_bench.core.weights import load_into, load_state_dict

if TYPE_CHECKING:
    from timm.models.resnet import ResNet
    from torch import nn


def resnet_trunk(blocks: Sequence[int], widths: Sequence[int], *, bottleneck: bool = False) -> ResNet:
    """A network without classifier, (B, 3, H, W) to (B, d).

    Its `forward_features` stops before the mean, at (B, d, H / 32, W / 32). d is `widths[-1]`, four times that with
    bottlenecks. The published ones have widths 64, 128, 256, 512; ResNet-18 has 2, 2, 2, 2 plain blocks, ResNet-50
    3, 4, 6, 3 bottlenecks.
    """
    from timm.models.resnet import BasicBlock, Bottleneck, ResNet

    block: Any = Bottleneck if bottleneck else BasicBlock  # a class, where timm's annotation has an instance of it
    return ResNet(block, tuple(blocks), num_classes=0, channels=tuple(widths), zero_init_last=False)


def load_resnet(trunk: nn.Module, path: Path, what: str) -> None:
    """Load a state dict of torchvision or timm (both have the same names); its classifier `fc` is left out.

    Args:
        trunk: of `resnet_trunk`.
        path: the file.
        what: what it should hold, with its article: "a ResNet-18 state dict".

    Raises:
        WeightsError: it does not fit.
    """
    read = load_state_dict(path, lambda state: {"conv1.weight", "layer1.0.conv1.weight"} <= state.keys())
    load_into(trunk, {key: value for key, value in read.items() if not key.startswith("fc.")}, path, what)
