from __future__ import annotations

import copy

import pytest
import torch
from open_clip import CLIP

from dfad_bench.core.errors import ConfigError
from dfad_bench.layers.clip_towers import clip_model
from dfad_bench.layers.lora import LoRA
from gazeclip.config import GazeCLIPConfig
from gazeclip.gie import GIE, GITB
from gazeclip.vpe import AGPM, AppearanceEncoder

TINY = GazeCLIPConfig().tiny()


def tiny_clip() -> CLIP:
    return clip_model(image_size=64, tiny=True, tiny_blocks=(TINY.N, TINY.L)).eval()


@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_without_injectors_and_lora_the_tower_is_stock_clip_bit_for_bit(training: bool) -> None:
    torch.manual_seed(0)
    clip = tiny_clip()
    stock = copy.deepcopy(clip.visual)
    gie = GIE(clip.visual, TINY.override({"use_gi": False, "lora_gie": 0, "shortcuts": False})).train(training)
    images = torch.rand(3, 3, 64, 64)
    assert torch.equal(gie(images, torch.randn(3, 1, 32)) @ stock.proj, stock(images))


@torch.no_grad()
def test_zero_injectors_and_fresh_lora_change_nothing() -> None:
    torch.manual_seed(0)
    clip = tiny_clip()
    stock = copy.deepcopy(clip.visual)
    gie = GIE(clip.visual, TINY.override({"shortcuts": False})).eval()
    for block in gie.blocks:
        block.injector.W_fc.weight.zero_()
    images = torch.rand(3, 3, 64, 64)
    assert torch.equal(gie(images, torch.randn(3, 1, 32)) @ stock.proj, stock(images))


@torch.no_grad()
def test_injector_sits_between_attention_and_feed_forward() -> None:
    torch.manual_seed(0)
    block = clip_model(image_size=64, tiny=True).visual.transformer.resblocks[0].eval()

    class Shift(torch.nn.Module):
        def forward(self, x: torch.Tensor, gaze: torch.Tensor, present: torch.Tensor | None) -> torch.Tensor:
            return x + gaze

    x, gaze = torch.randn(2, 5, 32), torch.randn(2, 1, 32)
    after = x + block.attention(block.ln_1(x)) + gaze
    expected = after + block.mlp(block.ln_2(after))
    assert torch.allclose(GITB(block, Shift(), None)(x, gaze), expected, atol=1e-6)


def test_gaze_reaches_the_image_embedding_and_its_gradient_the_gaze() -> None:
    torch.manual_seed(0)
    gie = GIE(tiny_clip().visual, TINY)
    gaze = torch.randn(2, 1, 32, requires_grad=True)
    gie(torch.rand(2, 3, 64, 64), gaze).square().sum().backward()
    assert gaze.grad.abs().max() > 0
    frozen = [name for name, p in gie.named_parameters() if not p.requires_grad]
    trained = [name for name, p in gie.named_parameters() if p.requires_grad]
    assert all("injector" in name or "lora" in name for name in trained)
    assert len(frozen) > len(trained) > 0


def test_the_last_blocks_carry_the_lora() -> None:
    config = TINY.override({"lora_gie": 1})
    gie = GIE(tiny_clip().visual, config)
    assert [block.lora is not None for block in gie.blocks] == [False, False, False, True]


def test_another_clip_is_refused_in_one_line() -> None:
    clip = clip_model(image_size=64, tiny=True)
    with pytest.raises(ConfigError, match="has 2 image blocks of width 32; set N and d so"):
        GIE(clip.visual, TINY.override({"N": 3}))


@torch.no_grad()
def test_lora_starts_as_identity_and_is_the_low_rank_product() -> None:
    torch.manual_seed(0)
    lora, x = LoRA(12, rank=3, alpha=6.0), torch.randn(4, 5, 12)
    assert torch.equal(lora(x), x)
    lora.B.weight.normal_()
    delta = torch.zeros(12, 12)
    for i in range(12):
        for j in range(12):
            delta[i, j] = 2.0 * sum(lora.B.weight[i, k] * lora.A.weight[k, j] for k in range(3))
    assert torch.allclose(lora(x), x + x @ delta.T, atol=1e-5)
    assert sum(p.numel() for p in lora.parameters()) == 2 * 12 * 3
    with pytest.raises(ValueError, match="rank must be 1 or more"):
        LoRA(12, rank=0)


@torch.no_grad()
def test_appearance_encoder_makes_one_token() -> None:
    torch.manual_seed(0)
    ae = AppearanceEncoder(TINY).eval()
    images = torch.rand(2, 3, 128, 128)
    token = ae(images)
    assert token.shape == (2, 1, TINY.a)
    flat = ae.features(images).flatten(1)
    assert torch.allclose(token[:, 0], flat @ ae.proj.weight.T + ae.proj.bias, atol=1e-5)
    assert ae(torch.rand(2, 3, 200, 200)).shape == (2, 1, TINY.a)


@torch.no_grad()
def test_agpm_reads_the_class_token_of_equation_1() -> None:
    torch.manual_seed(0)
    agpm = AGPM(TINY).eval()
    images, gaze = torch.rand(2, 3, 128, 128), torch.randn(2, 1, TINY.d)
    rows = []
    for i in range(2):
        tokens = torch.stack([agpm.I_c[0, 0], agpm.ae(images[i : i + 1])[0, 0], agpm.gaze_proj.weight @ gaze[i, 0]])
        rows.append(agpm.agte((tokens + agpm.P_e[0])[None])[0, 0])
    assert torch.allclose(agpm(images, gaze), torch.stack(rows), atol=1e-5)
    assert AGPM(TINY.override({"use_gaze": False})).P_e.shape == (1, 2, TINY.a)
