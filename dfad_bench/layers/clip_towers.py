"""CLIP's two towers, built by open_clip without network access."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from dfad_bench.core.errors import UnknownNameError
from dfad_bench.core.weights import load_into, load_state_dict
from dfad_bench.layers.clip_activation import check_activation
from dfad_bench.layers.clip_layouts import is_clip, misfit_hint, to_open_clip

if TYPE_CHECKING:
    from open_clip import CLIP

_TINY: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2},
    "quick_gelu": True,
}

OPENAI_WEIGHTS = {  # by architecture, its rows of weights.yaml
    "ViT-B-32-quickgelu": ("openai_clip_vit_b32", "openai_clip_vit_b32_archive"),
    "ViT-B-16-quickgelu": ("openai_clip_vit_b16",),
    "ViT-L-14-quickgelu": ("openai_clip_vit_l14",),
}
M = TypeVar("M", bound=nn.Module)


def clip_model(
    name: str = "ViT-B-32-quickgelu",
    image_size: int = 224,
    weights: Path | None = None,
    tiny: bool = False,
    *,
    tiny_blocks: tuple[int, int] = (2, 2),
    option: str = "architecture",
) -> CLIP:
    """An open_clip CLIP with both towers; random initialisation unless `weights` is a local file.

    Layouts of open_clip, of OpenAI (its archives, too) and of Hugging Face transformers are read. OpenAI's weights need
    the `-quickgelu` architectures, LAION's those without: a file that is known to be of the other kind is refused, and
    a line says where it is not known (`clip_activation`). Position tables are for 224 pixels; for another `image_size`
    they are resized (bicubic, class row kept). `tiny` has the same modules at small widths: `tiny_blocks` of image and
    text, 16-pixel patches, embedding 32. `option` is what the model calls `name` in its settings, for messages.

    Write against `block.ln_1`, `block.attention(...)`, `block.ls_1`, `block.ln_2`, `block.mlp`, `block.ls_2` of
    `model.visual.transformer.resblocks` and `model.transformer.resblocks`: present in open_clip 3 and 4.

    Raises:
        UnknownNameError: no such architecture.
        WeightsError: the file is unreadable, of another architecture or of another activation.
    """
    from open_clip import get_model_config, list_models
    from open_clip.model import CLIP

    config = _tiny(*tiny_blocks) if tiny else get_model_config(name)
    if config is None:
        raise UnknownNameError("CLIP architecture", name, list_models())
    vision = {**config["vision_cfg"], "image_size": image_size}
    model = CLIP(**{**config, "vision_cfg": vision})
    if weights is not None:
        quick = bool(config.get("quick_gelu", False))
        _load(model, weights, "tiny" if tiny else name, lambda s: check_activation(weights, s, name, quick, option))
    return model


def _tiny(image_blocks: int, text_blocks: int) -> dict[str, Any]:
    vision, text = {**_TINY["vision_cfg"], "layers": image_blocks}, {**_TINY["text_cfg"], "layers": text_blocks}
    return {**_TINY, "vision_cfg": vision, "text_cfg": text}


def freeze(module: M, *, token_major: bool = True) -> M:
    """Disable gradients and switch to evaluation mode; the owner must override `train` to keep that mode.

    Args:
        module: what learns no more.
        token_major: see `read_token_major`.
    """
    module.requires_grad_(False)
    module.eval()
    return read_token_major(module) if token_major else module


def read_token_major(module: M) -> M:
    """Have frozen attention within read tokens laid out token by token; results are equal.

    Torch's attention otherwise multiplies each token's rows by a copy of the frozen weights, which takes most of its
    time, in bf16 nearly all.
    """
    for part in module.modules():
        if isinstance(part, nn.MultiheadAttention) and part.batch_first:
            part.register_forward_pre_hook(_lay_out_tokens)
    return module


def _lay_out_tokens(attention: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Query, key and value (B, t, d) in memory as (t, B, d), in which order attention reads them.

    Without gradients and autocast torch has another way, which wants them as they are; weights that learn need nothing.
    """
    if (weight := getattr(attention, "in_proj_weight", None)) is not None and weight.requires_grad:
        return None
    learns = torch.is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in arguments)
    if not arguments or not (learns or torch.is_autocast_enabled(arguments[0].device.type)):
        return None
    laid_out = {id(x): x.transpose(0, 1).contiguous().transpose(0, 1) for x in arguments[:3] if x.ndim == 3}
    return tuple(laid_out.get(id(x), x) for x in arguments)  # one tensor three times stays one


def _load(model: CLIP, path: Path, name: str, check: Callable[[Mapping[str, Tensor]], None]) -> None:
    from open_clip.model import resize_pos_embed

    found = load_state_dict(path, is_clip)
    state = to_open_clip(found)
    if "visual.positional_embedding" in state:
        resize_pos_embed(state, model)
    load_into(model, state, path, f"a CLIP {name} state dict", hint=misfit_hint(found))
    check(found)
