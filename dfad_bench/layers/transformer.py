"""The pre-norm transformer that CViT, MFCLIP and GazeCLIP share."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Activation = Literal["gelu", "quick_gelu"]


class Attention(nn.Module):
    """Multi-head self-attention over (B, t, dim) tokens: one `to_qkv`, one softmax module, one `to_out`.

    Logits are scaled by the head width. `legacy_scale` divides by the square root of the full width instead, as
    CViT's released networks and MFCLIP's code do; set it when loading their weights.
    """

    def __init__(
        self, dim: int, heads: int, *, qkv_bias: bool = False, head_dim: int | None = None, legacy_scale: bool = False
    ) -> None:
        super().__init__()
        if head_dim is None and dim % heads:
            raise ValueError(f"width {dim} does not divide into {heads} heads; give head_dim")
        self.heads = heads
        head_dim = head_dim or dim // heads
        inner = heads * head_dim
        self.scale = (dim if legacy_scale else head_dim) ** -0.5
        self.to_qkv = nn.Linear(dim, 3 * inner, bias=qkv_bias)
        self.softmax = nn.Softmax(dim=-1)
        self.to_out = nn.Linear(inner, dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, t, dim) to (B, t, dim); `mask`, (t, t) or (B, 1, 1, t), is added to the logits (-inf: hidden)."""
        qkv = self.to_qkv(x).unflatten(-1, (3, self.heads, -1))  # (B, t, 3, h, d)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, h, t, d)
        logits = q @ k.transpose(-2, -1) * self.scale  # (B, h, t, t)
        if mask is not None:
            logits = logits + mask.to(logits.dtype)
        return self.to_out((self.softmax(logits) @ v).transpose(1, 2).flatten(2))


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x), CLIP's approximation of GELU (Hendrycks and Gimpel, arXiv 1606.08415, section 2)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class FeedForward(nn.Module):
    """Linear, GELU or QuickGELU, Linear."""

    def __init__(self, dim: int, hidden: int, *, activation: Activation = "gelu") -> None:
        super().__init__()
        between = QuickGELU() if activation == "quick_gelu" else nn.GELU()
        self.net = nn.Sequential(nn.Linear(dim, hidden), between, nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class PreNorm(nn.Module):
    """LayerNorm, then `fn`."""

    def __init__(self, dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fn = fn

    def forward(self, x: Tensor, *extra: Tensor | None) -> Tensor:
        return self.fn(self.norm(x), *extra)


class Residual(nn.Module):
    """x + fn(x)."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor, *extra: Tensor | None) -> Tensor:
        return x + self.fn(x, *extra)


class PreNormTransformer(nn.Module):
    """`depth` blocks of x += attention(norm x), x += mlp(norm x); (B, t, dim) in and out, no final norm.

    Parameter names follow the released networks (`layers.0.0.fn.fn.to_qkv.weight`, ...), so that their state
    dicts fit.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        mlp_dim: int,
        *,
        qkv_bias: bool = False,
        head_dim: int | None = None,
        legacy_scale: bool = False,
        activation: Activation = "gelu",
    ) -> None:
        super().__init__()

        def block() -> nn.ModuleList:
            attention = Attention(dim, heads, qkv_bias=qkv_bias, head_dim=head_dim, legacy_scale=legacy_scale)
            mlp = FeedForward(dim, mlp_dim, activation=activation)
            return nn.ModuleList([Residual(PreNorm(dim, attention)), Residual(PreNorm(dim, mlp))])

        self.layers = nn.ModuleList([block() for _ in range(depth)])

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Run all blocks; `mask`, (t, t) or (B, 1, 1, t), is added to every block's attention logits."""
        for attention, mlp in (tuple(layer.children()) for layer in self.layers):
            x = mlp(attention(x, mask))
        return x


def causal_mask(length: int) -> Tensor:
    """(length, length) with -inf above the diagonal: a token attends to itself and to earlier tokens."""
    return torch.full((length, length), float("-inf")).triu(1)
