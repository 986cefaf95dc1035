"""LRE: CLIP's frozen text tower with a word selector in every block; in training only (section III-E)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dfad_bench.core.errors import ConfigError
from dfad_bench.layers.aws import AWS, Position, weighed_block
from dfad_bench.layers.clip_towers import freeze
from dfad_bench.layers.lora import LoRA
from dfad_bench.layers.transformer import causal_mask
from gazeclip.config import PROMPT_TOKENS, GazeCLIPConfig


class TRTB(nn.Module):
    """Text-refining transformer block: CLIP's frozen block with AWS at one of three places (`layers.aws`); LoRA."""

    def __init__(
        self, block: Any, aws: AWS | None, position: Position, lora: LoRA | None, *, shortcuts: bool = True
    ) -> None:
        super().__init__()
        self.block = freeze(block, token_major=shortcuts)
        self.aws = aws
        self.position: Position = position
        self.lora = lora

    def forward(self, x: Tensor, mask: Tensor, at: Tensor | None = None) -> Tensor:
        """(n, t, s) and the additive mask, (t, t) or (n heads, t, t), to (n, t, s), or at (n,) to (n, 1, s)."""
        x = weighed_block(self.block, x, mask, self.aws, self.position, at)
        return x if self.lora is None else self.lora(x)

    def train(self, mode: bool = True) -> TRTB:
        super().train(mode)
        self.block.eval()
        return self


class LRE(nn.Module):
    """The levels' embeddings one after another -> L TRTBs and LoRA (equation 4) -> T_g^l, the finest level's end token.

    Four prompts of 77 tokens make t = 308. CLIP has 77 positions: its table is repeated for every level, so that
    each prompt meets the positions it was trained with (stretching 77 rows to 308 would not). The causal mask
    spans all 308 tokens; only the last level's end token has seen every level, hence it is the one read.

    Table XI's learnable prompt (`context` vectors, N(0, 0.02) as CoOp's) is a segment more, behind the last level, with
    the first rows of CLIP's table as positions. No token before it sees it, so its last token is then the one read.

    Raises:
        ConfigError: the tower is not L blocks.
    """

    mask: Tensor  # (t, t) causal

    def __init__(self, clip: Any, config: GazeCLIPConfig) -> None:
        super().__init__()
        blocks = list(clip.transformer.resblocks)
        if len(blocks) != config.L or clip.text_projection.shape[1] != config.s:
            raise ConfigError(
                f"CLIP {config.clip!r} has {len(blocks)} text blocks and embeddings of"
                f" {clip.text_projection.shape[1]}; set L and s so"
            )
        self.levels, self.mask_padding, self.context = config.levels, config.mask_padding, config.context
        self.shortcuts = config.shortcuts
        self.heads = blocks[0].attn.num_heads
        width = clip.token_embedding.embedding_dim
        if not config.text_projection and width != config.s:
            raise ConfigError(f"text_projection=false needs text tokens of width s = {config.s}, they have {width}")
        self.token_embedding = freeze(clip.token_embedding)
        table = clip.positional_embedding.detach()
        positions = torch.cat([table.repeat(config.levels, 1), table[: config.context]])  # (t, s)
        self.P_l = nn.Parameter(positions, requires_grad=config.learn_positions)
        self.LP = nn.Parameter(0.02 * torch.randn(config.context, width)) if config.context else None
        self.blocks = nn.ModuleList(
            TRTB(
                block,
                AWS(config.t) if config.aws_pos != "none" else None,
                config.aws_pos,
                LoRA(width, config.lora_rank, config.lora_alpha) if j >= config.L - config.lora_lre else None,
                shortcuts=config.shortcuts,
            )
            for j, block in enumerate(blocks)
        )
        self.ln_final = freeze(clip.ln_final)
        projection = clip.text_projection.detach() if config.text_projection else None
        self.text_projection = nn.Parameter(projection, requires_grad=False) if projection is not None else None
        self.register_buffer("mask", causal_mask(config.t), persistent=False)

    def forward(self, tokens: Tensor, length: int | None = None) -> Tensor:
        """Token ids (n, levels, 77) to T_g^l (n, s).

        With `shortcuts`, tokens behind `length` (one more than the last place read) are left out, which no token
        before them attends to, and the last block computes the token that is read alone.
        """
        words = self.token_embedding(tokens).flatten(1, 2)
        if self.LP is not None:
            words = torch.cat([words, self.LP.to(words.dtype).expand(len(words), -1, -1)], dim=1)
        x = words + self.P_l  # (n, t, s)
        mask = self._attention_mask(tokens)
        end = (self.levels - 1) * PROMPT_TOKENS + tokens[:, -1].argmax(dim=-1)  # the end token has the largest id
        if self.context:
            end = torch.full_like(end, len(self.P_l) - 1)
        pooled = self.ln_final(self._refined(x, mask, end, length))
        return pooled if self.text_projection is None else pooled @ self.text_projection

    def used_length(self, tokens: Tensor) -> int:
        """One more than the last place that is read, of token ids (n, levels, 77) that are not on a device yet."""
        if self.context:
            return len(self.P_l)
        return (self.levels - 1) * PROMPT_TOKENS + int(tokens[:, -1].argmax(dim=-1).max()) + 1

    def _refined(self, x: Tensor, mask: Tensor, end: Tensor, length: int | None) -> Tensor:
        """(n, t, s) through the blocks; the token at `end` (n,) of each row, (n, s)."""
        if not self.shortcuts:
            for block in self.blocks:
                x = block(x, mask)
            return x[torch.arange(len(x), device=x.device), end]
        if length is not None:
            x, mask = x[:, :length], mask[..., :length, :length]
        for block in self.blocks[:-1]:
            x = block(x, mask)
        return self.blocks[-1](x, mask, end)[:, 0]

    def _attention_mask(self, tokens: Tensor) -> Tensor:
        """The causal mask (t, t), or with padding hidden too, a mask per row and head (n heads, t, t)."""
        if not self.mask_padding:
            return self.mask
        place = torch.arange(PROMPT_TOKENS, device=tokens.device)
        padding = place > tokens.argmax(dim=-1, keepdim=True)  # (n, levels, 77): behind the end token
        hidden = self.mask.new_zeros(padding.shape).masked_fill(padding, float("-inf")).flatten(1)
        hidden = nn.functional.pad(hidden, (0, self.context))  # (n, t)
        return (self.mask + hidden[:, None]).repeat_interleave(self.heads, dim=0)

    def train(self, mode: bool = True) -> LRE:
        super().train(mode)
        for frozen in (self.token_embedding, self.ln_final):
            frozen.eval()
        return self
