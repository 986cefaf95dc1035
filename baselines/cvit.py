"""CViT (Wodajo and Atnafu, arXiv 2102.11126): a convolutional stem, then a plain transformer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dfad_bench.core.contract import Card, DFADModel, Inputs, Output, WeightFiles
from dfad_bench.core.weights import load_into, load_state_dict, one_file
from dfad_bench.layers.conv_stem import appearance_stem
from dfad_bench.layers.positions import token_positions
from dfad_bench.layers.transformer import PreNormTransformer

_STRIDE = 32
_TABLE = "pos_embedding"


@dataclass(frozen=True)
class CViTConfig:
    """The paper's section 3.2; one 7x7 patch of the feature map is the only token beside the class token."""

    side: int = 224
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    dim: int = 1024
    depth: int = 6
    heads: int = 8
    mlp_dim: int = 2048
    head_dim: int = 2048  # hidden width of each expert
    legacy_scale: bool = False  # True: attention scaled as in the released weights, with which it is the default

    @classmethod
    def tiny(cls) -> CViTConfig:
        return cls(side=128, widths=(8, 12, 16, 24, 32), dim=48, depth=2, heads=4, mlp_dim=96, head_dim=64)


class MLPExperts(nn.Module):
    """Both experts in CViT's own head form: Linear, ReLU, Linear."""

    def __init__(self, dim: int, hidden: int, num_generators: int) -> None:
        super().__init__()
        self.attribution = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, num_generators))
        self.detection = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, 2))

    def forward(self, embedding: Tensor) -> Output:
        return Output(self.attribution(embedding), self.detection(embedding), embedding)


class CViT(DFADModel):
    """Features of a VGG-like stem become one token; a transformer's class token is the embedding."""

    card = Card(
        display="CViT",
        paper="D. Wodajo and S. Atnafu, Deepfake Video Detection Using Convolutional Vision Transformer, 2021",
        year=2021,
        task="detection",
        idea="A convolutional stem extracts features that a vision transformer weighs.",
        added="attribution expert: a second head of the detector's form (1024-2048-ReLU-k)",
        deviations=(
            "position table has the two rows that are used; the released one has 1025",
            "attention logits scaled by the head's width; with released weights by the full one (option legacy_scale)",
            "no augmentation, as the benchmark trains every model",
        ),
        notes=(
            "accuracy dips for some steps while the training loss falls (64 faces, constant rate 1e-3: 0.80 where the"
            " batch's own statistics give 0.97): running means of its 17 batch norms, of some ten batches, lag behind"
            " weights that move fast; it goes as the rate falls, so judge it at the end of a schedule",
        ),
        reference="https://github.com/erprogs/CViT",
        reference_licence="GPL-3.0",
        recipe="cvit",
    )
    Config = CViTConfig
    image_size = 224
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(self, num_generators: int, config: CViTConfig) -> None:
        super().__init__(config.dim, num_generators, side=config.side)
        grid = config.side // _STRIDE
        self.features = appearance_stem(3, config.widths)
        self.patch_to_embedding = nn.Linear(config.widths[-1] * grid**2, config.dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, config.dim))
        self.pos_embedding = nn.Parameter(torch.randn(1, 2, config.dim))
        self.transformer = PreNormTransformer(
            config.dim, config.depth, config.heads, config.mlp_dim, legacy_scale=config.legacy_scale
        )
        self.experts = MLPExperts(config.dim, config.head_dim, num_generators)

    @classmethod
    def options_of(cls, weights: WeightFiles) -> Mapping[str, Any]:
        """`legacy_scale` for released networks: those whose position table has more rows than are used."""
        table = _read(one_file(weights, cls.card.display)).get(_TABLE)
        return {"legacy_scale": True} if table is not None and table.shape[:2] != (1, 2) else {}

    def load_weights(self, weights: WeightFiles) -> None:
        """A state dict in a released layout; its two-way head is left out, its position table cut to two rows.

        The first release has a table by place in the batch, see `token_positions`.
        """
        path = one_file(weights, self.card.display)
        state = {key: value for key, value in _read(path).items() if not key.startswith("mlp_head.")}
        if _TABLE in state:
            state[_TABLE] = token_positions(state[_TABLE], path)
        heads = [name for name in self.state_dict() if name.startswith("experts.")]
        load_into(self, state, path, "a CViT state dict", keep=heads)

    def embed(self, inputs: Inputs) -> Tensor:
        maps = self.features(self.prepare(inputs.images))  # (B, 512, 7, 7)
        patch = maps.permute(0, 2, 3, 1).flatten(1)[:, None]  # (B, 1, 7*7*512)
        token = self.patch_to_embedding(patch)  # (B, 1, 1024)
        tokens = torch.cat([self.cls_token.expand(token.shape[0], -1, -1), token], dim=1) + self.pos_embedding
        return self.transformer(tokens)[:, 0]  # (B, 1024)


def _read(path: Path) -> dict[str, Tensor]:
    return load_state_dict(path, lambda state: {"patch_to_embedding.weight", "cls_token"} <= state.keys())
