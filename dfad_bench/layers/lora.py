"""Low-rank adapters (Hu et al., 2022) behind a frozen block."""

from __future__ import annotations

from torch import Tensor, nn


class LoRA(nn.Module):
    """x + (alpha / rank) B A x over the last dimension; B starts at zero, so that it starts as the identity.

    A residual adapter on a block's output, not an addition to a weight matrix: GazeCLIP III-D says that a block
    "is followed by" a LoRA. 2 x dim x rank parameters.

    Raises:
        ValueError: a rank below one.
    """

    def __init__(self, dim: int, rank: int = 8, alpha: float = 32.0) -> None:
        super().__init__()
        if rank < 1:
            raise ValueError(f"rank must be 1 or more, got {rank}")
        self.scale = alpha / rank
        self.A = nn.Linear(dim, rank, bias=False)
        self.B = nn.Linear(rank, dim, bias=False)
        nn.init.zeros_(self.B.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) to (..., dim)."""
        return x + self.scale * self.B(self.A(x))
