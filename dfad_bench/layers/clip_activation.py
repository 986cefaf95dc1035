"""Which activation a CLIP weight file was trained with: QuickGELU (OpenAI, MetaCLIP, DFN) or GELU (LAION, DataComp).

The tensors do not show it, and with the other one the features are silently wrong. So it is looked for around them: in
the row of `weights.yaml`, in what open_clip knows of published files, in the configuration beside the file, in the
file's own extra tensors, in its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import ConfigError, WeightsError
from dfad_bench.core.files import read_json
from dfad_bench.core.notices import add_notice
from dfad_bench.core.weights import row_of
from dfad_bench.layers.clip_layouts import OPENAI_EXTRAS

_QUICK = "-quickgelu"  # how open_clip's architectures with QuickGELU end
_NAMES = {True: "QuickGELU", False: "GELU"}
_HUB_PARENTS = 3  # models--owner--name/snapshots/commit/file


def check_activation(
    path: Path, state: Mapping[str, Any], architecture: str, quick: bool, option: str, *, prefix: str = ""
) -> None:
    """Refuse a file that was trained with another activation than the towers have; tell where nothing shows it.

    Args:
        path: the file; its neighbours are looked at.
        state: names in the file.
        architecture: open_clip's name of the towers.
        quick: whether the towers have QuickGELU.
        option: the model's option that names the architecture.
        prefix: before the architecture's name in that option.

    Raises:
        WeightsError: the activation differs; says how it is known and which architecture fits.
    """
    found = next(_evidence(path, state, architecture), None)
    from open_clip import list_models

    other = architecture.removesuffix(_QUICK) + ("" if quick else _QUICK)
    fix = f"add --set {option}={prefix}{other}" if other in list_models() else "take other weights"
    if found is None:
        add_notice(
            f"{path.name}: nothing shows which activation these weights were trained with; {_NAMES[quick]} is used, as"
            f" {architecture} has it; where they are {_NAMES[not quick]} weights, {fix}"
        )
    elif found[0] != quick:
        raise WeightsError(
            f"{path}: trained with {_NAMES[found[0]]} ({found[1]}), but {architecture} has {_NAMES[quick]}, with which"
            f" its features are wrong; {fix}"
        )


def _evidence(path: Path, state: Mapping[str, Any], architecture: str) -> Iterator[tuple[bool, str]]:
    """Whether it is QuickGELU, and how that is known; the surest first."""
    row = row_of(path)
    if row is not None and row.activation is not None:
        yield row.activation == "quick_gelu", f"weights.yaml, {row.name}"
    places = _places(path)
    tags = _published(architecture)
    for tag, (files, quick) in tags.items():
        if any(_words(place) in files for place in places):
            yield quick, f"open_clip's list, {tag}"
    yield from _configured(path)
    if all(name in state for name in OPENAI_EXTRAS):
        yield True, "OpenAI's layout"
    for place in places:
        words = _words(place)
        if "quickgelu" in words or "quick_gelu" in words:
            yield True, f"its name, {place}"
        for origin in sorted({tag.partition("_")[0] for tag in tags}, key=len, reverse=True):
            kinds = {quick for tag, (_, quick) in tags.items() if tag.partition("_")[0] == origin}
            if origin in words and len(kinds) == 1:
                yield kinds.pop(), f"its name, {place}"


def _places(path: Path) -> list[str]:
    """The file's name, the folder's, and that of a download cache of Hugging Face above."""
    path = path.absolute()
    hub = [parent.name for parent in list(path.parents)[:_HUB_PARENTS] if parent.name.startswith("models--")]
    return [path.name, *hub, path.parent.name]


def _words(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _published(architecture: str) -> dict[str, tuple[set[str], bool]]:
    """By open_clip's tag: names of files and folders that are published weights, and whether they are QuickGELU's."""
    from open_clip import get_pretrained_cfg, list_pretrained_tags_by_model

    found = {}
    base = architecture.removesuffix(_QUICK)
    for tag in list_pretrained_tags_by_model(base):
        about = get_pretrained_cfg(base, tag)
        owner, _, name = str(about.get("hf_hub") or "").strip("/").partition("/")
        file = str(about.get("url") or "").rpartition("/")[2]
        hashed = file if re.search(r"-[0-9a-f]{8}\.\w+$", file) else ""  # others are named ViT-B-32.pt and the like
        names = {_words(text) for text in (hashed, name, f"models--{owner}--{name}" if name else "") if text}
        found[tag] = names, bool(about.get("quick_gelu"))
    return found


def _configured(path: Path) -> Iterator[tuple[bool, str]]:
    """What the configuration files of open_clip and of transformers beside the file say."""
    raw = _json(path.with_name("open_clip_config.json"))
    if isinstance(about := raw.get("model_cfg"), dict):
        yield bool(about.get("quick_gelu", False)), "open_clip_config.json beside it"
    raw = _json(path.with_name("config.json"))
    if str(raw.get("model_type", "")).startswith("clip"):
        parts = [raw[key] for key in ("text_config", "vision_config") if isinstance(raw.get(key), dict)] or [raw]
        acts = {str(part.get("hidden_act", "quick_gelu")) for part in parts}  # what transformers takes where none is
        if len(acts) == 1 and acts <= {"quick_gelu", "gelu"}:
            yield acts == {"quick_gelu"}, "config.json beside it"


def _json(path: Path) -> dict[str, Any]:
    try:
        raw = read_json(path)
    except (ConfigError, OSError):
        return {}
    return raw if isinstance(raw, dict) else {}
