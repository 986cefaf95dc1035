from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from dfad_bench.core.errors import ConfigError
from dfad_bench.layers.aws import AWS
from dfad_bench.layers.clip_towers import clip_model, freeze
from dfad_bench.layers.text import tokenize
from dfad_bench.layers.transformer import causal_mask
from gazeclip.config import GazeCLIPConfig
from gazeclip.lre import LRE, TRTB
from gazeclip.model import GazeCLIP

TINY = GazeCLIPConfig().tiny()
PROMPTS = [
    ("a photo of a fake face", "a photo of an entire synthesized face", "a photo by a GAN", f"the model is {name}")
    for name in ("StyleGAN2", "DDPM", "LatTrans")
]


def text_block() -> torch.nn.Module:
    torch.manual_seed(0)
    return freeze(clip_model(image_size=64, tiny=True).transformer.resblocks[0])  # torch picks kernels by requires_grad


def ones(t: int) -> AWS:
    aws = AWS(t)
    torch.nn.init.ones_(aws.D)
    return aws


@torch.no_grad()
def test_aws_is_the_product_with_a_diagonal_matrix() -> None:
    torch.manual_seed(0)
    aws, tokens = AWS(7), torch.randn(3, 7, 5)
    expected = torch.stack([torch.diag(aws.D) @ sentence for sentence in tokens])
    assert torch.allclose(aws(tokens), expected, atol=1e-6)


def test_aws_is_drawn_from_the_standard_normal() -> None:
    torch.manual_seed(0)
    drawn = AWS(20000).D.detach()
    assert abs(float(drawn.mean())) < 0.03
    assert abs(float(drawn.std()) - 1) < 0.03


@pytest.mark.parametrize("position", ["before", "between", "after"])
@torch.no_grad()
def test_aws_of_ones_is_the_frozen_block(position: str) -> None:
    block = text_block()
    x, mask = torch.randn(2, 9, 16), causal_mask(9)
    stock = block(x, attn_mask=mask)
    assert torch.equal(TRTB(block, ones(9), position, None)(x, mask), stock)
    assert torch.equal(TRTB(block, None, "none", None)(x, mask), stock)


@torch.no_grad()
def test_aws_positions_of_table_iv() -> None:
    block = text_block()
    x, mask = torch.randn(2, 9, 16), causal_mask(9)
    aws = AWS(9)
    D = torch.diag(aws.D)
    read = D @ block.ln_1(x)
    before = x + block.attn(read, read, read, attn_mask=mask)[0]
    plain = x + block.attn(block.ln_1(x), block.ln_1(x), block.ln_1(x), attn_mask=mask)[0]
    expected = {
        "before": before + block.mlp(block.ln_2(before)),
        "between": plain + block.mlp(D @ block.ln_2(plain)),
        "after": D @ (plain + block.mlp(block.ln_2(plain))),
    }
    for position, value in expected.items():
        assert torch.allclose(TRTB(block, aws, position, None)(x, mask), value, atol=1e-5), position


@torch.no_grad()
def test_one_level_without_aws_is_stock_clip() -> None:
    torch.manual_seed(0)
    clip = clip_model(image_size=64, tiny=True).eval()
    stock = copy.deepcopy(clip)
    lre = LRE(clip, TINY.override({"levels": 1, "aws_pos": "none", "lora_lre": 0})).eval()
    tokens = tokenize([row[0] for row in PROMPTS])
    assert torch.allclose(lre(tokens[:, None]), stock.encode_text(tokens), atol=1e-6)


@torch.no_grad()
def test_positions_are_repeated_for_every_level_and_frozen() -> None:
    clip = clip_model(image_size=64, tiny=True)
    table = clip.positional_embedding.detach().clone()
    lre = LRE(clip, TINY)
    assert lre.P_l.shape == (308, 16)
    for level in range(4):
        assert torch.equal(lre.P_l[77 * level : 77 * (level + 1)], table)
    assert not lre.P_l.requires_grad
    assert sorted(n.rsplit(".", 2)[-2] for n, p in lre.named_parameters() if p.requires_grad) == [
        "A",
        "B",
        "aws",
        "aws",
    ]


