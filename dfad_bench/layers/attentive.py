"""Attentive pooling: a learned query looks at all tokens of a face (Set Transformer, Lee et al., ICML 2019, eq. 6)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfad_bench.core.errors import ConfigError


class AttentivePool(nn.Module):
    """(B, N, d) tokens to (B, d): cross-attention of one learned query, its keys without bias.

    A bias of the keys would add the same number to every logit of a query, which softmax does not see.

    Args:
        dim: d.
        heads: of the attention; must divide d.

    Raises:
        ConfigError: they do not.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise ConfigError(f"heads={heads} does not divide the {dim} numbers of a token")
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.query = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.to_keys = nn.Linear(dim, dim, bias=False)
        self.to_values = nn.Linear(dim, dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.norm(tokens)
        query = self.query.expand(tokens.shape[0], -1, -1)  # (B, 1, d)
        keys, values = self._by_head(self.to_keys(tokens)), self._by_head(self.to_values(tokens))
        pooled = F.scaled_dot_product_attention(self._by_head(query), keys, values)  # (B, heads, 1, d / heads)
        return self.output(pooled.transpose(1, 2).flatten(1))

    def _by_head(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, n, d / heads)
