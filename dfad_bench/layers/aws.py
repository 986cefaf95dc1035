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

    def forward(self, tokens: Tensor, at: Tensor | None = None) -> Tensor:
        """(B, t', s) to (B, t', s), token i times D_i, of the first t' tokens; or (B, 1, s), tokens at places (B,)."""
        return tokens * (self.D[: tokens.shape[1], None] if at is None else self.D[at][:, None, None])


def weighed_block(
    block: Any, x: Tensor, mask: Tensor, aws: AWS | None, position: Position, at: Tensor | None = None
) -> Tensor:
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
        at: (n,) the one token of each row whose output is wanted, (n, 1, s); all are where it is None.
    """

    def weigh(tokens: Tensor, here: Position, place: Tensor | None = at) -> Tensor:
        return aws(tokens, place) if aws is not None and position == here else tokens

    read = weigh(block.ln_1(x), "before", None)
    if at is None:
        x = x + block.ls_1(block.attention(q_x=read, attn_mask=mask))
    else:
        mask = _mask_rows(mask, at, block.attn.num_heads)
        x = _tokens_at(x, at) + block.ls_1(block.attention(_tokens_at(read, at), read, read, attn_mask=mask))
    x = x + block.ls_2(block.mlp(weigh(block.ln_2(x), "between")))
    return weigh(x, "after")


def _tokens_at(x: Tensor, at: Tensor) -> Tensor:
    """(n, t, s) and places (n,) to (n, 1, s)."""
    return x[torch.arange(len(x), device=x.device), at][:, None]


def _mask_rows(mask: Tensor, at: Tensor, heads: int) -> Tensor:
    """What the tokens at places (n,) may attend to, (n heads, 1, t), of a mask (t, t) or (n heads, t, t)."""
    if mask.ndim == 2:
        return mask[at].repeat_interleave(heads, dim=0)[:, None]
    return mask[torch.arange(len(mask), device=mask.device), at.repeat_interleave(heads)][:, None]
