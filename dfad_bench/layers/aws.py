"""AWS: a learned weight for every word position (GazeCLIP III-E), and its places in a text block (Table IV)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

Position = Literal["before", "between", "after", "none"]


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


def weighed_block(block: Any, x: Tensor, mask: Tensor, aws: AWS | None, position: Position) -> Tensor:
    """A text block of open_clip with AWS at one place; without it, that block bit for bit.

    "before" weighs what attention reads, "between" what the feed-forward layer reads, "after" the block's output.
    The first two act behind the layer norm ("normalized ... embeddings", III-E): before it, a positive weight
    would be divided out again.

    Args:
        block: a `ResidualAttentionBlock`.
        x: (n, t, s).
        mask: added to the attention logits, (t, t) or (n heads, t, t).
        aws: of t positions.
        position: the place.
    """

    def weigh(tokens: Tensor, here: Position) -> Tensor:
        return aws(tokens) if aws is not None and position == here else tokens

    x = x + block.ls_1(block.attention(q_x=weigh(block.ln_1(x), "before"), attn_mask=mask))
    x = x + block.ls_2(block.mlp(weigh(block.ln_2(x), "between")))
    return weigh(x, "after")
