"""ResNet and ViT: independent networks of other libraries, the layouts people have, and patches cut by loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from baselines.resnet import ResNet
from baselines.vit import PatchEmbedding, ViT
from dfad_bench.core.contract import Inputs
from dfad_bench.core.errors import WeightsError
from dfad_bench.core.notices import collect_notices

SMALL = {"side": 32, "patch": 8, "dim": 24, "depth": 2, "heads": 3, "mlp_dim": 40}


def images(side: int, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def saved(path: Path, state: Any) -> Path:
    torch.save(state, path)
    return path


@pytest.mark.heavy
@pytest.mark.parametrize(("name", "options"), [
    ("resnet18", {}), ("resnet50", {"bottleneck": True, "blocks": [3, 4, 6, 3]}),
])  # fmt: skip
def test_resnet_equals_torchvisions_with_its_weights(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    from torchvision import models

    torch.manual_seed(0)
    theirs = models.get_model(name, weights=None).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics that are not those a network starts with
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    path = saved(tmp_path / "resnet.pth", theirs.state_dict())
    theirs.fc = nn.Identity()
    ours = ResNet.build(11, weights=path, options={"side": 64, **options}).eval()
    faces = images(64)
    mean, std = torch.tensor(ResNet.mean)[:, None, None], torch.tensor(ResNet.std)[:, None, None]
    with torch.no_grad():
        expected = theirs((faces - mean) / std)
        assert expected.abs().max() > 0.1
        assert torch.allclose(ours.embed(Inputs(faces)), expected, rtol=1e-4, atol=1e-4)


def test_a_residual_block_adds_what_it_learnt_to_its_input() -> None:
    """The first block without training: relu(x + f(x)), and relu(x) once its last norm gives nothing."""
    trunk = ResNet.build(3, size="tiny", options={"widths": [64, 24, 32, 48]}).trunk.eval()
    block, x = trunk.layer1[0], images(8).repeat(1, 22, 1, 1)[:, :64] - 0.5
    with torch.no_grad():
        hidden = torch.relu(block.bn1(block.conv1(x)))
        assert torch.allclose(block(x), torch.relu(x + block.bn2(block.conv2(hidden))), atol=1e-6)
        block.bn2.weight.zero_()
        assert torch.equal(block(x), torch.relu(x))


@pytest.mark.heavy
def test_resnet_loads_what_detectors_hold_and_refuses_others(tmp_path: Path) -> None:
    model = ResNet.build(3, size="tiny")
    state = {f"backbone.{name}": value for name, value in model.trunk.state_dict().items()}
    state |= {"head.weight": torch.zeros(2, 48)}
    with collect_notices() as lines:
        again = ResNet.build(5, size="tiny", weights=saved(tmp_path / "detector.pth", {"state_dict": state}))
    assert all(torch.equal(a, b) for a, b in zip(again.trunk.parameters(), model.trunk.parameters(), strict=True))
    assert any("'backbone.' is used" in line for line in lines)
    with pytest.raises(WeightsError, match="not a ResNet state dict"):
        ResNet.build(3, size="tiny", weights=saved(tmp_path / "other.pth", {"conv1.weight": torch.zeros(1)}))


def test_patches_are_cut_in_reading_order() -> None:
    torch.manual_seed(0)
    module = PatchEmbedding(4, 5, norm=True)
    faces = images(8)
    with torch.no_grad():
        found = module(faces)
        for face in range(2):
            for row in range(2):
                for column in range(2):
                    pixels = [
                        faces[face, :, 4 * row + y, 4 * column + x] for y in range(4) for x in range(4)
                    ]  # a pixel after the other, its colours together
                    flat = torch.cat(pixels)
                    flat = (flat - flat.mean()) / (flat.var(unbiased=False) + 1e-5).sqrt()
                    token = module.linear.weight @ flat + module.linear.bias
                    token = (token - token.mean()) / (token.var(unbiased=False) + 1e-5).sqrt()
                    assert torch.allclose(found[face, 2 * row + column], token, atol=1e-5)


def timm_vit() -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, mlp_ratio=40 / 24)


def torchvision_vit() -> nn.Module:
    from torchvision.models.vision_transformer import VisionTransformer

    return VisionTransformer(32, 8, num_layers=2, num_heads=3, hidden_dim=24, mlp_dim=40)


@pytest.mark.parametrize(("make", "mean", "std"), [
    (timm_vit, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    (torchvision_vit, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
])  # fmt: skip
def test_vit_equals_the_networks_of_other_libraries(make: Any, mean: Any, std: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = make().eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    path = saved(tmp_path / "vit.pth", theirs.state_dict())
    ours = ViT.build(4, weights=path, options=SMALL).eval()
    faces = images(32)
    normalised = (faces - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    features = nn.Identity()
    if make is timm_vit:
        theirs.head = features
    else:
        theirs.heads = features
    with torch.no_grad():
        assert torch.allclose(ours.embed(Inputs(faces)), theirs(normalised), atol=2e-5)


def hugging_face(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A timm state dict by the names of `ViTForImageClassification`."""
    names = {"norm1": "layernorm_before", "attn.proj": "attention.output.dense", "norm2": "layernorm_after",
             "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"}  # fmt: skip
    found = {"classifier.weight": torch.zeros(2, 24), "classifier.bias": torch.zeros(2)}
    for name, value in state.items():
        if name.startswith("blocks."):
            _, layer, rest = name.split(".", 2)
            if "qkv" in rest:
                for kind, part in zip(("query", "key", "value"), value.chunk(3), strict=True):
                    end = rest.rpartition(".")[2]
                    found[f"vit.encoder.layer.{layer}.attention.attention.{kind}.{end}"] = part
                continue
            part, _, end = rest.rpartition(".")
            found[f"vit.encoder.layer.{layer}.{names[part]}.{end}"] = value
        elif not name.startswith("head."):
            name = name.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
            name = name.replace("pos_embed", "embeddings.position_embeddings").replace("norm.", "layernorm.")
            found["vit." + name.replace("cls_token", "embeddings.cls_token")] = value
    return found


