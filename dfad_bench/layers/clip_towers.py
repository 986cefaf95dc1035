"""CLIP's two towers, built by open_clip without network access."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from torch import nn

from dfad_bench.core.errors import UnknownNameError
from dfad_bench.core.weights import load_into, load_state_dict

if TYPE_CHECKING:
    from open_clip import CLIP

_JIT_LEFTOVERS = ("input_resolution", "context_length", "vocab_size")  # tensors in OpenAI's files that are no weights
_TINY: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
    "quick_gelu": True,
}

M = TypeVar("M", bound=nn.Module)


def clip_model(
    name: str = "ViT-B-32-quickgelu", image_size: int = 224, weights: Path | None = None, tiny: bool = False
) -> CLIP:
    """An open_clip CLIP with both towers; random initialisation unless `weights` is a local file.

    OpenAI's weights need the `-quickgelu` architectures. Their position table is for 224 pixels; for another
    `image_size` it is resized (bicubic, class row kept). `tiny` has the same modules at small widths: 2 + 2
    blocks, 16-pixel patches, embedding 32.

    Write against `block.ln_1`, `block.attention(...)`, `block.ls_1`, `block.ln_2`, `block.mlp`, `block.ls_2` of
    `model.visual.transformer.resblocks` and `model.transformer.resblocks`: present in open_clip 3 and 4.

    Raises:
        UnknownNameError: no such architecture.
        WeightsError: the file is unreadable or of another architecture.
    """
    from open_clip import get_model_config, list_models
    from open_clip.model import CLIP

    config = _TINY if tiny else get_model_config(name)
    if config is None:
        raise UnknownNameError("CLIP architecture", name, list_models())
    vision = {**config["vision_cfg"], "image_size": image_size}
    model = CLIP(**{**config, "vision_cfg": vision})
    if weights is not None:
        _load(model, weights, "tiny" if tiny else name)
    return model


def freeze(module: M) -> M:
    """Disable gradients and switch to evaluation mode; the owner must override `train` to keep that mode."""
    module.requires_grad_(False)
    module.eval()
    return module


def _load(model: CLIP, path: Path, name: str) -> None:
    from open_clip.model import resize_pos_embed

    state = {key: value for key, value in load_state_dict(path).items() if key not in _JIT_LEFTOVERS}
    if "visual.positional_embedding" in state:
        resize_pos_embed(state, model)
    hint = "; convert it to open_clip's layout, or choose the architecture it was trained with"
    load_into(model, state, path, f"a CLIP {name} state dict", hint=hint)
