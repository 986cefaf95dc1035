"""Forensics Adapter: the boundary pixel by pixel, copies one by one, what CLIP keeps, faces without a mask."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.clip_files import SAVED_LAYOUTS, save_clip
from torch.nn import functional as F

from baselines.forensics_adapter import ForensicsAdapter, blending_boundary
from dfad_bench.core.contract import Batch, Inputs, loss_terms
from dfad_bench.core.errors import ConfigError
from dfad_bench.engine.profile import profile_model
from dfad_bench.layers.clip_towers import clip_model
from dfad_bench.losses.patch_contrast import kind_contrast, patch_contrast


def build(**options: Any) -> ForensicsAdapter:
    torch.manual_seed(0)
    return ForensicsAdapter.build(3, size="tiny", options=options).eval()


def batch(**more: Any) -> Batch:
    generator, labels = torch.Generator().manual_seed(0), torch.tensor([0, 1, 2, 1])
    images = torch.rand(4, 3, 128, 128, generator=generator)
    mask = torch.zeros(4, 1, 128, 128, dtype=torch.uint8)
    mask[1, :, 30:90, 40:100] = 1
    mask[2] = 1
    mask[3, :, :64] = 1
    return Batch(Inputs(images), labels, (labels > 0).long(), views={"forgery_mask": mask}, **more)


def test_the_boundary_is_where_the_blurred_mask_is_neither_in_nor_out() -> None:
    mask = torch.zeros(1, 1, 9, 9)
    mask[0, 0, 2:6, 3:] = 1
    found, weigh = blending_boundary(mask, 1.0)[0, 0], {d: math.exp(-d * d / 2) for d in range(-3, 4)}
    total = sum(weigh.values())
    for y in range(9):
        for x in range(9):
            value = sum(
                weigh[dy] * weigh[dx] / total**2 * float(mask[0, 0, min(max(y + dy, 0), 8), min(max(x + dx, 0), 8)])
                for dy in weigh
                for dx in weigh
            )
            assert float(found[y, x]) == pytest.approx(4 * value * (1 - value), abs=1e-5)
    for whole in (torch.zeros(1, 1, 9, 9), torch.ones(1, 1, 9, 9)):
        assert blending_boundary(whole, 2.0).abs().max() < 1e-5


@torch.no_grad()
def test_each_copy_reads_the_patches_alone_with_its_own_bias() -> None:
    model, images = build(), batch().inputs.images
    images = model.prepare(images)
    x, fused, _ = model._shallow(images)
    queries, patches = model.adapter(images, fused)
    _, bias = model.decoder(queries, patches)
    found, block = model._deep(x, bias), model.clip.blocks[1]
    attention = block.attn
    width = x.shape[2] // attention.num_heads
    for face, number in ((0, 0), (3, 7)):
        copy, keys = x[face, 0], block.ln_1(x[face, 1:])
        q, k, v = (
            F.linear(rows, w, b)
            for rows, w, b in zip(
                (block.ln_1(copy), keys, keys), attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3),
                strict=True,
            )
        )  # fmt: skip
        heads = []
        for head in range(attention.num_heads):
            part = slice(head * width, (head + 1) * width)
            shares = (k[:, part] @ q[part] / width**0.5 + bias[face, head, number]).softmax(0)
            heads.append(shares @ v[:, part])
        copy = copy + F.linear(torch.cat(heads), attention.out_proj.weight, attention.out_proj.bias)
        copy = copy + block.mlp(block.ln_2(copy))
        assert torch.allclose(found[face, number], model.clip.ln_post(copy), atol=1e-5)


@torch.no_grad()
def test_biases_and_boundary_are_products_of_queries_and_patches() -> None:
    model = build()
    queries, patches = torch.randn(2, 16, 24), torch.randn(2, 64, 24)
    boundary, bias = model.decoder(queries, patches)
    decoder = model.decoder
    assert (tuple(boundary.shape), tuple(bias.shape)) == ((2, 1, 128, 128), (2, decoder.heads, 16, 64))
    for q, m, head in ((0, 0, 0), (7, 33, 1)):
        keys = decoder.attention(patches[1, m]).reshape(decoder.heads, -1)
        assert float(bias[1, head, q, m]) == pytest.approx(float(decoder.query(queries[1, q]) @ keys[head]), abs=1e-4)
    maps = torch.stack([torch.stack([decoder.query(q) @ decoder.xray(p) for p in patches[0]]) for q in queries[0]])
    expected = decoder.head(maps.reshape(1, 16, 8, 8))
    assert torch.allclose(boundary[0], expected[0], atol=1e-4)


@torch.no_grad()
def test_clip_is_clip_but_for_the_bottleneck() -> None:
    model = build(bottleneck_weight=0.0)
    torch.manual_seed(0)
    stock = clip_model(image_size=128, tiny=True).eval()
    images = model.prepare(batch().inputs.images)
    x, _, _ = model._shallow(images)
    cls = model.clip.ln_post(model.clip.blocks[1](x))[:, 0]
    stock.visual.load_state_dict(
        {k.replace("blocks.", "transformer.resblocks."): v for k, v in model.clip.state_dict().items()}
        | {"proj": model.clip_projection}
    )
    assert torch.allclose(cls @ model.clip_projection, stock.encode_image(images), atol=1e-5)
    moved, _, behind = build(bottleneck_weight=0.5)._shallow(images)
    assert torch.allclose(moved[:, 0], x[:, 0])
    assert torch.equal(moved[:, 1:], behind)
    assert not torch.allclose(moved[:, 1:], x[:, 1:], atol=1e-3)


@torch.no_grad()
def test_losses_by_hand() -> None:
    model, data = build(), batch()
    terms = loss_terms(model.losses(data))
    embedding, boundary, patches, clips = model.traces(data.inputs)
    output, mask = model.experts(embedding), data.views["forgery_mask"].float()
    error = F.mse_loss(boundary.sigmoid(), blending_boundary(mask, model.config.blur))
    cells = mask.reshape(4, 8, 16, 8, 16).mean(dim=(2, 4)).reshape(4, 64) >= 0.5
    assert cells.sum(1).tolist() == [0, 15, 64, 32]
    expected = {
        "dfa": (F.cross_entropy(output.attribution_logits, data.attribution), 10),
        "dfd": (F.cross_entropy(output.detection_logits, data.detection), 10),
        "boundary": (error, 200),
        "intra": (patch_contrast(patches, cells), 20),
        "clip_patches": (patch_contrast(clips, cells) + kind_contrast(clips, cells), 10),
    }
    assert set(terms) == set(expected)
    for name, (value, weight) in expected.items():
        assert torch.allclose(terms[name].value, value, rtol=1e-4), name
        assert terms[name].weight == weight
    assert terms["dfa"].labels == {"attribution"}
    assert all(terms[name].labels == {"detection"} for name in expected.keys() - {"dfa"})


@torch.no_grad()
def test_a_face_without_a_mask_has_the_experts_losses_alone() -> None:
    model, data, some = build(), batch(), torch.tensor([True, False, True, True])
    lacking = loss_terms(model.losses(replace(data, present={"forgery_mask": some})))
    kept = Batch(Inputs(data.inputs.images[some]), data.attribution[some], data.detection[some],
                 views={"forgery_mask": data.views["forgery_mask"][some]})  # fmt: skip
    for name, term in loss_terms(model.losses(kept)).items():
        if name not in ("dfa", "dfd"):
            assert torch.allclose(lacking[name].value, term.value, rtol=1e-4), name
    whole = loss_terms(model.losses(data))
    assert torch.allclose(lacking["dfa"].value, whole["dfa"].value)
    none = loss_terms(model.losses(replace(data, present={"forgery_mask": torch.zeros(4, dtype=torch.bool)})))
    assert all(float(none[name].value) == 0 for name in ("boundary", "intra", "clip_patches"))
    with pytest.raises(ConfigError, match="trains on the view 'forgery_mask'"):
        model.losses(replace(data, views={}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"copies_after": 2}, "copies_after must be below CLIP's 2 layers, got 2"),
        ({"fused": [2]}, "copies_after must not be below the layers of fused"),
        ({"side": 130}, "side 130 must be a multiple of patch 16"),
        ({"queries": 6}, "queries of 4"),
        ({"fused": [0]}, "layers from 1 on"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**options)


@pytest.mark.parametrize("layout", SAVED_LAYOUTS)
def test_clips_weights_load_in_every_layout(tmp_path: Path, layout: str) -> None:
    path, towers = save_clip(tmp_path, layout, side=128)
    model = ForensicsAdapter.build(3, size="tiny", weights=path)
    assert torch.equal(model.clip_projection, towers["visual.proj"])
    blocks = model.clip.blocks.state_dict()
    assert all(torch.equal(value, towers[f"visual.transformer.resblocks.{key}"]) for key, value in blocks.items())
    assert not any(p.requires_grad for p in model.clip.parameters())


@pytest.mark.heavy
def test_what_learns_is_what_the_paper_claims_and_the_fusion_layers() -> None:
    with torch.device("meta"):
        model = ForensicsAdapter.build(11)
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    fusions = sum(p.numel() for p in model.adapter.fusions.parameters())
    assert fusions / 1e6 == pytest.approx(0.60, abs=0.005)
    assert (learning - fusions) / 1e6 == pytest.approx(5.62, abs=0.08)
    assert profile_model("forensics_adapter").params_deviation is not None