def vit_pytorch(model: ViT) -> dict[str, torch.Tensor]:
    """Our state dict by the names of vit-pytorch."""
    found = {"mlp_head.weight": torch.zeros(2, 24), "mlp_head.bias": torch.zeros(2)}
    swaps = {"0.fn.norm": "0.norm", "0.fn.fn.to_qkv": "0.to_qkv", "0.fn.fn.to_out": "0.to_out.0",
             "1.fn.norm": "1.net.0", "1.fn.fn.net.0": "1.net.1", "1.fn.fn.net.2": "1.net.4",
             "patch.before": "to_patch_embedding.1", "patch.linear": "to_patch_embedding.2",
             "patch.after": "to_patch_embedding.3"}  # fmt: skip
    for name, value in model.state_dict().items():
        if not name.startswith("experts."):
            name = "transformer." + name if name.startswith("norm.") else name
            for ours, theirs in swaps.items():
                head, found_it, tail = name.partition(ours + ".")
                if found_it:
                    name = f"{head}{theirs}.{tail}"
                    break
            found[name] = value
    return found


def test_vit_reads_hugging_faces_names(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = timm_vit().state_dict()
    with collect_notices():
        first = ViT.build(4, weights=saved(tmp_path / "timm.pth", state), options=SMALL)
        second = ViT.build(4, weights=saved(tmp_path / "hf.pth", hugging_face(state)), options=SMALL)
    values = {name: value for name, value in first.state_dict().items() if not name.startswith("experts.")}
    assert len(values) > 20
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in values.items())
    assert (first.norm.eps, second.norm.eps) == (1e-6, 1e-12)


def test_vit_reads_vit_pytorchs_names_and_is_built_as_it(tmp_path: Path) -> None:
    model = ViT.build(4, options=SMALL).eval()
    path = saved(tmp_path / "scratch.pth", vit_pytorch(model))
    again = ViT.build(4, weights=path, options=SMALL).eval()
    with torch.no_grad():
        assert torch.equal(again.embed(Inputs(images(32))), model.embed(Inputs(images(32))))
    assert ViT.options_of(path) == {}


def test_vit_refuses_what_does_not_fit(tmp_path: Path) -> None:
    state = timm_vit().state_dict()
    with pytest.raises(WeightsError, match="not a ViT state dict of timm, torchvision"):
        ViT.build(4, weights=saved(tmp_path / "other.pth", {"cls_token": torch.zeros(1)}), options=SMALL)
    with pytest.raises(WeightsError, match="does not fit ViT state dict of timm"):
        ViT.build(4, weights=saved(tmp_path / "side.pth", state), options={**SMALL, "side": 40})
    del state["blocks.1.attn.qkv.bias"]
    with pytest.raises(WeightsError, match=r"lacks transformer\.layers\.1\.0\.fn\.fn\.to_qkv\.bias"):
        ViT.build(4, weights=saved(tmp_path / "part.pth", state), options=SMALL)
