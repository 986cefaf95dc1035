"""AWS: a learned weight for every word position (GazeCLIP, section III-E)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AWS(nn.Module):
    """T_aws = D T with D a learnable diagonal matrix of t x t, drawn from N(0, 1).

    Only the diagonal is stored: t parameters. A full matrix would be 94,864 a block for t = 308, which the paper's
    own table (AWS "rarely adds auxiliary weights") rules out.
    """

    def __init__(self, t: int) -> None:
        super().__init__()
        self.D = nn.Parameter(torch.randn(t))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, t, s) to (B, t, s), token i times D_i."""
        return tokens * self.D[:, None]
