"""Forensics Adapter (Cui et al., CVPR 2025): a network beside a frozen CLIP finds where blending ends and steers it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.clip_based import CLIPBased
from dfad_bench.core.contract import (
    Batch,
    Card,
    Inputs,
    LossTerm,
    Output,
    attribution_term,
    detection_term,
    expert_losses,
)
from dfad_bench.core.errors import ConfigError
from dfad_bench.layers.clip_tokens import ImageTokens
from dfad_bench.layers.clip_towers import clip_model, freeze
from dfad_bench.layers.transformer import PreNormTransformer
from dfad_bench.losses.patch_contrast import kind_contrast, patch_contrast


@dataclass(frozen=True)
class ForensicsAdapterConfig:
    """Sizes of the paper; what it and its authors leave open is at the end. Layers of CLIP are counted from 1."""

    architecture: str = "ViT-L-14-quickgelu"
    clip_side: int = 224
    tiny_towers: bool = False
    side: int = 256
    patch: int = 16
    dim: int = 192
    depth: int = 8
    heads: int = 3
    queries: int = 128
    fused: tuple[int, ...] = (1, 8, 15)  # layers of CLIP that enter the adapter after its blocks 1, 2, 3
    fusion_weight: float = 0.01
    hidden: int = 256
    embed: int = 128
    bottleneck_after: int = 7  # layer of CLIP
    bottleneck: int = 192
    bottleneck_weight: float = 0.05
    features: tuple[int, int] = (384, 192)  # behind CLIP's 768 numbers; the experts read the last
    temperature: float = 0.5
    expert_weight: float = 10.0  # weights of the losses
    boundary_weight: float = 200.0
    intra_weight: float = 20.0
    clip_weight: float = 10.0

    copies_after: int = 15  # layer of CLIP whose class token is copied; the copies run through those behind it
    blur: float = 5.0  # deviation of the mask's blur, pixels of `side`
    forged_share: float = 0.5  # of a patch's pixels, from which on it counts as forged

    def __post_init__(self) -> None:
        if self.side % self.patch:
            raise ValueError(f"side {self.side} must be a multiple of patch {self.patch}")
        if self.dim % self.heads or self.queries % 4:
            raise ValueError(f"dim must be a multiple of heads and queries of 4, got {self.dim} and {self.queries}")
        if len(self.fused) > self.depth or min((*self.fused, self.bottleneck_after, self.copies_after)) < 1:
            raise ValueError(
                "fused, bottleneck_after and copies_after are layers from 1 on, fused at most `depth` many"
            )
        if max(self.fused) > self.copies_after or self.bottleneck_after > self.copies_after:
            raise ValueError("copies_after must not be below the layers of fused and bottleneck_after")

    @classmethod
    def tiny(cls) -> ForensicsAdapterConfig:
        return cls(
            clip_side=128, tiny_towers=True, side=128, dim=24, depth=2, queries=16, fused=(1,), hidden=32, embed=16,
            features=(64, 32), bottleneck_after=1, bottleneck=16, copies_after=1,
        )  # fmt: skip


class Fusion(nn.Module):
    """A map of CLIP's patches to the adapter's width: norm over channels, 1x1 convolution, weight 0.01."""

    def __init__(self, width: int, dim: int, weight: float) -> None:
        super().__init__()
        self.norm, self.conv, self.weight = nn.LayerNorm(width), nn.Conv2d(width, dim, 1), weight

    def forward(self, patches: Tensor, grid: int) -> Tensor:
        """CLIP's patches (B, m, width) to tokens (B, grid², dim)."""
        side = round(patches.shape[1] ** 0.5)
        maps = self.conv(self.norm(patches).transpose(1, 2).unflatten(2, (side, side)))
        if side != grid:
            maps = F.interpolate(maps, (grid, grid), mode="bilinear", align_corners=False)
        return self.weight * maps.flatten(2).transpose(1, 2)


