"""UniGaze: a masked autoencoder's vision transformer, pre-trained on faces, with one linear layer for the gaze.

Qin et al., "UniGaze: Towards Universal Gaze Estimation via Large-scale Pre-Training", WACV 2026. The shapes in a file
decide which transformer it holds (B/16, L/16, H/14). The transformer is timm's.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from dfad_bench.core.errors import WeightsError
from dfad_bench.gaze.estimators.base import GazeCard
from dfad_bench.gaze.estimators.loading import State, fill_module, read_family, tensors_without
from dfad_bench.gaze.estimators.network import NetworkEstimator

HEADS = {768: 12, 1024: 16, 1280: 16}  # attention heads by width: base, large, huge
_SIDE = 224


class _UniGaze(nn.Module):
    """Keys as in the published files: `vit.*` and `gaze_fc.*`."""

    def __init__(self, vit: nn.Module, features: int) -> None:
        super().__init__()
        self.vit = vit
        self.gaze_fc = nn.Linear(features, 2)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 224, 224) to (B, 2) pitch and yaw in radians."""
        return self.gaze_fc(self.vit(images))  # (B, d) -> (B, 2)


class UniGazeEstimator(NetworkEstimator):
    """ViT-B/16, L/16 or H/14 on ETH-XGaze's normalised patch."""

    name = "unigaze"
    card = GazeCard(
        display="UniGaze",
        paper="Qin et al., WACV 2026",
        idea="A masked autoencoder pre-trained on faces of many sources, fine-tuned on several gaze sets together.",
        limits="Heads turned by more than 80 degrees; slow without a GPU (H/14: 0.6 billion parameters).",
        licence="ModelGo Attribution-NC-RAI 2.0, non-commercial",
        weights=("unigaze_b16", "unigaze_l16", "unigaze_h14"),
    )

    def load(self, path: Path) -> nn.Module:
        """See `NetworkEstimator.load`; a classifier of the autoencoder in the file is ignored."""
        family, state = read_family(path, "unigaze")
        state = tensors_without(state, "vit.head.")
        with torch.device("meta"):
            network = _UniGaze(transformer(state, path), state["vit.patch_embed.proj.weight"].shape[0])
        fill_module(network, state, path, family)
        return network


def transformer(state: State, path: Path) -> nn.Module:
    """The vision transformer with the shapes of `state`, on the device "meta"."""
    from timm.models.vision_transformer import VisionTransformer

    patches = state.get("vit.patch_embed.proj.weight")
    width, patch = (patches.shape[0], patches.shape[-1]) if patches is not None and patches.ndim == 4 else (0, 0)
    if width not in HEADS or patch not in (14, 16):
        raise WeightsError(
            f"{path}: does not fit UniGaze; patches of {patch} px, {width} wide; known: 14 or 16 px,"
            f" {sorted(HEADS)} wide"
        )
    depth = len({key.split(".")[2] for key in state if key.startswith("vit.blocks.")})
    # A masked autoencoder's fine-tuned transformer ends with `fc_norm` over the mean of the patches, or with `norm`
    # over the class token.
    pool: Literal["avg", "token"] = "avg" if "vit.fc_norm.weight" in state else "token"
    with torch.device("meta"):
        return VisionTransformer(
            img_size=_SIDE,
            patch_size=patch,
            embed_dim=width,
            depth=depth,
            num_heads=HEADS[width],
            num_classes=0,
            global_pool=pool,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
        )
