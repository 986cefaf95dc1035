"""ViT (Dosovitskiy et al., ICLR 2021): an image as a sequence of patches, read by a plain transformer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from baselines.vit_layouts import Layout, layout_of, translated
from dfad_bench.core.contract import Card, DFADModel, Inputs, WeightFiles
from dfad_bench.core.errors import WeightsError
from dfad_bench.core.weights import load_into, load_state_dict, one_file
from dfad_bench.layers.transformer import PreNormTransformer

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class ViTConfig:
    """ViT-B/16. The last four are of the network that was counted; those of pre-trained files follow from the file."""

    side: int = 224
    patch: int = 16
    dim: int = 768
    depth: int = 12
    heads: int = 12
    mlp_dim: int = 3072
    qkv_bias: bool = False  # of query, key and value
    patch_norm: bool = True  # LayerNorm before and after the patch embedding
    norm_eps: float = 1e-5
    statistics: Literal["half", "imagenet"] = "half"  # pixels are normalised with mean and deviation 0.5, or ImageNet's

    @classmethod
    def tiny(cls) -> ViTConfig:
        return cls(side=128, dim=48, depth=2, heads=4, mlp_dim=96)


class PatchEmbedding(nn.Module):
    """Patches in reading order, each flattened pixel by pixel with its colours, then linear: (B, n, dim)."""

    def __init__(self, patch: int, dim: int, *, norm: bool) -> None:
        super().__init__()
        self.patch = patch
        self.before: nn.Module = nn.LayerNorm(3 * patch**2) if norm else nn.Identity()
        self.linear = nn.Linear(3 * patch**2, dim)
        self.after: nn.Module = nn.LayerNorm(dim) if norm else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        rows = images.unflatten(3, (-1, self.patch)).unflatten(2, (-1, self.patch))  # (B, 3, n, p, m, p)
        patches = rows.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)  # (B, n * m, p * p * 3)
        return self.after(self.linear(self.before(patches)))


class ViT(DFADModel):
    """Embedded patches and a class token with learned positions; the class token is the embedding."""

    card = Card(
        display="ViT",
        paper="A. Dosovitskiy et al., An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale,"
        " ICLR 2021",
        year=2021,
        task="detection",
        idea="An image is cut into patches, and a plain transformer relates them to each other.",
        added="attribution expert: one linear layer, as the detector's",
        deviations=(
            "B/16 without bias on queries, keys and values and with norms around the patch embedding, as in the library"
            " vit-pytorch, which the published count implies; with weights of another library it is built as in that",
            "224 pixels, normalised with mean and deviation 0.5; ImageNet's statistics with torchvision's weights",
            "no dropout and no augmentation, as the benchmark trains every model",
        ),
        notes=("the tables do not say whether it started from pre-trained weights; a ViT needs them on little data",),
        reference="https://github.com/lucidrains/vit-pytorch",
        reference_licence="MIT",
        weights=("imagenet_vit_b16",),
        no_recipe="its paper trains on ImageNet and JFT, and none of theirs for deepfakes is known",
    )
    Config = ViTConfig
    image_size = 224
    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)

    def __init__(self, num_generators: int, config: ViTConfig) -> None:
        super().__init__(config.dim, num_generators, side=config.side)
        self.statistics = config.statistics
        self.patch = PatchEmbedding(config.patch, config.dim, norm=config.patch_norm)
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, config.dim))
        self.pos_embedding = nn.Parameter(0.02 * torch.randn(1, (config.side // config.patch) ** 2 + 1, config.dim))
        self.transformer = PreNormTransformer(
            config.dim, config.depth, config.heads, config.mlp_dim, qkv_bias=config.qkv_bias
        )
        self.norm = nn.LayerNorm(config.dim)
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = config.norm_eps

    @classmethod
    def options_of(cls, weights: WeightFiles) -> Mapping[str, Any]:
        """How the library that a file is from builds its ViT: biases, norms, statistics of pixels."""
        return _read(one_file(weights, cls.card.display))[1].options

    def load_weights(self, weights: WeightFiles) -> None:
        """A ViT of these sizes in the layout of timm, torchvision, Hugging Face or vit-pytorch; heads are left out."""
        path = one_file(weights, self.card.display)
        state, layout = _read(path)
        kept = [name for name in self.state_dict() if name.startswith("experts.")]
        load_into(self, translated(state, layout), path, f"a ViT state dict of {layout.name}", keep=kept)

    def prepare(self, images: Tensor) -> Tensor:
        """As every model does; with ImageNet's statistics where the settings say so."""
        half = super().prepare(images)
        if self.statistics == "half":
            return half
        mean, std = (half.new_tensor(values)[:, None, None] for values in _IMAGENET)
        return (half * 0.5 + 0.5 - mean) / std

    def embed(self, inputs: Inputs) -> Tensor:
        patches = self.patch(self.prepare(inputs.images))  # (B, 196, 768)
        tokens = torch.cat([self.cls_token.expand(patches.shape[0], -1, -1), patches], dim=1) + self.pos_embedding
        return self.norm(self.transformer(tokens)[:, 0])  # (B, 768)


def _read(path: Path) -> tuple[dict[str, Tensor], Layout]:
    """A file's tensors and whose layout they have.

    Raises:
        WeightsError: a layout that is not known.
    """
    state = load_state_dict(path, lambda names: layout_of(names) is not None)
    layout = layout_of(state)
    if layout is None:
        raise WeightsError(f"{path}: not a ViT state dict of timm, torchvision, Hugging Face or vit-pytorch")
    return state, layout
