"""Names of ViT state dicts in the layouts that people have, as those of `baselines.vit`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

_OURS = {
    "norm1": "0.fn.norm.",
    "qkv": "0.fn.fn.to_qkv.",
    "out": "0.fn.fn.to_out.",
    "norm2": "1.fn.norm.",
    "up": "1.fn.fn.net.0.",
    "down": "1.fn.fn.net.2.",
}


@dataclass(frozen=True)
class Layout:
    """How one library names a ViT.

    `block` matches the beginning of a name in a block, its group the block's number; `parts` are the beginnings that
    follow, by keys of `_OURS`; `others` the names outside blocks; `heads` what is left out. `options` are those the
    network was trained with.
    """

    name: str
    mark: str  # a name that only this layout has
    block: str
    parts: dict[str, tuple[str, ...]]
    others: dict[str, str]
    heads: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)


_PLAIN = {"qkv_bias": True, "patch_norm": False}
LAYOUTS = (
    Layout(
        name="timm",
        mark="patch_embed.proj.weight",
        block=r"blocks\.(\d+)\.",
        parts={"norm1": ("norm1.",), "qkv": ("attn.qkv.",), "out": ("attn.proj.",), "norm2": ("norm2.",),
               "up": ("mlp.fc1.",), "down": ("mlp.fc2.",)},
        others={"patch_embed.proj.": "patch.linear.", "pos_embed": "pos_embedding", "cls_token": "cls_token",
                "norm.": "norm."},
        heads=("head.", "head_dist.", "fc_norm.", "pre_logits."),
        options={**_PLAIN, "norm_eps": 1e-6},
    ),
    Layout(
        name="torchvision",
        mark="conv_proj.weight",
        block=r"encoder\.layers\.encoder_layer_(\d+)\.",
        parts={"norm1": ("ln_1.",), "qkv": ("self_attention.in_proj_",), "out": ("self_attention.out_proj.",),
               "norm2": ("ln_2.",), "up": ("mlp.0.", "mlp.linear_1."), "down": ("mlp.3.", "mlp.linear_2.")},
        others={"conv_proj.": "patch.linear.", "encoder.pos_embedding": "pos_embedding", "class_token": "cls_token",
                "encoder.ln.": "norm."},
        heads=("heads.",),
        options={**_PLAIN, "norm_eps": 1e-6, "statistics": "imagenet"},
    ),
    Layout(
        name="Hugging Face",
        mark="embeddings.patch_embeddings.projection.weight",
        block=r"encoder\.layer\.(\d+)\.",
        parts={"norm1": ("layernorm_before.",), "qkv": ("attention.attention.qkv.",),
               "out": ("attention.output.dense.",), "norm2": ("layernorm_after.",), "up": ("intermediate.dense.",),
               "down": ("output.dense.",)},
        others={"embeddings.patch_embeddings.projection.": "patch.linear.",
                "embeddings.position_embeddings": "pos_embedding", "embeddings.cls_token": "cls_token",
                "layernorm.": "norm."},
        heads=("pooler.", "classifier."),
        options={**_PLAIN, "norm_eps": 1e-12},
    ),
    Layout(
        name="vit-pytorch",
        mark="to_patch_embedding.2.weight",
        block=r"transformer\.layers\.(\d+)\.",
        parts={"norm1": ("0.norm.",), "qkv": ("0.to_qkv.",), "out": ("0.to_out.0.",), "norm2": ("1.net.0.",),
               "up": ("1.net.1.",), "down": ("1.net.4.",)},
        others={"to_patch_embedding.1.": "patch.before.", "to_patch_embedding.2.": "patch.linear.",
                "to_patch_embedding.3.": "patch.after.", "pos_embedding": "pos_embedding", "cls_token": "cls_token",
                "transformer.norm.": "norm."},
        heads=("mlp_head.",),
    ),
)  # fmt: skip


def layout_of(state: Mapping[str, Tensor]) -> Layout | None:
    """The layout of a state dict; None where it is no ViT of a known one."""
    return next((layout for layout in LAYOUTS if layout.mark in state), None)


def translated(state: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """A state dict by our names: heads left out, query, key and value one matrix, patch kernels as rows of a matrix.

    Names that the layout does not know keep theirs.
    """
    return {
        new: _as_matrix(value) if new == "patch.linear.weight" else value
        for name, value in _joined(state).items()
        if not name.startswith(layout.heads)
        for new in (_translated_name(name, layout),)
    }


def _translated_name(name: str, layout: Layout) -> str:
    found = re.match(layout.block, name)
    if found:
        rest = name[found.end() :]
        for part, starts in layout.parts.items():
            for start in starts:
                if rest.startswith(start):
                    return f"transformer.layers.{found[1]}.{_OURS[part]}{rest[len(start) :]}"
        return name
    for start, ours in layout.others.items():
        if name == start or (start.endswith(".") and name.startswith(start)):
            return ours + name[len(start) :]
    return name


def _as_matrix(kernel: Tensor) -> Tensor:
    """A kernel (d, 3, p, p) as a matrix (d, p * p * 3), in the order patches are flattened in; a matrix as it is."""
    return kernel.permute(0, 2, 3, 1).flatten(1) if kernel.ndim == 4 else kernel


def _joined(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """With Hugging Face's query, key and value of a layer joined under one name."""
    kinds = ("query", "key", "value")
    joined = {}
    for name, value in state.items():
        if ".query." in name:
            rows = [state.get(name.replace(".query.", f".{kind}.")) for kind in kinds]
            if all(row is not None for row in rows):
                joined[name.replace(".query.", ".qkv.")] = torch.cat([row for row in rows if row is not None])
                continue
        if any(f".{kind}." in name for kind in kinds[1:]):
            continue
        joined[name] = value
    return joined
