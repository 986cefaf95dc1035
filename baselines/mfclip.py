"""MFCLIP (Zhang et al., arXiv 2409.09724): appearance and noise encoders, aligned with fine-grained prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfad_bench.core.contract import (
    Batch,
    Card,
    DFADModel,
    Inputs,
    LossTerm,
    Stage,
    WeightFiles,
    attribution_term,
    expert_losses,
)
from dfad_bench.core.parallel import gather_rows
from dfad_bench.core.weights import load_into, load_state_dict, one_file
from dfad_bench.layers.conv_stem import appearance_stem, noise_stem
from dfad_bench.layers.experts import NormExperts
from dfad_bench.layers.positions import token_positions
from dfad_bench.layers.richest_patch import richest_patch
from dfad_bench.layers.srm import SRM
from dfad_bench.layers.text import CONTEXT, VOCABULARY, prompt_tokens, row_keys
from dfad_bench.layers.transformer import Activation, PreNormTransformer, causal_mask
from dfad_bench.losses.alignment import kl_alignment
from dfad_bench.losses.contrastive import INITIAL_LOGIT_SCALE, similarity_logits, symmetric_cross_entropy


@dataclass(frozen=True)
class EncoderConfig:
    """What encoders of images and prompts share in MFCLIP and in models built from its parts; sizes of the papers."""

    side: int = 224  # H and W
    appearance_widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    noise_widths: tuple[int, int] = (32, 64)
    dim: int = 512  # of all encoders, the text and their common space
    heads: int = 8
    mlp_dim: int = 1024
    appearance_depth: int = 6
    noise_depth: int = 3
    text_dim: int = 512
    levels: int = 4  # prompts of 77 tokens, which make a text of 308
    temperature: float = 20.0  # of KL
    alpha: float = 0.5  # weight of KL; 1 - alpha that of the cross-entropy beside it
    cmc_targets: Literal["diag", "multi"] = "diag"  # "multi" spreads the target over equal captions
    legacy_scale: bool = False  # True: attention scaled as in the authors' code, the default with weights saved by it
    text_activation: Activation = "quick_gelu"  # of the text tower, as in the authors' code; earlier runs have "gelu"

    @classmethod
    def tiny(cls) -> Self:
        return cls(
            side=128,
            appearance_widths=(8, 12, 16, 24, 32),
            noise_widths=(6, 8),
            dim=32,
            heads=4,
            mlp_dim=64,
            appearance_depth=2,
            noise_depth=1,
            text_dim=16,
        )


@dataclass(frozen=True)
class MFCLIPConfig(EncoderConfig):
    """Sizes of the paper's networks."""

    text_depth: int = 12
    pairs: int = 24  # side of the sample pair attention, the paper's batch size
    grey_levels: Literal["truncated", "rounded"] = "truncated"  # of the richest patch; earlier runs have "rounded"

    @classmethod
    def tiny(cls) -> Self:
        return replace(super().tiny(), text_depth=1)


class TokenEncoder(nn.Module):
    """A feature map becomes one token; a transformer's class token is the result, (B, dim)."""

    def __init__(self, features: int, config: EncoderConfig, depth: int) -> None:
        super().__init__()
        self.to_embedding = nn.Linear(features, config.dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, config.dim))
        self.pos_embedding = nn.Parameter(torch.randn(1, 2, config.dim))
        self.transformer = PreNormTransformer(
            config.dim, depth, config.heads, config.mlp_dim, legacy_scale=config.legacy_scale
        )

    def forward(self, maps: Tensor) -> Tensor:
        token = self.to_embedding(maps.permute(0, 2, 3, 1).flatten(1))[:, None]  # (B, 1, dim)
        tokens = torch.cat([self.cls_token.expand(token.shape[0], -1, -1), token], dim=1) + self.pos_embedding
        return self.transformer(tokens)[:, 0]


