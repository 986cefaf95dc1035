"""Weight files of backbones, in the layouts of timm and of open_clip (and OpenAI's and Hugging Face's CLIP)."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from dfad_bench.core.errors import WeightsError, cut
from dfad_bench.core.weights import load_into, load_state_dict
from dfad_bench.layers.backbones import OPEN_CLIP, Backbone, build_backbone
from dfad_bench.layers.clip_activation import check_activation
from dfad_bench.layers.clip_layouts import is_clip, to_open_clip

_TOWER = "visual."


def load_backbone(backbone: Backbone, path: Path) -> None:
    """Put a published file into a backbone, whole; classifiers and text towers in it are left out.

    Where a file of timm has another layout or size of image than the network, timm's own converter is asked.

    Raises:
        WeightsError: unreadable, of another network, or of another activation (QuickGELU, GELU).
    """
    load = _load_open_clip if backbone.name.startswith(OPEN_CLIP) else _load_timm
    load(backbone, path)


def check_backbone_file(name: str, side: int | None, path: Path) -> None:
    """Refuse a file that is not of a backbone, without memory for the backbone; errors as of `load_backbone`.

    Args:
        name: of the backbone.
        side: of its images, where not its own.
        path: the file.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                backbone = build_backbone(name, side)
        except (NotImplementedError, RuntimeError):  # construction that looks at values
            backbone = build_backbone(name, side)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*which is a no-op")  # numbers that go nowhere are what is wanted
        load_backbone(backbone, path)


def _load_timm(backbone: Backbone, path: Path) -> None:
    network, name = backbone.network, backbone.name
    own = network.state_dict()
    state = load_state_dict(path, lambda found: all(key in found for key in own if not key.endswith("_tracked")))
    _check_quick_gelu(network, path)
    named = network.pretrained_cfg.get("classifier") or ()
    heads = tuple(f"{each}." for each in ((named,) if isinstance(named, str) else named))
    state = {key: value for key, value in state.items() if key in own or not key.startswith(heads or ("\0",))}
    if not _fits(state, own):
        state = _converted(network, state, path)
        state = {key: value for key, value in state.items() if key in own or not key.startswith(heads or ("\0",))}
    hint = "; --set backbone=NAME says which network it is of"
    load_into(network, state, path, f"a state dict of timm's {name}", hint=hint)


def _fits(state: Mapping[str, Any], own: Mapping[str, Tensor]) -> bool:
    return all(key in own and value.shape == own[key].shape for key, value in state.items())


def _converted(network: Any, state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """As timm converts files of the network's authors, and resizes position tables; unchanged where it cannot."""
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return state
    try:
        found = convert(dict(state), network)
    except Exception:  # whatever it makes of names it does not expect: the file is named as it is
        return state
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise WeightsError(f"{path}: timm's converter made no tensors of it; take the file that timm publishes")
    return dict(found)


def _check_quick_gelu(network: Any, path: Path) -> None:
    """Refuse weights that were trained with QuickGELU in timm's network of the same tag that has GELU.

    Raises:
        WeightsError: names the network to take.
    """
    import timm

    about = network.pretrained_cfg
    architecture, tag = str(about.get("architecture")), about.get("tag")
    other = f"{architecture.replace('_clip_', '_clip_quickgelu_')}.{tag}"
    if "_clip_" in architecture and "quickgelu" not in architecture and other in timm.list_pretrained(other):
        raise WeightsError(
            f"{path}: weights {cut(str(tag))} of CLIP were trained with QuickGELU, {architecture} has GELU, with which"
            f" its features are wrong; add --set backbone={other}"
        )


def _load_open_clip(backbone: Backbone, path: Path) -> None:
    tower = backbone.network
    own = tower.state_dict()
    marks = [key for key in own if not key.endswith("_tracked")]

    def is_of_tower(found: Mapping[str, Any]) -> bool:
        return is_clip(found) or any(all(start + key in found for key in marks) for start in ("", _TOWER))

    found = load_state_dict(path, is_of_tower)
    state = to_open_clip(found)
    if any(key.startswith(_TOWER) for key in state):
        state = {key.removeprefix(_TOWER): value for key, value in state.items() if key.startswith(_TOWER)}
    if "positional_embedding" in state and hasattr(tower, "grid_size"):
        state = _resized(state, tower)
    load_into(tower, state, path, f"a state dict of {backbone.name}", hint="; --set backbone=NAME says which it is of")
    if backbone.trunk is None:
        import open_clip

        architecture = backbone.name.removeprefix(OPEN_CLIP).partition("/")[0]
        quick = bool((open_clip.get_model_config(architecture) or {}).get("quick_gelu", False))
        check_activation(path, found, architecture, quick, "backbone", prefix=OPEN_CLIP)


def _resized(state: dict[str, Tensor], tower: Any) -> dict[str, Tensor]:
    """The position table for the tower's own grid (bicubic, class row kept)."""
    from open_clip.model import resize_pos_embed

    whole = {_TOWER + key: value for key, value in state.items()}
    resize_pos_embed(whole, SimpleNamespace(visual=tower))
    return {key.removeprefix(_TOWER): value for key, value in whole.items()}
