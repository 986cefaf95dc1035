"""BiSeNet as a face parser: the network of face-parsing.PyTorch, whose published state dict BMRL's authors used.

The network is that of Yu et al., BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation, ECCV
2018, with a ResNet-18 as context path, whose first stage takes the place of the spatial path. Names of modules are
those of the published file `79999_iter.pth`: 13.30 M parameters; a face of 512 pixels takes 13.84 G multiply-adds with
the heads for training.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfad_bench.core.label_colours import CELEBAMASK_HQ
from dfad_bench.core.weights import load_into, load_state_dict

SIDE = 512  # faces are parsed at this size
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, RGB
_STAGES = (1, 2, 4, 8)  # widths of the four stages of a ResNet-18, in units of the first
_FIRST = "cp.resnet.conv1.weight"


class ConvBNReLU(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class BasicBlock(nn.Module):
    """Two convolutions beside a shortcut, as in ResNet-18 and ResNet-34."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(residual + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    """ResNet-18 without its classifier; torchvision's has no other widths, which small test files need."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        for number, factor in enumerate(_STAGES):
            inputs, outputs = width * _STAGES[max(number - 1, 0)], width * factor
            blocks = BasicBlock(inputs, outputs, 1 if number == 0 else 2), BasicBlock(outputs, outputs, 1)
            setattr(self, f"layer{number + 1}", nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features at an eighth, a sixteenth and a thirty-second of the side."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, padding=1)
        found = []
        for number in range(len(_STAGES)):
            x = getattr(self, f"layer{number + 1}")(x)
            found.append(x)
        return found[1], found[2], found[3]


class AttentionRefinement(nn.Module):
    """Channels weighted by what their means over the face say (section 3.2 of BiSeNet)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(inputs, outputs)
        self.conv_atten = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * torch.sigmoid(self.bn_atten(self.conv_atten(x.mean(dim=(2, 3), keepdim=True))))


class ContextPath(nn.Module):
    """ResNet-18, global mean and attention, from coarse to fine."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.resnet = ResNet18(width)
        self.arm16 = AttentionRefinement(4 * width, 2 * width)
        self.arm32 = AttentionRefinement(8 * width, 2 * width)
        self.conv_head32 = ConvBNReLU(2 * width, 2 * width)
        self.conv_head16 = ConvBNReLU(2 * width, 2 * width)
        self.conv_avg = ConvBNReLU(8 * width, 2 * width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The first stage's features, and those of the context, both at an eighth of the side."""
        fine, middle, coarse = self.resnet(x)
        mean = self.conv_avg(coarse.mean(dim=(2, 3), keepdim=True))
        context = self.conv_head32(_enlarged(self.arm32(coarse) + mean, middle))
        return fine, self.conv_head16(_enlarged(self.arm16(middle) + context, fine))


class FeatureFusion(nn.Module):
    """Both paths joined, channels weighted (section 3.3 of BiSeNet)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convblk = ConvBNReLU(channels, channels, 1)
        self.conv1 = nn.Conv2d(channels, channels // 4, 1, bias=False)
        self.conv2 = nn.Conv2d(channels // 4, channels, 1, bias=False)

    def forward(self, fine: Tensor, context: Tensor) -> Tensor:
        x = self.convblk(torch.cat([fine, context], dim=1))
        weight = torch.sigmoid(self.conv2(F.relu(self.conv1(x.mean(dim=(2, 3), keepdim=True)))))
        return x * weight + x


class Head(nn.Module):
    """Logits of every label."""

    def __init__(self, inputs: int, middle: int, classes: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(inputs, middle)
        self.conv_out = nn.Conv2d(middle, classes, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_out(self.conv(x))


class BiSeNet(nn.Module):
    """(B, 3, H, W) normalised faces to (B, 19, H, W) logits; H and W multiples of 32.

    The heads at coarser sizes are for training only; they are in the published file, so the network has them.

    Args:
        width: channels of the first convolution; 64 as published.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        classes = len(CELEBAMASK_HQ)
        self.cp = ContextPath(width)
        self.ffm = FeatureFusion(4 * width)
        self.conv_out = Head(4 * width, 4 * width, classes)
        self.conv_out16 = Head(2 * width, width, classes)
        self.conv_out32 = Head(2 * width, width, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.conv_out(self.ffm(*self.cp(x)))
        return F.interpolate(logits, x.shape[-2:], mode="bilinear", align_corners=True)

    def labels(self, crop: np.ndarray, device: str = "cpu") -> np.ndarray:
        """The label map (512, 512) uint8 of one crop (H, W, 3) uint8 RGB, resized to 512 pixels.

        Faces are parsed one by one: in batches of another size a pixel between two labels may get the other one.
        """
        from PIL import Image

        face = np.asarray(Image.fromarray(crop).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
        x = torch.from_numpy(face.copy()).to(device).permute(2, 0, 1)[None].float() / 255
        x = (x - x.new_tensor(MEAN).view(3, 1, 1)) / x.new_tensor(STD).view(3, 1, 1)
        # TF32 would make a GPU's labels differ from a CPU's
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            found: np.ndarray = self.to(device)(x)[0].argmax(dim=0).to(torch.uint8).cpu().numpy()
        return found


def load_bisenet(path: Path) -> BiSeNet:
    """The parser whose state dict is in a file (only tensors are read); its first layer's width decides the others'.

    Raises:
        WeightsError: not readable, or not of this layout.
    """
    state = load_state_dict(path, lambda state: _FIRST in state)
    network = BiSeNet(_width(state))
    load_into(network, state, path, "a BiSeNet face parser's state dict (face-parsing.PyTorch, 19 labels)")
    return network.eval().requires_grad_(False)


def _width(state: Mapping[str, Tensor]) -> int:
    first = state.get(_FIRST)
    return len(first) if first is not None and first.ndim == 4 and 1 <= len(first) <= 512 else 64


def _enlarged(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[-2:], mode="nearest")
