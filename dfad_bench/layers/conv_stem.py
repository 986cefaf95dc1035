"""The convolutional stems in front of the transformers of CViT, MFCLIP, BMRL and GazeCLIP."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

APPEARANCE_DEPTHS = (3, 3, 3, 4, 4)


def conv_stack(in_channels: int, widths: Sequence[int], depths: Sequence[int]) -> nn.Sequential:
    """Groups of 3x3 convolutions (padding 1, batch norm, ReLU), each group followed by a 2x2 max pooling.

    (B, in_channels, H, W) to (B, widths[-1], H / 2^n, W / 2^n) with n groups. One flat `Sequential`, so that
    the numbering is that of the released networks.
    """
    if len(widths) != len(depths):
        raise ValueError(f"{len(widths)} widths for {len(depths)} groups of convolutions")
    layers: list[nn.Module] = []
    for width, depth in zip(widths, depths, strict=True):
        for _ in range(depth):
            layers += [nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            in_channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def appearance_stem(in_channels: int = 3, widths: Sequence[int] = (32, 64, 128, 256, 512)) -> nn.Sequential:
    """CViT's 17-convolution stem: (B, 3, 224, 224) to (B, 512, 7, 7), stride 32, 10.81 M parameters."""
    return conv_stack(in_channels, widths, APPEARANCE_DEPTHS)


def noise_stem(in_channels: int = 3, widths: Sequence[int] = (32, 64)) -> nn.Sequential:
    """MFCLIP's stem for a noise patch: (B, 3, 112, 112) to (B, 64, 28, 28), stride 4."""
    return conv_stack(in_channels, widths, (3, 3))
