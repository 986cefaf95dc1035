"""Backbones of timm and open_clip: features as the libraries give them by hand, files as they are published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from dfad_bench.core.errors import ConfigError, UnknownNameError, WeightsError
from dfad_bench.core.notices import collect_notices
from dfad_bench.layers.attentive import AttentivePool
from dfad_bench.layers.backbone_files import check_backbone_file, load_backbone
from dfad_bench.layers.backbone_parts import _groups, last_blocks, reached_parameters
from dfad_bench.layers.backbones import OPEN_CLIP, backbone_facts, build_backbone

TINY_CLIP = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 60, "width": 16, "heads": 2, "layers": 1},
}
IMAGES = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def tiny_clip(tmp_path: Path) -> Iterator[str]:
    """An architecture that open_clip knows while a test runs."""
    import open_clip.factory as factory

    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "tiny-clip-test.json").write_text(json.dumps(TINY_CLIP), encoding="utf-8")
    before = factory._MODEL_CONFIG_PATHS.copy(), factory._MODEL_CONFIGS.copy()
    factory.add_model_config(tmp_path / "configs")
    yield f"{OPEN_CLIP}tiny-clip-test"
    factory._MODEL_CONFIG_PATHS[:], factory._MODEL_CONFIGS = before
    backbone_facts.cache_clear()
    reached_parameters.cache_clear()


def prepared_by_hand(images: Tensor, side: int, mean: list[float], std: list[float]) -> Tensor:
    big = F.interpolate(images, (side, side), mode="bicubic", antialias=True, align_corners=False)
    channels = [(big[:, k].clamp(0, 1) - mean[k]) / std[k] for k in range(3)]
    return torch.stack(channels, dim=1)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_features_are_those_of_timm_by_hand(name: str) -> None:
    import timm

    torch.manual_seed(3)
    backbone = build_backbone(name, 64 if name == "test_vit" else None)
    torch.manual_seed(3)
    network = timm.create_model(name, num_classes=0, **({"img_size": 64} if name == "test_vit" else {})).eval()
    side = 64 if name == "test_vit" else 160
    facts = backbone_facts(name, 64 if name == "test_vit" else None)
    assert facts.preset.side == side
    config = timm.data.resolve_data_config(model=network)
    with torch.no_grad():
        pixels = prepared_by_hand(IMAGES, side, config["mean"], config["std"])
        whole = network.forward_features(pixels)
        if whole.ndim == 4:  # positions of a map, row by row
            whole = torch.stack([whole[:, :, y, x] for y in range(whole.shape[2]) for x in range(whole.shape[3])], 1)
        expected = {"tokens": whole, "pooled": network(pixels), "avg": whole[:, facts.prefix :].mean(1)}
        if name == "test_vit":
            expected |= {"cls": whole[:, 0], "cls+avg": torch.cat([whole[:, 0], whole[:, 1:].mean(1)], 1)}
        for kind, value in expected.items():
            found = backbone.features(backbone.prepare(IMAGES), kind)
            assert found.shape[1:] == facts.shape(kind)
            torch.testing.assert_close(found, value, rtol=1e-5, atol=1e-5)
    if name == "test_convnext":
        with pytest.raises(ConfigError, match="has no class token; take feature=avg"):
            facts.shape("cls")


@pytest.mark.heavy
def test_features_are_those_of_open_clip_by_hand(tiny_clip: str) -> None:
    import open_clip

    backbone = build_backbone(tiny_clip)
    facts = backbone_facts(tiny_clip)
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    assert (facts.preset.mean, facts.preset.std) == (mean, std)
    tower = backbone.network
    with torch.no_grad():
        pixels = prepared_by_hand(IMAGES, 32, mean, std)
        torch.testing.assert_close(backbone.features(backbone.prepare(IMAGES), "pooled"), tower(pixels))
        patches = tower.conv1(pixels).flatten(2).transpose(1, 2)  # (3, 4, 32)
        x = torch.cat([tower.class_embedding.expand(3, 1, -1), patches], 1) + tower.positional_embedding
        x = tower.ln_pre(x)
        for block in tower.transformer.resblocks:
            x = block(x)
        torch.testing.assert_close(backbone.features(backbone.prepare(IMAGES), "tokens"), tower.ln_post(x))
    assert (facts.tokens, facts.prefix, facts.shape("tokens"), facts.shape("pooled")) == (5, 1, (5, 32), (24,))


@pytest.mark.heavy
def test_each_family_has_its_own_statistics() -> None:
    presets = {name: backbone_facts(name).preset for name in ("resnet10t", "test_vit", f"{OPEN_CLIP}RN50")}
    assert [round(preset.mean[0], 3) for preset in presets.values()] == [0.485, 0.5, 0.481]
    assert "huggingface.co/timm/resnet10t.c3_in1k" in presets["resnet10t"].origin
    assert "openai" in presets[f"{OPEN_CLIP}RN50"].origin


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["vit_base_patch16_dinov4", f"{OPEN_CLIP}ViT-B-16-SigLIP3", "hf-hub:some/thing"])
def test_an_unknown_backbone_is_one_short_line(name: str) -> None:
    with pytest.raises(UnknownNameError) as found:
        build_backbone(name)
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 600
    nearest = {"v": "vit_base_patch16_dinov3", "o": "open_clip:ViT-B-16-SigLIP2", "h": "hf-hub:some/thing"}[name[0]]
    assert nearest in str(found.value)


@pytest.mark.heavy
def test_an_unknown_tag_names_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match=r"vit_base_patch16_dinov3\.lvd1689m"):
        build_backbone("vit_base_patch16_dinov3.lvd168m")
    with pytest.raises(UnknownNameError, match="open_clip:ViT-B-16-SigLIP2/webli"):
        build_backbone("open_clip:ViT-B-16-SigLIP2/weblo")


@pytest.mark.heavy
def test_files_in_timms_layout_are_read_whole(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(5)
    published = timm.create_model("test_vit", num_classes=10)
    state = {name: value.clone() for name, value in published.state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "wrapped.pth")
    for file in ("model.safetensors", "wrapped.pth"):
        backbone = build_backbone("test_vit")
        with collect_notices():
            load_backbone(backbone, tmp_path / file)
        found = backbone.network.state_dict()
        assert found.keys() == {name for name in state if not name.startswith("head.")}
        assert all(torch.equal(value, state[name]) for name, value in found.items())
    with collect_notices():
        check_backbone_file("test_vit", None, tmp_path / "wrapped.pth")
    with pytest.raises(WeightsError, match="not a state dict of timm's test_vit2"):
        check_backbone_file("test_vit2", None, tmp_path / "model.safetensors")
    small = build_backbone("test_vit", 32)  # another side: timm resizes the position table
    load_backbone(small, tmp_path / "model.safetensors")
    assert torch.equal(small.network.blocks[0].norm1.weight, state["blocks.0.norm1.weight"])
    with pytest.raises(WeightsError, match="not a state dict of timm's test_convnext"):
        load_backbone(build_backbone("test_convnext"), tmp_path / "model.safetensors")
    del state["blocks.3.norm1.weight"]
    save_file(state, tmp_path / "short.safetensors")
    with pytest.raises(WeightsError, match=r"lacks blocks\.3\.norm1\.weight"):
        load_backbone(build_backbone("test_vit"), tmp_path / "short.safetensors")


@pytest.mark.heavy
def test_files_in_open_clips_layout_are_read_whole(tiny_clip: str, tmp_path: Path) -> None:
    from open_clip.model import CLIP

    torch.manual_seed(6)
    state = {name: value.clone() for name, value in CLIP(**TINY_CLIP).state_dict().items() if name != "attn_mask"}
    save_file(state, tmp_path / "open_clip_model.safetensors")
    backbone = build_backbone(tiny_clip)
    with collect_notices() as notices:
        load_backbone(backbone, tmp_path / "open_clip_model.safetensors")
    assert any("nothing shows which activation" in line for line in notices)
    found = backbone.network.state_dict()
    assert all(torch.equal(value, state[f"visual.{name}"]) for name, value in found.items())
    wide = build_backbone(tiny_clip, 64)  # 4 x 4 patches: the table is resized, the class row kept
    with collect_notices():
        load_backbone(wide, tmp_path / "open_clip_model.safetensors")
    assert torch.equal(wide.network.positional_embedding[0], state["visual.positional_embedding"][0])
    with pytest.raises(WeightsError, match="not a state dict of open_clip:RN50"):
        load_backbone(build_backbone(f"{OPEN_CLIP}RN50"), tmp_path / "open_clip_model.safetensors")


@pytest.mark.heavy
def test_clip_weights_of_the_other_activation_are_refused(tmp_path: Path) -> None:
    with torch.device("meta"):
        backbone = build_backbone("vit_base_patch32_clip_224.openai")
    save_file({"x": torch.zeros(1)}, tmp_path / "f.safetensors")
    with pytest.raises(WeightsError, match=r"--set backbone=vit_base_patch32_clip_quickgelu_224\.openai"):
        load_backbone(backbone, tmp_path / "f.safetensors")


@pytest.mark.heavy
@pytest.mark.parametrize(
    "name", ["test_vit", "resnet10t", "test_convnext", "swin_tiny_patch4_window7_224", "densenet121"]
)
def test_blocks_are_grouped_as_timm_groups_parameters(name: str) -> None:
    from timm.models import group_parameters

    with torch.device("meta"):
        backbone = build_backbone(name)
    grouped = group_parameters(backbone.network, backbone.network.group_matcher(coarse=False))
    expected = [sorted(f"network.{each}" for each in grouped[number]) for number in sorted(grouped)]
    assert [sorted(names) for _, names in _groups(backbone)] == expected


@pytest.mark.heavy
def test_the_last_blocks_are_the_last(tiny_clip: str) -> None:
    with torch.device("meta"):
        vit, resnet, clip = build_backbone("test_vit"), build_backbone("resnet10t"), build_backbone(tiny_clip)
    assert {name.split(".")[2] for name in last_blocks(vit, 2) if "blocks" in name} == {"4", "5"}
    assert "network.norm.weight" in last_blocks(vit, 1)
    assert {name.split(".")[1] for name in last_blocks(resnet, 1)} == {"layer4"}
    of_clip = last_blocks(clip, 1)
    assert {".".join(name.split(".")[1:4]) for name in of_clip if "resblocks" in name} == {"transformer.resblocks.1"}
    assert {"network.proj", "network.ln_post.weight"} < set(of_clip)
    assert "network.conv1.weight" not in of_clip
    with torch.device("meta"):
        dense = build_backbone("densenet121")
    assert {".".join(name.split(".")[2:4]) for name in last_blocks(dense, 1)[:-2]} == {"denseblock4.denselayer16"}
    with pytest.raises(ConfigError, match="has 6 blocks; blocks=6 would leave none"):
        last_blocks(vit, 6)
    assert "network.proj" not in reached_parameters(tiny_clip, None, "tokens")
    assert reached_parameters(tiny_clip, None, "pooled") == set(dict(clip.named_parameters()))


def test_attentive_pooling_is_attention_by_hand() -> None:
    torch.manual_seed(1)
    pool, tokens = AttentivePool(12, 3), torch.randn(2, 5, 12)
    expected = []
    for face in tokens:
        rows = nn.functional.layer_norm(face, (12,), pool.norm.weight, pool.norm.bias)
        heads = []
        for head in range(3):
            part = slice(4 * head, 4 * head + 4)
            keys = [pool.to_keys.weight[part] @ row for row in rows]
            values = [pool.to_values.weight[part] @ row + pool.to_values.bias[part] for row in rows]
            logits = torch.stack([pool.query[0, 0, part] @ key / 4**0.5 for key in keys])
            weights = logits.exp() / logits.exp().sum()
            heads.append(sum(weight * value for weight, value in zip(weights, values, strict=True)))
        expected.append(pool.output.weight @ torch.cat(heads) + pool.output.bias)
    torch.testing.assert_close(pool(tokens), torch.stack(expected))
    with pytest.raises(ConfigError, match="heads=5 does not divide"):
        AttentivePool(12, 5)
