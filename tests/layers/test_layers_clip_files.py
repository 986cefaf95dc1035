"""CLIP files as people have them: layouts of OpenAI and Hugging Face, and the activation they were trained with."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.clip_files import transformers_layout
from open_clip import CLIP
from safetensors.torch import save_file
from torch import Tensor, nn

from dfad_bench.core.errors import WeightsError
from dfad_bench.core.notices import collect_notices
from dfad_bench.core.weights import load_state_dict
from dfad_bench.layers.clip_layouts import to_open_clip
from dfad_bench.layers.clip_towers import clip_model
from dfad_bench.layers.text import tokenize

SIDE = 64
HUB = "models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K/snapshots/1a25a446712ba5ee05982a381eed697ef9b435cf"
OPENAI_HUB = "models--timm--vit_base_patch32_clip_224.openai/snapshots/abc"


@pytest.fixture(scope="module")
def source() -> CLIP:
    torch.manual_seed(0)
    return clip_model(tiny=True, image_size=SIDE).eval()


def equal(model: CLIP, source: CLIP, atol: float = 0.0) -> bool:
    images, text = torch.rand(2, 3, SIDE, SIDE), tokenize(["a", "b"])
    with torch.no_grad():
        pairs = [(m.encode_image(images), m.encode_text(text)) for m in (model.eval(), source)]
    return all(torch.allclose(a, b, atol=atol, rtol=0) for a, b in zip(*pairs, strict=True))


def build(path: Path, **more: Any) -> tuple[CLIP, list[str]]:
    with collect_notices() as lines:
        model = clip_model(tiny=True, image_size=SIDE, weights=path, **more)
    return model, lines


@pytest.mark.parametrize("prefix", ["", "clip."])
def test_hugging_face_layout(tmp_path: Path, source: CLIP, prefix: str) -> None:
    state = {prefix + name: value for name, value in transformers_layout(source.state_dict()).items()}
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "clip", "text_config": {"hidden_act": "quick_gelu"}})
    )
    model, lines = build(tmp_path / "model.safetensors")
    assert equal(model, source)
    assert len(lines) == bool(prefix)


def test_hugging_face_layout_has_open_clips_names(source: CLIP) -> None:
    state = source.state_dict()
    found = to_open_clip(transformers_layout(state))
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())


class OpenAI(nn.Module):
    """A CLIP as OpenAI's archives have it: their names, three numbers as buffers, half precision."""

    def __init__(self, clip: CLIP) -> None:
        super().__init__()
        for name, child in clip.named_children():
            self.add_module(name, child)
        for name in ("positional_embedding", "text_projection", "logit_scale"):
            self.register_parameter(name, getattr(clip, name))
        for name, number in (("input_resolution", SIDE), ("context_length", 77), ("vocab_size", 49408)):
            self.register_buffer(name, torch.tensor(number))

    def forward(self, images: Tensor) -> Tensor:
        return self.visual(images) * self.logit_scale


def openai_archive(path: Path, clip: CLIP) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = OpenAI(clip).eval()
        torch.jit.save(torch.jit.trace(module, torch.zeros(1, 3, SIDE, SIDE), check_trace=False).half(), path)


def test_openai_archive(tmp_path: Path) -> None:
    torch.manual_seed(1)
    source = clip_model(tiny=True, image_size=SIDE).eval()
    openai_archive(tmp_path / "clip.pt", source)  # turns the source to half precision, too
    assert {"input_resolution", "context_length", "vocab_size"} <= load_state_dict(tmp_path / "clip.pt").keys()
    model, lines = build(tmp_path / "clip.pt")
    assert equal(model, source.float())
    assert lines == []  # OpenAI's layout says that it is QuickGELU
    with pytest.raises(WeightsError, match="trained with QuickGELU .OpenAI's layout., but ViT-B-32 has GELU"):
        towers(tmp_path / "clip.pt", quick=False)


def towers(path: Path, *, quick: bool, architecture: str = "ViT-B-32") -> list[str]:
    """What is told of a file for towers of an activation."""
    from dfad_bench.layers.clip_activation import check_activation

    with collect_notices() as lines:
        name = f"{architecture}-quickgelu" if quick else architecture
        check_activation(path, load_state_dict(path), name, quick, "clip")
    return lines


