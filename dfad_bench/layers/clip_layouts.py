"""State dicts of CLIP in the layouts people have, renamed to open_clip's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

State = Mapping[str, Tensor]
_MARKS = (  # a name that only this layout has
    ("open_clip", "visual.conv1.weight"),
    ("transformers", "vision_model.embeddings.patch_embedding.weight"),
)
OPENAI_EXTRAS = ("input_resolution", "context_length", "vocab_size")  # tensors in OpenAI's archives, no weights
_DROPPED = (*OPENAI_EXTRAS, "attn_mask", "text_model.embeddings.position_ids", "vision_model.embeddings.position_ids")
_PLACES = {  # beginnings of transformers' names -> open_clip's
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.": "visual.conv1.",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.": "visual.ln_pre.",  # spelt so
    "vision_model.post_layernorm.": "visual.ln_post.",
    "vision_model.encoder.layers.": "visual.transformer.resblocks.",
    "text_model.embeddings.token_embedding.": "token_embedding.",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.": "ln_final.",
    "text_model.encoder.layers.": "transformer.resblocks.",
}
_LAYERS = {  # inside a block
    ".self_attn.out_proj.": ".attn.out_proj.",
    ".layer_norm1.": ".ln_1.",
    ".layer_norm2.": ".ln_2.",
    ".mlp.fc1.": ".mlp.c_fc.",
    ".mlp.fc2.": ".mlp.c_proj.",
}
_TRANSPOSED = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}
_QUERY = ".self_attn.q_proj."


def is_clip(state: State) -> bool:
    """Whether the image tower is there, in one of the known layouts."""
    return any(mark in state for _, mark in _MARKS)


def to_open_clip(state: State) -> dict[str, Tensor]:
    """Names and tensors as open_clip's `CLIP` has them.

    OpenAI's layout is the same but for three numbers, which are left out. Hugging Face transformers keeps query, key
    and value apart, (d, d) each, where open_clip has one (3 d, d) `in_proj`, and its projections are transposed.
    """
    state = {name: value for name, value in state.items() if name not in _DROPPED}
    if "visual.conv1.weight" in state or not is_clip(state):
        return state
    renamed = {}
    for name, value in state.items():
        if name in _TRANSPOSED:
            renamed[_TRANSPOSED[name]] = value.T
        elif _QUERY in name:
            parts = [state.get(name.replace(_QUERY, f".self_attn.{kind}_proj.")) for kind in "qkv"]
            whole = [part for part in parts if part is not None]
            if len(whole) == 3:
                place = _renamed(name.replace(f"{_QUERY}weight", ".attn.in_proj_weight"))
                renamed[place.replace(f"{_QUERY}bias", ".attn.in_proj_bias")] = torch.cat(whole)
        elif ".self_attn.k_proj." not in name and ".self_attn.v_proj." not in name:
            renamed[_renamed(name)] = value
    return renamed


def misfit_hint(state: State) -> str:
    """What to do with a file whose names are not CLIP's, as the end of a message."""
    if "patch_embed.proj.weight" in state or "trunk.patch_embed.proj.weight" in state:
        return "; it is timm's layout of the image tower alone: take open_clip_model.safetensors of the same repository"
    if is_clip(state) and "logit_scale" not in state:
        return "; it is one tower alone: take the file of the whole CLIP"
    return "; convert it to open_clip's layout, or choose the architecture it was trained with"


def _renamed(name: str) -> str:
    for theirs, ours in _PLACES.items():
        if name.startswith(theirs):
            name = ours + name[len(theirs) :]
            break
    for theirs, ours in _LAYERS.items():
        name = name.replace(theirs, ours)
    return name
