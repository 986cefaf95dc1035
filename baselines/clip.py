"""CLIP (Radford et al., ICML 2021), fine-tuned on faces and their attribution prompts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from baselines.clip_based import CLIPBased
from dfad_bench.core.contract import (
    Batch,
    Card,
    Inputs,
    LossTerm,
    attribution_term,
    expert_losses,
)
from dfad_bench.core.errors import ConfigError
from dfad_bench.layers.aws import AWS, Position, weighed_block
from dfad_bench.layers.clip_towers import clip_model
from dfad_bench.layers.text import CONTEXT, row_keys, tokenize, unique_rows
from dfad_bench.losses.contrastive import symmetric_infonce


@dataclass(frozen=True)
class CLIPConfig:
    """ViT-B/32; `cmc_targets`: "diag", or the target spread over equal captions ("multi", here of equal value).

    `aws_pos`: where every text block has GazeCLIP's word selector, as in `gazeclip`; "before" is the row "CLIP w/ AWS"
    of GazeCLIP Table IX, with the 77 positions of the one prompt.
    """

    architecture: str = "ViT-B-32-quickgelu"
    side: int = 224
    tiny_towers: bool = False
    cmc_targets: Literal["diag", "multi"] = "diag"
    aws_pos: Position = "none"

    @classmethod
    def tiny(cls) -> CLIPConfig:
        return cls(side=128, tiny_towers=True)


class CLIP(CLIPBased):
    """Image and text towers trained with the experts' losses and `cmc`; the text tower is idle at test time."""

    card = Card(
        display="CLIP",
        paper="A. Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021",
        year=2021,
        task="both",
        idea="Images and their captions meet in one space.",
        added="both experts: one linear layer each on the 512-d image feature",
        deviations=(
            "the caption is the finest prompt (level 4), which names the generator",
            "starts from random weights unless weights are given; the papers start from OpenAI's",
            "normalised with CLIP's own mean and deviation",
        ),
        reference="https://github.com/openai/CLIP",
        reference_licence="MIT",
        weights=("openai_clip_vit_b32", "openai_clip_vit_b32_archive", "openai_clip_vit_l14"),
        no_recipe="its paper trains on pairs of images and captions, and none of theirs for deepfakes is known",
    )
    Config = CLIPConfig
    image_size = 224
    needs_prompts = True

    def __init__(self, num_generators: int, config: CLIPConfig, weights: Path | None = None) -> None:
        clip = clip_model(config.architecture, config.side, weights, tiny=config.tiny_towers)
        super().__init__(clip.visual.output_dim, num_generators, side=config.side)
        self.config = config
        self.clip = clip
        blocks = clip.transformer.resblocks if config.aws_pos != "none" else ()
        self.aws = nn.ModuleList(AWS(CONTEXT) for _ in blocks)  # 77 weights a text block

    def embed(self, inputs: Inputs) -> Tensor:
        return self.clip.encode_image(self.prepare(inputs.images))  # (B, 512)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Token ids (n, 77) to text features (n, 512), read at the end token."""
        if not self.aws:
            return self.clip.encode_text(tokens)
        clip: Any = self.clip
        x = clip.token_embedding(tokens) + clip.positional_embedding  # (n, 77, s)
        for block, aws in zip(clip.transformer.resblocks, self.aws, strict=True):
            assert isinstance(aws, AWS)
            x = weighed_block(block, x, clip.attn_mask, aws, self.config.aws_pos)
        ends = clip.ln_final(x)[torch.arange(len(x), device=x.device), tokens.argmax(dim=-1)]  # the largest id
        text: Tensor = ends @ clip.text_projection
        return text

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor | LossTerm]:
        """`dfa`, `dfd` and `cmc`: symmetric InfoNCE of images and captions.

        Raises:
            ConfigError: the batch has no prompts.
        """
        if len(batch.prompts) != len(batch.attribution):
            raise ConfigError("clip trains on prompts, and the batch has none; check the protocol's prompt file")
        output = self(batch.inputs)
        distinct, index = unique_rows([row[-1:] for row in batch.prompts])
        index = index.to(output.embedding.device, non_blocking=True)
        tokens = tokenize([row[0] for row in distinct]).to(index.device, non_blocking=True)
        text = self.encode_text(tokens)[index]  # (B, 512)
        cmc = symmetric_infonce(
            output.embedding,
            text,
            self.clip.logit_scale,
            targets=self.config.cmc_targets,
            labels=row_keys([row[-1:] for row in batch.prompts]).to(index.device, non_blocking=True),
        )
        return {**expert_losses(output, batch), "cmc": attribution_term(cmc)}