def placed(path: Path, config: Mapping[str, Any] | None = None) -> Path:
    """A file of tensors, with a configuration beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"visual.conv1.weight": torch.zeros(1)}, path)
    for name, content in (config or {}).items():
        (path.parent / name).write_text(json.dumps(content))
    return path


GELU = [
    (f"{HUB}/open_clip_pytorch_model.bin", {}, "open_clip's list, laion2b_s34b_b79k"),
    ("CLIP-ViT-B-32-DataComp.XL-s13B-b90K/w.bin", {}, "open_clip's list, datacomp_xl_s13b_b90k"),
    ("vit_b_32-laion2b_e16-af8dbd0c.pth", {}, "open_clip's list, laion2b_e16"),
    ("clip_b32_laion2b.safetensors.pt", {}, "its name, clip_b32_laion2b.safetensors.pt"),
    ("w.pt", {"open_clip_config.json": {"model_cfg": {"embed_dim": 512}}}, "open_clip_config.json beside it"),
    (
        "w.pt",
        {
            "config.json": {
                "model_type": "clip",
                "text_config": {"hidden_act": "gelu"},
                "vision_config": {"hidden_act": "gelu"},
            }
        },
        "config.json beside it",
    ),
]
QUICK = [
    (f"{OPENAI_HUB}/open_clip_model.bin", {}, "open_clip's list, openai"),
    ("vit_b_32-quickgelu-laion400m_e32-46683a32.pt", {}, "open_clip's list, laion400m_e32"),
    ("openai_clip.pt", {}, "its name, openai_clip.pt"),
    ("metaclip/b32.pt", {}, "its name, metaclip"),
    ("w.pt", {"open_clip_config.json": {"model_cfg": {"quick_gelu": True}}}, "open_clip_config.json beside it"),
    ("w.pt", {"config.json": {"model_type": "clip", "text_config": {}, "vision_config": {}}}, "config.json beside it"),
    ("w.pt", {"config.json": {"model_type": "clip_vision_model", "hidden_act": "quick_gelu"}}, "config.json beside it"),
]


@pytest.mark.parametrize(("quick", "place", "config", "known"), [(q, *row) for q in (0, 1) for row in (GELU, QUICK)[q]])
def test_activation_is_known_from_around_the_file(
    tmp_path: Path, quick: int, place: str, config: dict[str, Any], known: str
) -> None:
    path = placed(tmp_path / place, config)
    assert towers(path, quick=bool(quick)) == []
    with pytest.raises(WeightsError) as caught:
        towers(path, quick=not quick)
    names, other = ("GELU", "QuickGELU"), "ViT-B-32" + ("-quickgelu" if quick else "")
    assert f"trained with {names[quick]} ({known})" in str(caught.value)
    assert str(caught.value).endswith(
        f"has {names[not quick]}, with which its features are wrong; add --set clip={other}"
    )


@pytest.mark.parametrize("config", [{}, {"config.json": {"model_type": "vit"}}, {"config.json": [1]}])
def test_unknown_activation_is_told(tmp_path: Path, config: dict[str, Any]) -> None:
    path = placed(tmp_path / "laion_vit_b_32.pt", config)  # LAION has published both kinds of this architecture
    assert towers(path, quick=True) == [
        "laion_vit_b_32.pt: nothing shows which activation these weights were trained with; QuickGELU is used, as"
        " ViT-B-32-quickgelu has it; where they are GELU weights, add --set clip=ViT-B-32"
    ]


def test_activation_declared_in_weights_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFAD_WEIGHTS", str(tmp_path))
    save_file({"visual.conv1.weight": torch.zeros(1)}, tmp_path / "openai_clip_vit_b32.safetensors")
    assert towers(tmp_path / "openai_clip_vit_b32.safetensors", quick=True) == []
    with pytest.raises(WeightsError, match="weights.yaml, openai_clip_vit_b32"):
        towers(tmp_path / "openai_clip_vit_b32.safetensors", quick=False)


def test_gelu_weights_do_not_load_into_quickgelu_towers(tmp_path: Path, source: CLIP) -> None:
    path = tmp_path / HUB / "open_clip_pytorch_model.bin"
    path.parent.mkdir(parents=True)
    torch.save(source.state_dict(), path)
    with pytest.raises(WeightsError, match="add --set architecture=ViT-B-32$"):
        build(path)


def test_one_tower_alone_names_the_file_to_take(tmp_path: Path, source: CLIP) -> None:
    both = transformers_layout(source.state_dict())
    vision = {name: value for name, value in both.items() if name.startswith(("vision_model.", "visual_projection."))}
    torch.save(vision, tmp_path / "vision.pt")
    torch.save({"patch_embed.proj.weight": torch.zeros(1), "pos_embed": torch.zeros(1)}, tmp_path / "timm.pt")
    for name, hint in (("vision.pt", "it is one tower alone"), ("timm.pt", "take open_clip_model.safetensors")):
        with pytest.raises(WeightsError, match=hint):
            build(tmp_path / name)


def test_nan_in_clip_is_refused_by_name(tmp_path: Path, source: CLIP) -> None:
    state = {**source.state_dict(), "visual.proj": torch.full_like(source.visual.proj, torch.nan)}
    torch.save(state, tmp_path / "nan.pt")
    with pytest.raises(WeightsError, match=r"NaN or inf in visual\.proj"):
        build(tmp_path / "nan.pt")
