"""Steganalysis rich model residuals: the image minus its prediction from neighbouring pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SQUARE_3 = ((0, 0, 0, 0, 0), (0, -1, 2, -1, 0), (0, 2, -4, 2, 0), (0, -1, 2, -1, 0), (0, 0, 0, 0, 0))
_KV_5 = ((-1, 2, -2, 2, -1), (2, -6, 8, -6, 2), (-2, 8, -12, 8, -2), (2, -6, 8, -6, 2), (-1, 2, -2, 2, -1))
_LINE = ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 1, -2, 1, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0))
_DIVISORS = (4.0, 12.0, 2.0)


class SRM(nn.Module):
    """Three fixed 5x5 high-pass filters, each over the three colours at once, clamped to [-3, 3].

    (B, 3, H, W) in [0, 1] to (B, 3, H, W): square 3x3 / 4, KV 5x5 / 12, horizontal second order / 2 (MFCLIP and
    BMRL, noise encoder; Fridrich and Kodovsky 2012). On pixels in [0, 1] the clamp rarely has an effect.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        filters = [torch.tensor(f) / d for f, d in zip((_SQUARE_3, _KV_5, _LINE), _DIVISORS, strict=True)]
        self.register_buffer("kernel", torch.stack(filters)[:, None].repeat(1, 3, 1, 1))  # (3, 3, 5, 5)

    def forward(self, images: Tensor) -> Tensor:
        return F.conv2d(images, self.kernel.to(images.dtype), padding=2).clamp(-3.0, 3.0)
