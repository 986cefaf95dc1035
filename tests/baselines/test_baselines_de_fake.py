"""DE-FAKE: features of image and caption by hand, its head, what is frozen, its count, faces without a caption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.clip_files import SAVED_LAYOUTS, save_clip
from torch.nn import functional as F

from baselines.de_fake import DEFAKE, MISSING_CAPTION
from dfad_bench.core.contract import Batch, Inputs
from dfad_bench.core.errors import ConfigError
from dfad_bench.engine.profile import profile_model
from dfad_bench.layers.text import tokenize

CAPTIONS = ("a woman with glasses", "a man on a street", "a woman with glasses", "two people")


def build(**options: Any) -> DEFAKE:
    torch.manual_seed(0)
    return DEFAKE.build(3, size="tiny", options=options).eval()


def inputs(captions: tuple[str, ...] = CAPTIONS) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    return Inputs(torch.rand(len(captions), 3, 128, 128, generator=generator), {"captions": captions})


@torch.no_grad()
def test_the_embedding_is_each_images_feature_and_then_its_captions() -> None:
    model, given = build(), inputs()
    for image, caption, found in zip(given.images, CAPTIONS, model.embed(given), strict=True):
        picture = model.clip.encode_image((image[None] - 0.5) / 0.5)[0]
        text = model.clip.encode_text(tokenize([caption]))[0]
        assert torch.allclose(found, torch.tensor([*picture.tolist(), *text.tolist()]), atol=1e-5)


@torch.no_grad()
def test_the_experts_are_the_papers_head() -> None:
    model, feature = build(), torch.randn(5, 64)
    for expert, logits in (
        (model.experts.attribution, model.experts(feature).attribution_logits),
        (model.experts.detection, model.experts(feature).detection_logits),
    ):
        layers = [layer for layer in expert if isinstance(layer, torch.nn.Linear)]
        hidden = F.linear(F.linear(feature, layers[0].weight, layers[0].bias).clamp(min=0), layers[1].weight,
                          layers[1].bias).clamp(min=0)  # fmt: skip
        assert torch.allclose(logits, hidden @ layers[2].weight.T + layers[2].bias, atol=1e-5)
        assert [layer.p for layer in expert if isinstance(layer, torch.nn.Dropout)] == [0.5]


def test_only_the_experts_learn_and_clip_never_leaves_evaluation() -> None:
    model = build().train()
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad} == {"experts"}
    assert not any(module.training for module in model.clip.modules())
    labels = torch.tensor([0, 1, 2, 1])
    sum(model.losses(Batch(inputs(), labels, (labels > 0).long())).values()).backward()
    assert all(p.grad is None for p in model.clip.parameters())


@torch.no_grad()
def test_a_face_without_a_caption_is_read_as_the_stand_in() -> None:
    model, given = build(), inputs()
    mask = torch.tensor([True, False, True, True])
    lacking = replace(given, present={"captions": mask})
    stated = replace(given, views={"captions": (CAPTIONS[0], MISSING_CAPTION, *CAPTIONS[2:])})
    assert torch.equal(model(lacking).attribution_logits, model(stated).attribution_logits)
    assert MISSING_CAPTION in model.missing_views["captions"]
    with pytest.raises(ConfigError, match="needs the view 'captions'"):
        model(Inputs(given.images))


@torch.no_grad()
def test_a_long_caption_is_cut_where_clip_ends() -> None:
    model = build()
    long, same = " ".join(["face"] * 200), " ".join(["face"] * 75)
    found = model.embed(inputs((long, same)))
    assert torch.equal(found[0, 32:], found[1, 32:])


@pytest.mark.parametrize("layout", SAVED_LAYOUTS)
def test_clips_weights_load_in_every_layout(tmp_path: Path, layout: str) -> None:
    path, towers = save_clip(tmp_path, layout, side=128)
    model = DEFAKE.build(3, size="tiny", weights=path)
    assert all(torch.equal(value, towers[name]) for name, value in model.clip.state_dict().items())
    assert not any(p.requires_grad for p in model.clip.parameters())


@pytest.mark.heavy
def test_flops_are_those_of_table_vii() -> None:
    found = profile_model("de_fake")
    assert found.convention_flops_g == pytest.approx(95.91, abs=0.01)
    assert any("24 images with 13 texts" in note for note in found.notes)
    assert any("head=linear" in note for note in found.notes)
    assert profile_model("de_fake", options={"architecture": "ViT-L-14-quickgelu"}).params_total > 4e8