class Adapter(nn.Module):
    """A ViT-tiny with learned queries before its patches, to which layers of CLIP are added after its first blocks."""

    def __init__(self, width: int, config: ForensicsAdapterConfig) -> None:
        super().__init__()
        self.grid, dim = config.side // config.patch, config.dim
        self.queries = nn.Parameter(torch.randn(1, config.queries, dim) * 0.02)
        self.patches = nn.Conv2d(3, dim, config.patch, config.patch)
        self.positions = nn.Parameter(torch.randn(1, self.grid**2, dim) * 0.02)
        self.transformer = PreNormTransformer(dim, config.depth, config.heads, 4 * dim, qkv_bias=True)
        self.fusions = nn.ModuleList(Fusion(width, dim, config.fusion_weight) for _ in config.fused)

    def forward(self, images: Tensor, clip_layers: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Images (B, 3, side, side), CLIP's patches after the fused layers: to queries (B, q, d), patches (B, m, d)."""
        patches = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        count = self.queries.shape[1]
        x = torch.cat([self.queries.expand(images.shape[0], -1, -1), patches], dim=1)
        for number, block in enumerate(self.transformer.layers):
            attention, mlp = tuple(block.children())
            x = mlp(attention(x))
            if number < len(self.fusions):
                added = self.fusions[number](clip_layers[number], self.grid)
                x = torch.cat([x[:, :count], x[:, count:] + added], dim=1)
        return x[:, :count], x[:, count:]


def _perceptron(dim: int, hidden: int, out: int) -> nn.Sequential:
    """Three layers; on tokens it is what 1x1 convolutions are on maps."""
    return nn.Sequential(
        nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, out)
    )


