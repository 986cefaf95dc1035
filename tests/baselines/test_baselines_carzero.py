"""CARZero: similarities pair by pair and head by head, both directions, its loss, attribution by prompts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.clip_files import SAVED_LAYOUTS, save_clip
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.carzero import CARZero
from dfad_bench.core.contract import Batch, Inputs, loss_terms
from dfad_bench.core.errors import ConfigError
from dfad_bench.engine.contract_checks.subject import PROMPTS
from dfad_bench.layers.text import tokenize


def build(**options: Any) -> CARZero:
    torch.manual_seed(0)
    return CARZero.build(4, size="tiny", class_prompts=PROMPTS, options=options).eval()


def batch(labels: tuple[int, ...] = (0, 1, 2, 1)) -> Batch:
    images = torch.rand(len(labels), 3, 128, 128, generator=torch.Generator().manual_seed(0))
    attribution = torch.tensor(labels)
    return Batch(Inputs(images), attribution, (attribution > 0).long(), [PROMPTS[label] for label in labels])


def attended(attention: nn.MultiheadAttention, query: Tensor, memory: Tensor) -> Tensor:
    """What one query (d,) reads of its memory (k, d), head by head."""
    q, k, v = (
        F.linear(x, weight, bias)
        for x, weight, bias in zip(
            (query, memory, memory), attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True
        )
    )
    width = len(query) // attention.num_heads
    heads = []
    for head in range(attention.num_heads):
        part = slice(head * width, (head + 1) * width)
        shares = (k[:, part] @ q[part] / width**0.5).softmax(0)
        heads.append((shares[:, None] * v[:, part]).sum(0))
    return F.linear(torch.cat(heads), attention.out_proj.weight, attention.out_proj.bias)


def similarity(model: CARZero, query: Tensor, memory: Tensor) -> Tensor:
    """One logit, of one pair."""
    alignment = model.alignment
    for layer in alignment.layers:
        query = query + attended(layer.attention, layer.norm_attention(query), memory)
        query = query + layer.mlp(layer.norm_mlp(query))
    return alignment.similarity(alignment.norm(query))[0]


def pairs(model: CARZero, images: Tensor, texts: list[str]) -> tuple[Tensor, Tensor]:
    """(B, n) of both directions, pair by pair, each text without what is behind its end token."""
    of_texts, of_images = [], []
    for image in model.image(model.prepare(images)):
        for text in texts:
            ids = tokenize([text])
            end = int(ids[0].argmax())
            tokens = model.text_width(model.text(ids))[0, : end + 1]
            of_texts.append(similarity(model, tokens[end], image))
            of_images.append(similarity(model, image[0], tokens))
    shape = (len(images), len(texts))
    return torch.stack(of_texts).reshape(shape), torch.stack(of_images).reshape(shape)


@torch.no_grad()
def test_every_pair_has_the_similarity_it_has_alone_in_both_directions() -> None:
    model, images, texts = build(), batch().inputs.images[:3], ["a real face", "the model of this photo is DDPM"]
    found = model.similarities(model.image(model.prepare(images)), tokenize(texts))
    for mine, expected in zip(found, pairs(model, images, texts), strict=True):
        assert torch.allclose(mine, expected, atol=1e-4)


@torch.no_grad()
def test_attribution_is_the_mean_similarity_with_each_generators_prompt() -> None:
    model, data = build(), batch()
    expected = torch.stack(pairs(model, data.inputs.images[:2], [row[-1] for row in PROMPTS])).mean(0)
    output = model(data.inputs)
    assert torch.allclose(output.attribution_logits[:2], expected, atol=1e-4)
    tokens = model.image(model.prepare(data.inputs.images))
    assert torch.allclose(output.detection_logits, model.experts.detection(tokens[:, 0]), atol=1e-5)
    expert = build(attribution="expert")
    assert torch.allclose(
        expert(data.inputs).attribution_logits, expert.experts.attribution(expert.embed(data.inputs)), atol=1e-5
    )


@torch.no_grad()
@pytest.mark.parametrize("targets", ["diag", "multi"])
def test_alignment_adds_the_symmetric_losses_of_both_directions(targets: str) -> None:
    model, data = build(cmc_targets=targets), batch()
    captions = [row[-1] for row in data.prompts]
    expected = torch.zeros(())
    for logits in pairs(model, data.inputs.images, captions):
        for i in range(4):
            own = [j for j in range(4) if j == i or (targets == "multi" and captions[j] == captions[i])]
            for scores in (logits[i], logits[:, i]):
                expected -= torch.stack([scores.log_softmax(0)[j] for j in own]).mean() / 4 / 2
    terms = loss_terms(model.losses(data))
    assert torch.allclose(terms["alignment"].value, expected, rtol=1e-3)
    assert (set(terms), terms["alignment"].labels) == ({"dfa", "dfd", "alignment"}, {"attribution"})


def test_the_layers_have_dropout_in_training_alone_and_what_lacks_is_one_line() -> None:
    model, data = build(), batch()
    with torch.no_grad():
        assert torch.equal(model(data.inputs).attribution_logits, model(data.inputs).attribution_logits)
        model.train()
        assert not torch.equal(model(data.inputs).attribution_logits, model(data.inputs).attribution_logits)
    with pytest.raises(ConfigError, match="trains on prompts, and the batch has none"):
        model.losses(replace(data, prompts=()))
    with pytest.raises(ConfigError, match="a prompt for each generator"):
        CARZero.build(4, size="tiny")


@pytest.mark.parametrize("layout", SAVED_LAYOUTS)
def test_clips_weights_load_in_every_layout(tmp_path: Path, layout: str) -> None:
    path, towers = save_clip(tmp_path, layout, side=128)
    model = CARZero.build(4, size="tiny", weights=path, class_prompts=PROMPTS)
    assert torch.equal(model.image.conv1.weight, towers["visual.conv1.weight"])
    assert torch.equal(model.text.token_embedding.weight, towers["token_embedding.weight"])
    for name, tower in (("image.blocks", "visual.transformer.resblocks"), ("text.blocks", "transformer.resblocks")):
        part = model.get_submodule(name).state_dict()
        assert all(torch.equal(value, towers[f"{tower}.{key}"]) for key, value in part.items())
