"""MobileOne-S0 in its inference form: the branches of every block are fused into one convolution.

Vasu et al., "MobileOne: An Improved One millisecond Mobile Backbone", CVPR 2023, figure 3 (right) and table 2 of the
paper. Keys follow the authors' names: `stage0`, `stage1.0` (depthwise), `stage1.1` (pointwise), ..., each with a
`reparam_conv`.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

BLOCKS = (2, 8, 10, 1)  # depthwise and pointwise pairs per stage; stages 3 and 4 of table 2 are one here
WIDTHS = (48, 128, 256, 1024)  # (64, 128, 256, 512) times (0.75, 1, 1, 2)
STEM = 48
FEATURES = WIDTHS[-1]


class FusedBlock(nn.Module):
    """Convolution with bias, then ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.reparam_conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        return F.relu(self.reparam_conv(x))


class MobileOneS0(nn.Module):
    """The trunk: (B, 3, H, W) to (B, 1024)."""

    def __init__(self) -> None:
        super().__init__()
        self.stage0 = FusedBlock(3, STEM, 3, stride=2)
        width = STEM
        for number, (blocks, wider) in enumerate(zip(BLOCKS, WIDTHS, strict=True), start=1):
            setattr(self, f"stage{number}", stage(width, wider, blocks))
            width = wider

    def forward(self, x: Tensor) -> Tensor:
        """Global average of the last stage's map, 1/32 of the image's side."""
        for number in range(len(BLOCKS) + 1):
            x = getattr(self, f"stage{number}")(x)
        return x.mean(dim=(2, 3))


def stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    """Depthwise 3 x 3 and pointwise convolutions in turn; the first depthwise one halves the map."""
    layers: list[nn.Module] = []
    for block in range(blocks):
        layers += [
            FusedBlock(inputs, inputs, 3, stride=1 if block else 2, groups=inputs),
            FusedBlock(inputs, outputs, 1),
        ]
        inputs = outputs
    return nn.Sequential(*layers)