def read_at(level: int, changed: int) -> tuple[Tensor, Tensor]:
    """Embeddings of two prompt rows that differ in one level only."""
    torch.manual_seed(0)
    lre = LRE(clip_model(image_size=64, tiny=True), TINY.override({"levels": level})).eval()
    one, other = list(PROMPTS[0][:level]), list(PROMPTS[0][:level])
    other[changed] = "something else altogether"
    tokens = torch.stack([tokenize(one), tokenize(other)])
    with torch.no_grad():
        return tuple(lre(tokens))


@pytest.mark.parametrize("changed", [0, 1, 2, 3])
def test_every_level_reaches_the_token_that_is_read(changed: int) -> None:
    one, other = read_at(4, changed)
    assert (one - other).abs().max() > 1e-6


@torch.no_grad()
def test_the_last_levels_end_token_is_read() -> None:
    torch.manual_seed(0)
    lre = LRE(clip_model(image_size=64, tiny=True), TINY).eval()
    tokens = torch.stack([tokenize(row) for row in PROMPTS])
    x = lre.token_embedding(tokens).flatten(1, 2) + lre.P_l
    for block in lre.blocks:
        x = block(x, lre.mask)
    for i, row in enumerate(tokens):
        end = 231 + row[3].tolist().index(49407)
        assert torch.allclose(lre(tokens)[i], lre.ln_final(x[i, end]) @ lre.text_projection, atol=1e-5)


@torch.no_grad()
def test_mask_padding_leaves_what_the_padding_holds_without_effect() -> None:
    torch.manual_seed(0)
    clip = clip_model(image_size=64, tiny=True)
    tokens = torch.stack([tokenize(row) for row in PROMPTS])
    end = tokens.argmax(dim=-1, keepdim=True)
    noisy = torch.where(torch.arange(77) > end, 1234, tokens)
    hiding = LRE(clip, TINY.override({"mask_padding": True})).eval()
    assert torch.allclose(hiding(tokens), hiding(noisy), atol=1e-6)
    seeing = LRE(clip, TINY).eval()
    assert not torch.allclose(seeing(tokens), seeing(noisy), atol=1e-4)


@torch.no_grad()
def test_mask_padding_is_the_tower_on_the_words_alone() -> None:
    """Words cut out of their rows, with the positions they had, and a causal mask: no padding at all."""
    torch.manual_seed(0)
    lre = LRE(clip_model(image_size=64, tiny=True), TINY.override({"mask_padding": True, "aws_pos": "none"})).eval()
    tokens = torch.stack([tokenize(row) for row in PROMPTS])
    for i, row in enumerate(tokens):
        words = torch.cat([77 * level + torch.arange(int(row[level].argmax()) + 1) for level in range(4)])
        x = (lre.token_embedding(row.flatten()[words]) + lre.P_l[words])[None]
        for block in lre.blocks:
            x = block(x, causal_mask(len(words)))
        assert torch.allclose(lre(tokens)[i], lre.ln_final(x[0, -1]) @ lre.text_projection, atol=1e-5)


def test_distinct_prompts_give_value_and_gradient_of_every_row() -> None:
    torch.manual_seed(0)
    model = GazeCLIP.build(3, size="tiny")
    rows = [PROMPTS[i] for i in (0, 2, 0, 1, 2, 2, 0)]
    weigh = torch.randn(len(rows), TINY.s)

    def gradients(text: Tensor) -> list[Tensor]:
        model.zero_grad()
        (text * weigh).sum().backward()
        return [p.grad.clone() for p in model.lre.parameters() if p.requires_grad]

    text, index = model.language(rows)
    every = model.lre(torch.stack([tokenize(row) for row in rows]))
    assert index.tolist() == [0, 1, 0, 2, 1, 1, 0]
    assert torch.allclose(text, every, atol=1e-6)
    for fast, slow in zip(gradients(text), gradients(every), strict=True):
        assert torch.allclose(fast, slow, atol=1e-5)


def test_text_tower_runs_once_a_distinct_row() -> None:
    model = GazeCLIP.build(3, size="tiny")
    seen: list[int] = []
    model.lre.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    model.language([PROMPTS[0]] * 30 + [PROMPTS[1]] * 2)
    assert seen == [2]


def test_missing_levels_are_one_line() -> None:
    model = GazeCLIP.build(3, size="tiny")
    with pytest.raises(ConfigError, match="trains with 4 prompts a face"):
        model.language([("only one",)])
