"""Learned weights for a sum of losses (Kendall et al., 2018, in the form of Liebel and Koerner, 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AutoWeight(nn.Module):
    """sum_i 0.5 / p_i^2 * L_i + log(1 + p_i^2), one learned p_i per loss, all starting at 1."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.ones(count))

    def weights(self) -> Tensor:
        """(count,) factors of the losses: 0.5 / p^2."""
        return 0.5 / self.p**2

    def penalty(self) -> Tensor:
        """The term that keeps the factors from vanishing: sum of log(1 + p^2)."""
        return torch.log1p(self.p**2).sum()

    def forward(self, losses: Tensor) -> Tensor:
        """(count,) losses to their weighted sum, penalty included."""
        return (self.weights() * losses).sum() + self.penalty()