class MaskDecoder(nn.Module):
    """Queries and patches to the blending boundary and, for each head of CLIP, to where each copy shall look."""

    def __init__(self, clip_heads: int, config: ForensicsAdapterConfig) -> None:
        super().__init__()
        dim, hidden, embed = config.dim, config.hidden, config.embed
        self.grid, self.heads = config.side // config.patch, clip_heads
        self.query, self.xray = _perceptron(dim, hidden, embed), _perceptron(dim, hidden, embed)
        self.attention = _perceptron(dim, hidden, embed * clip_heads)
        half = config.queries // 2
        self.head = nn.Sequential(
            nn.Conv2d(config.queries, half, 3, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(half, 1, config.patch, config.patch),
        )

    def forward(self, queries: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """(B, q, d) and (B, m, d) to boundary logits (B, 1, side, side) and biases (B, heads, q, m)."""
        query = self.query(queries)  # (B, q, e)
        maps = (query @ self.xray(patches).transpose(1, 2)).unflatten(2, (self.grid, self.grid))  # (B, q, grid, grid)
        keys = self.attention(patches).unflatten(2, (self.heads, -1)).permute(0, 2, 3, 1)  # (B, heads, e, m)
        return self.head(maps), query[:, None] @ keys


class ForensicsAdapter(CLIPBased):
    """Copies of CLIP's class token read its patches as the adapter says; both experts read what they found.

    Losses beside the experts', on faces that have a forgery mask: `boundary`, `intra` and `clip_patches`.
    """

    card = Card(
        display="FA",
        paper="X. Cui et al., Forensics Adapter: Adapting CLIP for Generalizable Face Forgery Detection, CVPR 2025",
        year=2025,
        task="detection",
        idea="An adapter that learns where forged faces were blended in tells a frozen CLIP where to look.",
        added="attribution expert: a second last layer beside the detector's, on its 192 numbers",
        deviations=(
            "forgery masks are a view for training: all of an entirely synthesized face, none of a real one, else where"
            " it differs from its real face; a face without a mask has the experts' losses alone",
            "the fusion layers are registered and learn (0.60 M); the authors' code makes them anew at every call",
            "the adapter starts from random weights",
            "copies start behind the last fused layer; blur of the mask, share of a forged patch and the boundary head"
            " are ours (copies_after, blur, forged_share)",
            "both experts' cross-entropies have the weight 10 of the paper's own",
            "starts from random weights unless weights are given; the paper starts from OpenAI's",
        ),
        notes=(
            "its own recipe is --recipe forensics_adapter",
            "64 drawn faces at tiny size, Adam 1e-3, whole masks: 0.97 and 1.00 after 450 steps (not at 3e-3)",
        ),
        reference="https://github.com/OUC-VAS/ForensicsAdapter",
        reference_licence="CC-BY-NC-4.0",
        weights=("openai_clip_vit_l14",),
        recipe="forensics_adapter",
    )
    Config = ForensicsAdapterConfig
    image_size = 256
    needs_training = ("forgery_mask",)
    missing_views = {"forgery_mask": "only the experts' losses"}

    def __init__(self, num_generators: int, config: ForensicsAdapterConfig, weights: Path | None = None) -> None:
        clip = clip_model(config.architecture, config.clip_side, weights, tiny=config.tiny_towers)
        visual, wide = ImageTokens(clip.visual), clip.visual.output_dim
        if config.copies_after >= len(visual.blocks):
            raise ConfigError(
                f"copies_after must be below CLIP's {len(visual.blocks)} layers, got {config.copies_after}"
            )
        super().__init__(config.features[1], num_generators, side=config.side)
        self.config = config
        self.clip = freeze(visual)
        self.clip_projection = nn.Parameter(clip.visual.proj.detach(), requires_grad=False)
        self.adapter = Adapter(visual.width, config)
        self.decoder = MaskDecoder(visual.blocks[0].attn.num_heads, config)
        self.bottleneck = nn.Sequential(
            nn.Linear(visual.width, config.bottleneck), nn.ReLU(), nn.Linear(config.bottleneck, visual.width)
        )
        q = config.queries
        self.pool = nn.Sequential(
            nn.Conv1d(q, q // 2, 1), nn.ReLU(), nn.Conv1d(q // 2, q // 4, 1), nn.ReLU(), nn.Conv1d(q // 4, 1, 1)
        )
        first, second = config.features
        self.features = nn.Sequential(nn.Linear(wide, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU())

    def embed(self, inputs: Inputs) -> Tensor:
        return self.traces(inputs)[0]

    def traces(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The embedding (B, 192), boundary logits (B, 1, side, side), patches of the adapter and of CLIP.

        The patches are (B, m, 192), after the last block, and (B, m, 1024), behind the bottleneck.
        """
        images = self.prepare(inputs.images)
        x, fused, patches_behind = self._shallow(images)
        queries, patches = self.adapter(images, fused)
        boundary, bias = self.decoder(queries, patches)
        copies = self._deep(x, bias) @ self.clip_projection  # (B, 128, 768)
        embedding: Tensor = self.features(self.pool(copies)[:, 0])
        return embedding, boundary, patches, patches_behind

    def _shallow(self, images: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """CLIP up to where copies are made: tokens, the patches of the fused layers, those behind the bottleneck."""
        config, side = self.config, self.config.clip_side
        if images.shape[-1] != side:
            images = F.interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False)
        x = self.clip.embedded(images)
        fused: dict[int, Tensor] = {}
        behind = x[:, 1:]
        for layer, block in enumerate(self.clip.blocks[: config.copies_after], start=1):
            x = block(x)
            if layer == config.bottleneck_after:
                x = torch.cat([x[:, :1], x[:, 1:] + config.bottleneck_weight * self.bottleneck(x[:, 1:])], dim=1)
                behind = x[:, 1:]
            if layer in config.fused:
                fused[layer] = x[:, 1:]
        return x, [fused[layer] for layer in config.fused], behind

    def _deep(self, x: Tensor, bias: Tensor) -> Tensor:
        """The copies after CLIP's last layer and norm, (B, q, width).

        Copies see the patches and nothing else; class token and patches do not see the copies.
        """
        heads, queries, keys = bias.shape[1:]
        grid, clip_grid = round(keys**0.5), round((x.shape[1] - 1) ** 0.5)
        if grid != clip_grid:
            maps = F.interpolate(bias.flatten(1, 2).unflatten(2, (grid, grid)), (clip_grid, clip_grid), mode="bilinear")
            bias = maps.flatten(2).unflatten(1, (heads, queries))
        mask = bias.flatten(0, 1)  # (B heads, q, m)
        copies = x[:, :1].expand(-1, queries, -1)
        for block in self.clip.blocks[self.config.copies_after :]:
            copies = _read_patches(block, copies, x[:, 1:], mask)
            x = block(x)
        found: Tensor = self.clip.ln_post(copies)
        return found

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor | LossTerm]:
        """`dfa` and `dfd` with the paper's weight 10; `boundary`, `intra` and `clip_patches` of faces with a mask.

        Raises:
            ConfigError: the view forgery_mask is missing.
        """
        mask = batch.views.get("forgery_mask")
        if not isinstance(mask, Tensor):
            raise ConfigError("forensics_adapter trains on the view 'forgery_mask', and the batch has none")
        config, has = self.config, batch.has("forgery_mask")
        embedding, boundary, patches, clip_patches = self.traces(batch.inputs)
        output: Output = self.experts(embedding)
        experts = expert_losses(output, batch)
        masks = torch.where(has[:, None, None, None], self._sized_masks(mask), 0.0)  # (B, 1, side, side)
        expected = blending_boundary(masks, config.blur)
        error = has * ((boundary.float().sigmoid() - expected) ** 2).mean(dim=(1, 2, 3))  # (B,)
        forged = self._forged_patches(masks, patches.shape[1]), self._forged_patches(masks, clip_patches.shape[1])
        contrast = patch_contrast(clip_patches, forged[1], config.temperature, has)
        across = kind_contrast(clip_patches, forged[1], config.temperature, has)
        return {
            "dfa": attribution_term(experts["dfa"], config.expert_weight),
            "dfd": detection_term(experts["dfd"], config.expert_weight),
            "boundary": detection_term(error.sum() / has.sum().clamp(min=1), config.boundary_weight),
            "intra": detection_term(patch_contrast(patches, forged[0], config.temperature, has), config.intra_weight),
            "clip_patches": detection_term(contrast + across, config.clip_weight),
        }

    def _sized_masks(self, masks: Tensor) -> Tensor:
        side = (self.config.side, self.config.side)
        return masks.float() if masks.shape[-2:] == side else F.interpolate(masks.float(), side, mode="nearest-exact")

    def _forged_patches(self, masks: Tensor, count: int) -> Tensor:
        """(n, count) bool: patches of whose pixels a share is forged."""
        grid = round(count**0.5)
        return F.adaptive_avg_pool2d(masks, grid).flatten(1) >= self.config.forged_share

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.clip.eval()
        return self


def _read_patches(block: Any, copies: Tensor, patches: Tensor, bias: Tensor) -> Tensor:
    """A block of CLIP on copies (B, q, w) of its class token, which attend to patches (B, m, w), with biases."""
    keys = block.ln_1(patches)
    copies = copies + block.ls_1(block.attention(q_x=block.ln_1(copies), k_x=keys, v_x=keys, attn_mask=bias))
    found: Tensor = copies + block.ls_2(block.mlp(block.ln_2(copies)))
    return found


def blending_boundary(masks: Tensor, deviation: float) -> Tensor:
    """4 m (1 - m) of masks (n, 1, H, W) in {0, 1} after a Gaussian blur: 1 where a forgery ends, 0 inside and outside.

    The picture's edge repeats, so that a face forged as a whole has no boundary.
    """
    reach = int(3 * deviation + 0.5)
    places = torch.arange(-reach, reach + 1, device=masks.device, dtype=masks.dtype)
    kernel = torch.exp(-(places**2) / (2 * deviation**2))
    kernel = kernel / kernel.sum()
    padded = F.pad(masks, [reach] * 4, mode="replicate")
    blurred = F.conv2d(F.conv2d(padded, kernel[None, None, :, None]), kernel[None, None, None])
    return 4 * blurred * (1 - blurred)
