"""CLIP's towers token by token, without the projections after them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class ImageTokens(nn.Module):
    """An image tower of open_clip without its projection: all tokens, the class token first.

    Args:
        visual: a `VisionTransformer` of `clip_model`.
    """

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.conv1, self.ln_pre, self.ln_post = visual.conv1, visual.ln_pre, visual.ln_post
        self.class_embedding, self.positional_embedding = visual.class_embedding, visual.positional_embedding
        self.blocks = visual.transformer.resblocks
        self.width = int(visual.conv1.out_channels)

    def embedded(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, S, S) to what the first block gets, (B, 1 + m, width)."""
        patches = self.conv1(images).flatten(2).transpose(1, 2)  # (B, m, width)
        cls = self.class_embedding.to(patches.dtype).expand(images.shape[0], 1, -1)
        tokens: Tensor = self.ln_pre(torch.cat([cls, patches], dim=1) + self.positional_embedding.to(patches.dtype))
        return tokens

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, S, S) to (B, 1 + m, width), after the last norm."""
        x = self.embedded(images)
        for block in self.blocks:
            x = block(x)
        tokens: Tensor = self.ln_post(x)
        return tokens


class TextTokens(nn.Module):
    """A text tower of open_clip without its projection: all 77 tokens.

    Args:
        clip: a `CLIP` of `clip_model`.
    """

    attn_mask: Tensor

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.token_embedding, self.ln_final = clip.token_embedding, clip.ln_final
        self.positional_embedding = clip.positional_embedding
        self.blocks = clip.transformer.resblocks
        self.width = int(clip.token_embedding.embedding_dim)
        self.register_buffer("attn_mask", clip.attn_mask.detach().clone(), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token ids (n, 77) to (n, 77, width), after the last norm."""
        x = self.token_embedding(tokens) + self.positional_embedding
        for block in self.blocks:
            x = block(x, attn_mask=self.attn_mask)
        found: Tensor = self.ln_final(x)
        return found
