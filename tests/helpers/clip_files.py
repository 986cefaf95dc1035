"""Small CLIP files in the layouts people have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dfad_bench.layers.clip_towers import clip_model

SAVED_LAYOUTS = (  # the fast suite reads the one that differs most
    pytest.param("open_clip", marks=pytest.mark.heavy),
    pytest.param("openai", marks=pytest.mark.heavy),
    "transformers",
)


def save_clip(folder: Path, layout: str, *, side: int) -> tuple[Path, dict[str, Tensor]]:
    """A tiny CLIP for images of `side` as a file of one of `SAVED_LAYOUTS`; its path, and open_clip's tensors."""
    state = torch.random.get_rng_state()
    torch.manual_seed(7)
    towers = dict(clip_model(tiny=True, image_size=side).state_dict())
    torch.random.set_rng_state(state)
    path = folder / f"clip-quickgelu-{layout}.pt"
    saved = {"transformers": transformers_layout, "openai": openai_layout}.get(layout, dict)(towers)
    torch.save(saved, path)
    return path, towers


def openai_layout(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's names: open_clip's, and three numbers."""
    numbers = {"input_resolution": 224, "context_length": 77, "vocab_size": 49408}
    return {**state, **{name: torch.tensor(value) for name, value in numbers.items()}}


def transformers_layout(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The names and shapes that Hugging Face's CLIPModel saves (its position ids, too, as older versions did)."""
    found = {
        "logit_scale": state["logit_scale"],
        "text_projection.weight": state["text_projection"].T,
        "visual_projection.weight": state["visual.proj"].T,
        "text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
        "text_model.embeddings.position_ids": torch.arange(77)[None],
        "vision_model.embeddings.class_embedding": state["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": state["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": state["visual.positional_embedding"],
        "vision_model.embeddings.position_ids": torch.arange(len(state["visual.positional_embedding"]))[None],
    }
    norms = {
        "text_model.final_layer_norm": "ln_final",
        "vision_model.pre_layrnorm": "visual.ln_pre",
        "vision_model.post_layernorm": "visual.ln_post",
    }
    for tower, blocks in (("text_model", "transformer"), ("vision_model", "visual.transformer")):
        for layer in range(2):
            theirs, ours = f"{tower}.encoder.layers.{layer}", f"{blocks}.resblocks.{layer}"
            norms |= {f"{theirs}.layer_norm1": f"{ours}.ln_1", f"{theirs}.layer_norm2": f"{ours}.ln_2"}
            norms |= {f"{theirs}.mlp.fc1": f"{ours}.mlp.c_fc", f"{theirs}.mlp.fc2": f"{ours}.mlp.c_proj"}
            norms[f"{theirs}.self_attn.out_proj"] = f"{ours}.attn.out_proj"
            for kind in ("weight", "bias"):
                parts = state[f"{ours}.attn.in_proj_{kind}"].chunk(3)
                names = [f"{theirs}.self_attn.{letter}_proj.{kind}" for letter in "qkv"]
                found |= dict(zip(names, parts, strict=True))
    found |= {f"{t}.{kind}": state[f"{o}.{kind}"] for t, o in norms.items() for kind in ("weight", "bias")}
    return {name: value.contiguous() for name, value in found.items()}