class VisionEncoder(nn.Module):
    """Appearance encoder (AE) on the image plus noise encoder (NE) on its richest patch: their sum, (B, dim)."""

    def __init__(self, config: MFCLIPConfig) -> None:
        super().__init__()
        appearance, noise = config.appearance_widths, config.noise_widths
        self.features = appearance_stem(3, appearance)
        self.appearance = TokenEncoder(appearance[-1] * (config.side // 32) ** 2, config, config.appearance_depth)
        self.rounded = config.grey_levels == "rounded"
        self.srm = SRM()
        self.features_srm = noise_stem(3, noise)
        self.noise = TokenEncoder(noise[-1] * (config.side // 8) ** 2, config, config.noise_depth)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, side, side) in [0, 1]."""
        appearance = self.appearance(self.features(images))
        return appearance + self.noise(self.features_srm(self.srm(richest_patch(images, rounded=self.rounded))))


class TextEncoder(nn.Module):
    """CLIP-style text transformer over four prompts end to end, trained from scratch, idle at test time."""

    mask: Tensor

    def __init__(self, config: EncoderConfig, depth: int) -> None:
        super().__init__()
        width, length = config.text_dim, config.levels * CONTEXT
        self.levels = config.levels
        self.token_embedding = nn.Embedding(VOCABULARY, width)
        self.positional_embedding = nn.Parameter(torch.empty(length, width))
        self.transformer = PreNormTransformer(
            width, depth, config.heads, 4 * width, qkv_bias=True, activation=config.text_activation
        )
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, config.dim))
        self.register_buffer("mask", causal_mask(length), persistent=False)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.text_projection, std=width**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, levels, 77) tokens to (n, dim), read at the end token of the last prompt.

        Only there has the causal transformer seen all levels.
        """
        x = self.token_embedding(tokens.flatten(1)) + self.positional_embedding  # (n, 308, width)
        x = self.ln_final(self.transformer(x, self.mask))
        end = (self.levels - 1) * CONTEXT + tokens[:, -1].argmax(dim=-1)  # the end token has the largest id
        return x[torch.arange(len(x), device=x.device), end] @ self.text_projection


class MFCLIP(DFADModel):
    """The embedding is the L2-normalised sum of both encoders; text and pair attention serve training only."""

    card = Card(
        display="MFCLIP",
        paper="Y. Zhang et al., MFCLIP: Multi-modal Fine-grained CLIP for Generalizable Diffusion Face Forgery"
        " Detection, 2024 (arXiv 2409.09724)",
        year=2024,
        task="detection",
        idea="Appearance and noise of the richest patch are aligned with prompts from coarse to fine.",
        added="attribution expert: a second head of the detector's form (LayerNorm and one linear layer)",
        deviations=(
            "position tables are indexed by token; the released code indexes them by place in the batch",
            "text is read at the end token of the last prompt; the released code reads the first prompt's",
            "sample pair attention starts neutral (factor 1) and leaves pairs beyond its size alone",
            "images are in [0, 1] and upright; the released code transposes them on a scale to 255",
            "attention scaled by the head's width; by the full one with weights of the authors' code (legacy_scale)",
            "linear layers of the text tower start as PyTorch starts them; in the released code they start otherwise",
        ),
        reference="https://github.com/Jenine-321/MFCLIP",
        recipe="default",
    )
    Config = MFCLIPConfig
    image_size = 224
    needs_prompts = True
    earlier_defaults: ClassVar[Mapping[str, Any]] = {"text_activation": "gelu", "grey_levels": "rounded"}
    stages = (Stage("main", batch_size=24),)

    def __init__(self, num_generators: int, config: MFCLIPConfig) -> None:
        super().__init__(config.dim, num_generators, side=config.side)
        self.config = config
        self.vision = VisionEncoder(config)
        self.experts = NormExperts(config.dim, num_generators)
        self.text = TextEncoder(config, config.text_depth)
        self.predictor = nn.Linear(config.dim, config.dim)
        self.spa = nn.Parameter(torch.zeros(config.pairs, config.pairs))
        self.logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE))

    @classmethod
    def options_of(cls, weights: WeightFiles) -> Mapping[str, Any]:
        """`legacy_scale`, for an encoder that the authors' code saved."""
        return {"legacy_scale": True} if _is_theirs(_read(one_file(weights, cls.card.display))) else {}

    def load_weights(self, weights: WeightFiles) -> None:
        """A visual encoder as the authors' code saves it, alone or as `visual.*` of the whole model.

        Their public repository holds the code and no trained network. Position tables are by place in the batch, see
        `token_positions`.
        """
        path = one_file(weights, self.card.display)
        state = {}
        for key, value in _read(path).items():
            start = next((start for start in _THEIRS if key.startswith(start)), None)
            if start is not None:
                name = _THEIRS[start] + key[len(start) :]
                state[name] = token_positions(value, path) if name.endswith("pos_embedding") else value
        tables = [name for name in self.vision.state_dict() if name.endswith("pos_embedding")]
        load_into(self.vision, state, path, "an MFCLIP visual encoder", keep=tables)

    def embed(self, inputs: Inputs) -> Tensor:
        return F.normalize(self.vision(self.prepare(inputs.images)), dim=-1)  # (B, 512)

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor | LossTerm]:
        """`dfa`, `dfd`, `cmc` (pair attention on its logits), `kl`, and `kd_ce`, the attribution term KL comes with.

        Raises:
            ConfigError: the batch has no prompts, or rows with too few levels.
        """
        output = self(batch.inputs)
        text = self._text(batch)
        labels = gather_rows(
            row_keys([row[: self.config.levels] for row in batch.prompts]).to(text.device, non_blocking=True)
        )
        logits = self.pair_attention(
            similarity_logits(gather_rows(output.embedding), gather_rows(text), self.logit_scale)
        )
        losses = expert_losses(output, batch)
        kl = kl_alignment(
            self.predictor(output.embedding), text, temperature=self.config.temperature, alpha=self.config.alpha
        )
        return {
            **losses,
            "cmc": attribution_term(symmetric_cross_entropy(logits, targets=self.config.cmc_targets, labels=labels)),
            "kl": attribution_term(kl),
            "kd_ce": attribution_term(losses["dfa"], 1 - self.config.alpha),
        }

    def pair_attention(self, logits: Tensor) -> Tensor:
        """Sample pair attention (SPA): (B, B) logits times 2 sigmoid(spa); pairs beyond the matrix are left alone."""
        size = min(len(logits), len(self.spa))
        factors = 2 * self.spa[:size, :size].sigmoid()
        padding = len(logits) - size
        return logits * F.pad(factors, (0, padding, 0, padding), value=1.0)

    def _text(self, batch: Batch) -> Tensor:
        """Text features (B, dim) of each row's prompts."""
        tokens, index = prompt_tokens(batch.prompts, self.config.levels, self.spa.device)
        return self.text(tokens)[index]


_THEIRS = {  # beginnings of the names in the authors' code -> ours
    "features_SRM.": "features_srm.",
    "features.": "features.",
    "patch_to_embedding.": "appearance.to_embedding.",
    "patchsrm_to_embedding.": "noise.to_embedding.",
    "transformer_srm.": "noise.transformer.",
    "transformer.": "appearance.transformer.",
    "cls_token_rm": "noise.cls_token",
    "cls_token": "appearance.cls_token",
    "pos_embedding_srm": "noise.pos_embedding",
    "pos_embedding": "appearance.pos_embedding",
    "SRM.": "srm.",
}


def _read(path: Path) -> dict[str, Tensor]:
    return load_state_dict(path, _is_theirs)


def _is_theirs(state: Mapping[str, Tensor]) -> bool:
    return "patchsrm_to_embedding.weight" in state
