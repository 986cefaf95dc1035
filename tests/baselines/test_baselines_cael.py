"""CAEL: cross-attention by loops, an EfficientNet of another library, the layouts people have, the published layout."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from baselines.cael import (
    CAEL,
    AppearanceEdgeAttention,
    CAELConfig,
    CrossAttention,
    MultiGrainedAttention,
    StreamTransformer,
)
from baselines.cael_efficientnet import EfficientNet, SameConv2d
from dfad_bench.core.contract import Inputs
from dfad_bench.core.errors import WeightsError

SMALL = CAELConfig(fine=6, coarse=8, heads=2, head_dim=3, mlp_dim=10, cross_depth=2, dropout=0.0)
FEATURES = {"side": 64, "width": 0.25, "depth": 0.3}


def faces(side: int, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def norm(module: torch.nn.LayerNorm, x: torch.Tensor) -> torch.Tensor:
    return (x - x.mean()) / (x.var(unbiased=False) + module.eps).sqrt() * module.weight + module.bias


def linear(module: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A linear layer, or nothing where two streams have one width."""
    return module.weight @ x + module.bias if isinstance(module, torch.nn.Linear) else x


def loop_cross(module: CrossAttention, token: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
    """One face: (dim,) and (n, other) to (dim,), head by head and key by key."""
    attention = module.fn.fn
    query = norm(module.fn.norm, linear(module.project_in, token))
    read = [query, *patches]
    inner = attention.to_q.out_features
    width = inner // attention.heads
    q = attention.to_q.weight @ query
    keys = [attention.to_kv.weight[:inner] @ each for each in read]
    values = [attention.to_kv.weight[inner:] @ each for each in read]
    found = torch.zeros(inner)
    for head in range(attention.heads):
        part = slice(head * width, (head + 1) * width)
        logits = [float(q[part] @ key[part]) / math.sqrt(width) for key in keys]
        weights = [math.exp(logit) for logit in logits]
        for weight, value in zip(weights, values, strict=True):
            found[part] += weight / sum(weights) * value[part]
    return linear(module.project_out, linear(attention.to_out[0], found))


def test_multi_grained_attention_equals_explicit_loops() -> None:
    """Each class token reads the other stream's patches and itself, both from before the layer; patches stay."""
    torch.manual_seed(0)
    module = MultiGrainedAttention(SMALL).eval()
    first, second = torch.randn(2, 4, 6), torch.randn(2, 3, 8)
    with torch.no_grad():
        found = module(first, second)
        for face in range(2):
            a, b = first[face, 0], second[face, 0]
            for one, other in module.layers:
                a, b = a + loop_cross(one, a, second[face, 1:]), b + loop_cross(other, b, first[face, 1:])
            for rows, expected, before in ((found[0], a, first), (found[1], b, second)):
                assert torch.allclose(rows[face, 0], expected, atol=1e-5)
                assert torch.equal(rows[face, 1:], before[face, 1:])


def test_appearance_edge_attention_equals_explicit_loops() -> None:
    """The edge class token reads fine and coarse patches; the second layer reads with what the first gave."""
    torch.manual_seed(0)
    module = AppearanceEdgeAttention(SMALL).eval()
    edge, fine, coarse = torch.randn(2, 2, 8), torch.randn(2, 4, 6), torch.randn(2, 3, 8)
    with torch.no_grad():
        found = module(edge, fine, coarse)
        for face in range(2):
            token = edge[face, 0]
            for of_fine, of_coarse in module.layers:
                added = loop_cross(of_fine, token, fine[face, 1:]), loop_cross(of_coarse, token, coarse[face, 1:])
                token = token + added[0] + added[1]
            assert torch.allclose(found[face, 0], token, atol=1e-5)
            assert torch.equal(found[face, 1:], edge[face, 1:])


def test_a_stream_is_pre_norm_blocks_and_a_final_norm() -> None:
    torch.manual_seed(0)
    module, x = StreamTransformer(6, 1, SMALL).eval(), torch.randn(1, 3, 6)
    attention, mlp = module.layers[0]
    with torch.no_grad():
        rows = [norm(attention.norm, row) for row in x[0]]
        y = x[0] + attention.fn(torch.stack(rows)[None])[0]
        up, down = mlp.fn.net[0], mlp.fn.net[3]
        y = torch.stack(
            [row + down.weight @ F.gelu(up.weight @ norm(mlp.norm, row) + up.bias) + down.bias for row in y]
        )
        assert torch.allclose(module(x)[0], torch.stack([norm(module.norm, row) for row in y]), atol=1e-5)


@pytest.mark.parametrize(("side", "kernel", "stride"), [(8, 3, 2), (7, 3, 2), (8, 5, 2), (9, 5, 1)])
def test_same_padding_puts_the_odd_pixel_behind(side: int, kernel: int, stride: int) -> None:
    conv = SameConv2d(1, 1, kernel, stride, bias=False)
    x = torch.randn(1, 1, side, side)
    outputs = -(-side // stride)
    before = max((outputs - 1) * stride + kernel - side, 0) // 2
    with torch.no_grad():
        found = conv(x)[0, 0]
        assert found.shape == (outputs, outputs)
        for row in range(outputs):
            for column in range(outputs):
                total = 0.0
                for i in range(kernel):
                    for j in range(kernel):
                        y, z = row * stride + i - before, column * stride + j - before
                        if 0 <= y < side and 0 <= z < side:
                            total += float(conv.weight[0, 0, i, j] * x[0, 0, y, z])
                assert float(found[row, column]) == pytest.approx(total, abs=1e-5)


@pytest.mark.heavy
def test_efficientnet_equals_timms_with_its_weights(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(0)
    theirs = timm.create_model("tf_efficientnet_b0", pretrained=False).eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    torch.save(theirs.state_dict(), tmp_path / "b0.pth")
    model = CAEL.build(3, weights=tmp_path / "b0.pth").eval()
    images = faces(70)  # an odd side on the way down
    with torch.no_grad():
        expected = theirs.forward_features(images)
        assert expected.std() > 0.01
        assert torch.allclose(model.fg_image_embedder.efficient_net(images), expected, rtol=1e-3, atol=1e-4)
        first = theirs.blocks[1][0](theirs.blocks[0](theirs.bn1(theirs.conv_stem(images))))
        coarse = model.cg_image_embedder.efficient_net(images)
        assert coarse.shape[1] == 24
        assert torch.allclose(coarse, first, rtol=1e-3, atol=1e-4)


@pytest.mark.heavy
def test_the_layout_has_the_published_size() -> None:
    """169.388 M with 11 classes; ours lacks layers that are not called, position rows that are not used."""
    model = CAEL.build(11)
    ours = sum(p.numel() for name, p in model.named_parameters() if "detection" not in name)
    b0 = sum(p.numel() for p in EfficientNet(1.0, 1.0, 0.0).parameters())
    called = sum(p.numel() for p in model.cg_image_embedder.efficient_net.parameters())
    uncalled = (b0 - called) + 2 * (1280 * 1000 + 1000)
    positions = 192 * (1025 - 2) + 2 * 384 * (17 - 2)
    assert (ours + uncalled + positions) / 1e6 == pytest.approx(169.388, abs=0.001)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    start = "multi_grained_appea_edge_transformer.layers.3"
    assert shapes["fg_image_embedder.to_patch_embedding.1.weight"] == (192, 62720)
    assert shapes["cg_image_embedder.to_patch_embedding.1.weight"] == (384, 75264)
    assert shapes["edge_embedder.features.16.weight"] == (24, 64, 3, 3)
    assert shapes[f"{start}.0.layers.1.0.fn.to_kv.weight"] == (1024, 192)
    assert shapes[f"{start}.3.layers.1.1.project_in.weight"] == (192, 384)
    assert shapes[f"{start}.4.layers.1.0.project_in.weight"] == (192, 384)
    assert shapes[f"{start}.4.layers.1.1.fn.fn.to_q.weight"] == (512, 384)


def tiny(**options: Any) -> CAEL:
    return CAEL.build(4, size="tiny", options={**FEATURES, **options}).eval()


@pytest.mark.heavy
def test_both_appearance_streams_start_from_one_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = EfficientNet(0.25, 0.3, 0.0)
    state = {**network.state_dict(), "_fc.weight": torch.zeros(5, 320), "_fc.bias": torch.zeros(5)}
    torch.save(state, tmp_path / "b0.pth")
    model = CAEL.build(4, size="tiny", weights=tmp_path / "b0.pth", options=FEATURES)
    for embedder, count in ((model.fg_image_embedder, 8), (model.cg_image_embedder, 2)):
        loaded = embedder.efficient_net.state_dict()
        assert len(embedder.efficient_net._blocks) == count
        assert all(torch.equal(value, state[name]) for name, value in loaded.items())
    torch.save({**state, "_blocks.7._bn9.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="not an EfficientNet-B0 state dict"):
        CAEL.build(4, size="tiny", weights=tmp_path / "other.pth", options=FEATURES)
    torch.save({"cls_token": torch.zeros(1)}, tmp_path / "none.pth")
    with pytest.raises(WeightsError, match="not an EfficientNet-B0 or CAEL state dict"):
        CAEL.build(4, size="tiny", weights=tmp_path / "none.pth", options=FEATURES)


@pytest.mark.heavy
def test_a_whole_network_by_the_authors_names_loads(tmp_path: Path) -> None:
    """With its longer position tables, heads, classifiers and blocks that are not called."""
    model = tiny()
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("experts.")}
    for name in [name for name in state if name.endswith("pos_embedding")]:
        state[name] = torch.cat([state[name], torch.full_like(state[name], 9.0)], dim=1)
    state |= {"fg_mlp_head.0.weight": torch.zeros(24), "edge_mlp_head.1.bias": torch.zeros(11)}
    for stream in ("fg", "cg"):
        state[f"{stream}_image_embedder.efficient_net._fc.weight"] = torch.zeros(1000, 320)
    state["cg_image_embedder.efficient_net._blocks.5._bn1.weight"] = torch.zeros(3)
    torch.save({"state_dict": state}, tmp_path / "cael.pth")
    again = CAEL.build(7, size="tiny", weights=tmp_path / "cael.pth", options=FEATURES).eval()
    with torch.no_grad():
        assert torch.equal(again.embed(Inputs(faces(64))), model.embed(Inputs(faces(64))))


def test_experts_sum_a_head_a_stream() -> None:
    model = tiny()
    embedding = torch.randn(2, 24 + 32 + 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        output = model.experts(embedding)
        heads = model.experts.attribution
        for face in range(2):
            total = torch.zeros(4)
            for name, part in (("fg", slice(0, 24)), ("cg", slice(24, 56)), ("edge", slice(56, 88))):
                layer, last = heads[f"{name}_mlp_head"]
                total += linear(last, norm(layer, embedding[face, part]))
            assert torch.allclose(output.attribution_logits[face], total, atol=1e-5)


@pytest.mark.heavy
def test_the_edge_stream_sees_edges_only() -> None:
    """A brighter face has the same edges, hence the same edge tokens before other streams are read."""
    seen: list[torch.Tensor] = []
    model = tiny()
    model.edge_embedder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    grey = 0.5 * faces(64)
    with torch.no_grad():
        model(Inputs(grey))
        model(Inputs(grey + 10 / 255))
    assert seen[0].shape == (2, 1, 64, 64)
    assert torch.allclose(seen[0], seen[1], atol=0.05)
    assert seen[0].std() > 0.1
