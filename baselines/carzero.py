"""CARZero (Lai et al., CVPR 2024): the similarity of an image and a text is learned, by attention across them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from baselines.clip_based import CLIPBased
from dfad_bench.core.contract import (
    Batch,
    Card,
    Experts,
    Inputs,
    LossTerm,
    Output,
    attribution_term,
    expert_losses,
)
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.parallel import gather_rows, is_split
from dfad_bench.layers.clip_tokens import ImageTokens, TextTokens
from dfad_bench.layers.clip_towers import clip_model
from dfad_bench.layers.text import tokenize
from dfad_bench.losses.contrastive import symmetric_cross_entropy


@dataclass(frozen=True)
class CARZeroConfig:
    """Sizes of the paper (section 4.2), with CLIP's towers in the place of medical ones.

    `attribution`: "prompts" is the paper's way, the generators' prompts compete by similarity; "expert" is a linear
    layer on the global token. `cmc_targets` is that of `alignment`: "multi" spreads the target over equal captions.
    """

    architecture: str = "ViT-B-16-quickgelu"
    side: int = 224
    tiny_towers: bool = False
    depth: int = 4
    heads: int = 4
    mlp_dim: int = 1024
    dropout: float = 0.1
    similarity: tuple[int, ...] = (1024, 512, 256)
    attribution: Literal["prompts", "expert"] = "prompts"
    cmc_targets: Literal["diag", "multi"] = "diag"

    @classmethod
    def tiny(cls) -> CARZeroConfig:
        return cls(side=128, tiny_towers=True, depth=2, mlp_dim=64, similarity=(64, 32, 16))


class CrossLayer(nn.Module):
    """A decoder layer without self-attention, pre-norm: queries never see each other."""

    def __init__(self, dim: int, heads: int, mlp_dim: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention, self.norm_mlp = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, mlp_dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(mlp_dim, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, memory: Tensor, hidden: Tensor | None = None) -> Tensor:
        """(n, q, d) and (n, k, d) to (n, q, d); `hidden` (n, k) is True for keys that are not attended to."""
        read = self.attention(
            self.norm_attention(queries), memory, memory, key_padding_mask=hidden, need_weights=False
        )[0]
        queries = queries + self.dropout(read)
        return queries + self.dropout(self.mlp(self.norm_mlp(queries)))


class CrossAlignment(nn.Module):
    """Similarity logits of all pairs of images and texts, in both directions with the same weights (section 3.3)."""

    def __init__(self, dim: int, config: CARZeroConfig) -> None:
        super().__init__()
        layers = (CrossLayer(dim, config.heads, config.mlp_dim, config.dropout) for _ in range(config.depth))
        self.layers, self.norm = nn.ModuleList(layers), nn.LayerNorm(dim)
        widths = [dim, *config.similarity]
        hidden = [m for a, b in zip(widths, widths[1:], strict=False) for m in (nn.Linear(a, b), nn.ReLU())]
        self.similarity = nn.Sequential(*hidden, nn.Linear(widths[-1], 1))

    def forward(self, image: Tensor, text: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
        """All tokens of B images and n texts to two (B, n): by texts that ask images, and by images that ask texts.

        Args:
            image: (B, 1 + m, d), the global token first.
            text: (n, 77, d).
            ends: (n,) places of the end tokens, which are the texts' global tokens; what is behind them is hidden.
        """
        places = torch.arange(text.shape[1], device=text.device)
        asked = text[torch.arange(text.shape[0], device=text.device), ends]  # (n, d)
        of_texts = self._logits(asked.expand(image.shape[0], -1, -1), image)  # (B, n)
        globals_ = image[:, 0].expand(text.shape[0], -1, -1)  # (n, B, d)
        of_images = self._logits(globals_, text, places > ends[:, None])  # (n, B)
        return of_texts, of_images.T

    def _logits(self, queries: Tensor, memory: Tensor, hidden: Tensor | None = None) -> Tensor:
        for layer in self.layers:
            queries = layer(queries, memory, hidden)
        logits: Tensor = self.similarity(self.norm(queries))[..., 0]
        return logits


class DetectionExpert(nn.Module):
    """The detection expert alone; attribution logits, which the prompts give, are zeros here."""

    def __init__(self, dim: int, num_generators: int) -> None:
        super().__init__()
        self.num_generators = num_generators
        self.detection = nn.Linear(dim, 2)

    def forward(self, embedding: Tensor) -> Output:
        zeros = embedding.new_zeros(embedding.shape[0], self.num_generators)
        return Output(zeros, self.detection(embedding), embedding)


class CARZero(CLIPBased):
    """The embedding is the image's global token; attribution compares all its tokens with the generators' prompts."""

    card = Card(
        display="CARZero",
        paper="H. Lai et al., CARZero: Cross-Attention Alignment for Radiology Zero-Shot Classification, CVPR 2024",
        year=2024,
        task="attribution",
        idea="Attention across an image and a text, not a cosine, says how well they fit.",
        added="detection expert: one linear layer on the global token",
        deviations=(
            "towers are CLIP's ViT-B/16 and its text tower with a linear layer to 768; the paper's are medical ones",
            "reports are the finest prompts (level 4), which name the generator; no language model rewrites them",
            "at test time the mean of both directions' similarities with each generator's prompt is the logit",
            "the decoder runs on a batch's distinct prompts; dropout aside, that is every pair's value",
            "starts from random weights unless weights are given",
        ),
        notes=(
            "equal captions in a batch are negatives of each other, as printed (cmc_targets=multi spreads the target)",
            "its own recipe is --recipe carzero",
            "64 drawn faces at tiny size, Adam 1e-3: 1.00 on both heads after 150 steps",
        ),
        reference="https://github.com/laihaoran/CARZero",
        weights=("openai_clip_vit_b16",),
        recipe="carzero",
    )
    Config = CARZeroConfig
    image_size = 224
    reads_class_prompts = True
    needs_prompts = True
    class_tokens: Tensor  # (k, 77) of the generators' prompts

    def __init__(
        self,
        num_generators: int,
        config: CARZeroConfig,
        weights: Path | None = None,
        class_prompts: Sequence[Sequence[str]] = (),
    ) -> None:
        clip = clip_model(config.architecture, config.side, weights, tiny=config.tiny_towers)
        image, text = ImageTokens(clip.visual), TextTokens(clip)
        super().__init__(image.width, num_generators, side=config.side)
        self.by_prompts = config.attribution == "prompts"
        if self.by_prompts and len(class_prompts) != num_generators:
            raise ConfigError("carzero compares a face with a prompt for each generator; check the prompt file")
        self.config = config
        self.image, self.text = image, text
        self.text_width = nn.Linear(text.width, image.width)
        self.alignment = CrossAlignment(image.width, config)
        kind = DetectionExpert if self.by_prompts else Experts
        self.experts = kind(image.width, num_generators)
        prompts = [row[-1] for row in class_prompts] if self.by_prompts else []
        self.register_buffer("class_tokens", tokenize(prompts), persistent=False)

    def embed(self, inputs: Inputs) -> Tensor:
        tokens: Tensor = self.image(self.prepare(inputs.images))
        return tokens[:, 0]  # (B, 768)

    def forward(self, inputs: Inputs) -> Output:
        return self._output(self.image(self.prepare(inputs.images)))

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor | LossTerm]:
        """`dfa`, `dfd` and `alignment`: symmetric cross-entropies of both directions' similarities, added.

        Raises:
            ConfigError: the batch has no prompts.
        """
        if len(batch.prompts) != len(batch.attribution):
            raise ConfigError("carzero trains on prompts, and the batch has none; check the protocol's prompt file")
        tokens = self.image(self.prepare(batch.inputs.images))  # (B, 197, 768)
        output = self._output(tokens)
        distinct, index = _distinct_prompts(tokenize([row[-1] for row in batch.prompts]), tokens.device)
        alignment = sum(
            symmetric_cross_entropy(logits[:, index].float(), targets=self.config.cmc_targets, labels=index)
            for logits in self.similarities(gather_rows(tokens), distinct)
        )
        assert isinstance(alignment, Tensor)
        return {**expert_losses(output, batch), "alignment": attribution_term(alignment)}

    def similarities(self, image: Tensor, text_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of B images and ids (n, 77) of texts to the logits (B, n) of both directions."""
        found: tuple[Tensor, Tensor] = self.alignment(
            image,
            self.text_width(self.text(text_ids)),
            text_ids.argmax(dim=-1),  # the end token has the largest id
        )
        return found

    def _output(self, tokens: Tensor) -> Output:
        output: Output = self.experts(tokens[:, 0])
        if not self.by_prompts:
            return output
        of_texts, of_images = self.similarities(tokens, self.class_tokens)
        return replace(output, attribution_logits=(of_texts + of_images) / 2)


def _distinct_prompts(ids: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids (B, 77) on the host to the distinct ones of the whole batch (n, 77), and each row's place among them.

    Found on the host, which need not wait then; of a batch that is split over processes only they together know all.
    """
    if is_split():
        ids = gather_rows(ids.to(device, non_blocking=True))
    distinct, index = ids.unique(dim=0, return_inverse=True)
    return distinct.to(device, non_blocking=True), index.to(device, non_blocking=True)
