"""Effort (Yan et al., ICML 2025): attention matrices keep their leading part, the residual learns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.clip_based import CLIPBased
from dfad_bench.core.contract import Batch, Card, Inputs, LossTerm
from dfad_bench.core.errors import ConfigError
from dfad_bench.layers.clip_towers import clip_model, freeze


@dataclass(frozen=True)
class EffortConfig:
    """CLIP ViT-L/14 at 224; of each matrix the `residual_rank` smallest singular triples learn.

    `constraints`: "paper" adds orthogonality and energy as its text has them; the released training code has both off.
    """

    architecture: str = "ViT-L-14-quickgelu"
    side: int = 224
    tiny_towers: bool = False
    residual_rank: int = 1
    constraints: Literal["none", "paper"] = "none"

    @classmethod
    def tiny(cls) -> EffortConfig:
        return cls(side=128, tiny_towers=True)


class ResidualLinear(nn.Module):
    """x (W_main + U_res diag(S_res) V_res)^T + b: the leading singular triples of W are fixed, the last ones learn.

    At the start it equals the linear layer it replaces, up to rounding. Nothing of it is computed
    again when a checkpoint is loaded: signs and order of singular vectors differ between processors.

    Args:
        weight: square, (d, d).
        bias: (d,), fixed.
        rank: k, singular triples that learn; 1 to d - 1.
    """

    U_start: Tensor
    V_start: Tensor
    energy_start: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, rank: int) -> None:
        super().__init__()
        U, S, V = torch.linalg.svd(weight.detach().float())  # descending; V (d, d) holds a right vector a row
        self.U_res = nn.Parameter(U[:, -rank:].clone())  # (d, k)
        self.S_res = nn.Parameter(S[-rank:].clone())  # (k,)
        self.V_res = nn.Parameter(V[-rank:].clone())  # (k, d)
        self.main = nn.Parameter((U[:, :-rank] * S[:-rank]) @ V[:-rank], requires_grad=False)  # (d, d)
        self.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
        self.register_buffer("U_start", U[:, -rank:].clone())
        self.register_buffer("V_start", V[-rank:].clone())
        self.register_buffer("energy_start", S.square().sum())

    @property
    def weight(self) -> Tensor:
        """(d, d), as it is now."""
        return self.main + (self.U_res * self.S_res) @ self.V_res

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) to (..., d)."""
        return F.linear(x, self.weight, self.bias)

    def orthogonality(self) -> Tensor:
        """Half the Frobenius norms of [U_main, U_res][U_main, U_res]^T - I and of the same for V.

        W is square, hence U_main U_main^T = I - U_start U_start^T, and neither norm needs the fixed vectors.
        """
        left = self.U_res @ self.U_res.T - self.U_start @ self.U_start.T
        right = self.V_res.T @ self.V_res - self.V_start.T @ self.V_start
        return (torch.linalg.matrix_norm(left) + torch.linalg.matrix_norm(right)) / 2

    def energy(self) -> Tensor:
        """How far the squared singular values' sum is from what it was: | ||W||_F^2 - ||W_0||_F^2 |."""
        return (self.weight.square().sum() - self.energy_start).abs()


class ResidualAttention(nn.Module):
    """Multi-head self-attention whose four matrices are `ResidualLinear`, called as the module it replaces.

    `nn.MultiheadAttention` holds queries, keys and values as one matrix: they are parted before the decomposition.
    """

    def __init__(self, attention: nn.MultiheadAttention, rank: int) -> None:
        super().__init__()
        weights = attention.in_proj_weight.chunk(3)
        biases = attention.in_proj_bias.chunk(3)
        self.heads = attention.num_heads
        self.q, self.k, self.v = (ResidualLinear(w, b, rank) for w, b in zip(weights, biases, strict=True))
        self.out = ResidualLinear(attention.out_proj.weight, attention.out_proj.bias, rank)

    def forward(self, q_x: Tensor, k_x: Tensor, v_x: Tensor, **_: object) -> tuple[Tensor, None]:
        """(B, n, d) tokens to (B, n, d); no mask, as image towers have none."""
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, n, d / heads)
            for layer, x in ((self.q, q_x), (self.k, k_x), (self.v, v_x))
        )
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)), None


class Effort(CLIPBased):
    """Frozen CLIP ViT-L/14; of its 96 attention matrices only the smallest singular triple learns (0.197 M)."""

    card = Card(
        display="Effort",
        paper=(
            "Z. Yan et al., Orthogonal Subspace Decomposition for Generalizable AI-Generated Image Detection, ICML 2025"
            " (arXiv 2411.15633)"
        ),
        year=2025,
        task="detection",
        idea="What CLIP knows is kept in leading singular vectors; forgery is learned in the space they leave free.",
        added="attribution expert: one linear layer beside the detector's, on the 1024-d class token",
        deviations=(
            "constraints (orthogonality, energy) are off, as in the released training code; constraints=paper has them",
            "starts from random weights unless weights are given; the paper starts from OpenAI's",
            "no augmentation unless a recipe has it (--recipe effort)",
        ),
        notes=(
            "A checkpoint holds the fixed part of each matrix, 0.4 GB at the paper's size.",
            "Attention computes each matrix anew from its two parts in every pass.",
        ),
        reference="https://github.com/YZY-stack/Effort-AIGI-Detection",
        reference_licence="CC BY-NC 4.0",
        weights=("openai_clip_vit_l14",),
        recipe="effort",
    )
    Config = EffortConfig
    image_size = 224

    def __init__(self, num_generators: int, config: EffortConfig, weights: Path | None = None) -> None:
        visual = clip_model(config.architecture, config.side, weights, tiny=config.tiny_towers).visual
        blocks = getattr(getattr(visual, "transformer", None), "resblocks", ())
        if not blocks or not isinstance(getattr(blocks[0], "attn", None), nn.MultiheadAttention):
            raise ConfigError(f"options of {self.card.display}: architecture must be a CLIP with a plain ViT")
        width = blocks[0].attn.embed_dim
        if not 1 <= config.residual_rank < width:
            raise ConfigError(
                f"options of {self.card.display}: residual_rank must be 1 to {width - 1}, got {config.residual_rank}"
            )
        super().__init__(width, num_generators, side=config.side)
        self.config, self.constraints = config, config.constraints
        visual.proj = None  # the class token before the projection (1024-d) is the feature
        self.visual = freeze(visual)
        for block in blocks:
            block.attn = ResidualAttention(block.attn, config.residual_rank)

    def embed(self, inputs: Inputs) -> Tensor:
        return cast(Tensor, self.visual(self.prepare(inputs.images)))  # (B, 1024)

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor | LossTerm]:
        """`dfa`, `dfd`; with `constraints` also `orthogonality` and `energy`, means over the matrices, of no labels."""
        losses = dict(super().losses(batch, stage))
        if self.constraints == "paper":
            layers = [module for module in self.visual.modules() if isinstance(module, ResidualLinear)]
            losses["orthogonality"] = torch.stack([layer.orthogonality() for layer in layers]).mean()
            losses["energy"] = torch.stack([layer.energy() for layer in layers]).mean()
        return losses
