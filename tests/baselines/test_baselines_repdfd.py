"""RepDFD: its border pixel by pixel, its texts word by word, who decides, what learns, faces without an embedding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.clip_files import SAVED_LAYOUTS, save_clip
from torch.nn import functional as F

from baselines.repdfd import RepDFD, Reprogramming
from dfad_bench.core.contract import Batch, Inputs, ParameterGroup, loss_terms
from dfad_bench.core.errors import ConfigError
from dfad_bench.engine.contract_checks.subject import PROMPTS
from dfad_bench.layers.text import tokenize

LABELS = torch.tensor([0, 1, 2, 1])


def build(**options: Any) -> RepDFD:
    torch.manual_seed(0)
    return RepDFD.build(4, size="tiny", class_prompts=PROMPTS, options=options).eval()


def faces() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(4, 3, 128, 128, generator=generator), 20 * torch.randn(4, 512, generator=generator)


def batch(**more: Any) -> Batch:
    images, embeddings = faces()
    return Batch(Inputs(images), LABELS, (LABELS > 0).long(), views={"face_embedding": embeddings}, **more)


@torch.no_grad()
def test_the_border_is_learned_and_the_middle_is_the_image() -> None:
    reprogramming = Reprogramming(12, 8)
    reprogramming.delta.normal_()
    image, found = torch.rand(1, 3, 8, 8), None
    found = reprogramming(image)[0]
    learned = iter(range(12**2 - 8**2))
    for y in range(12):
        for x in range(12):
            middle = 2 <= y < 10 and 2 <= x < 10
            expected = image[0, :, y - 2, x - 2] if middle else reprogramming.delta[:, next(learned)]
            assert torch.equal(found[:, y, x], expected)
    assert Reprogramming(224, 156).delta.numel() == 77_520  # as printed, 0.078 M


@torch.no_grad()
def test_the_image_is_normalised_and_the_border_is_not() -> None:
    model, images = build(), torch.rand(2, 3, 90, 90)
    model.reprogramming.delta.fill_(0.25)
    shown = model.reprogrammed(images)
    mean, std = torch.tensor(model.mean)[:, None, None], torch.tensor(model.std)[:, None, None]
    assert torch.allclose(shown[:, :, 19:109, 19:109], (images - mean) / std, atol=1e-6)
    assert torch.equal(shown[:, :, :19], torch.full((2, 3, 19, 128), 0.25))
    assert model.reprogrammed(torch.rand(1, 3, 144, 144)).shape == (1, 3, 128, 128)


def text_feature(model: RepDFD, text: str, embedding: torch.Tensor | None) -> torch.Tensor:
    """A text's feature, word by word; the face's token in the place of the star where there is one."""
    texts = model.texts if hasattr(model, "texts") else model.experts.texts
    ids = tokenize([text])[0].tolist()
    star = tokenize(["*"])[0, 1].item()
    rows = []
    for place, number in enumerate(ids):
        token = texts.token_embedding.weight[number]
        if number == star and embedding is not None:
            width = len(token)
            token = torch.stack([(embedding * texts.projection[:, k]).sum() for k in range(min(width, 512))])
        rows.append(token + texts.positional_embedding[place])
    x = texts.transformer(torch.stack(rows)[None], attn_mask=texts.mask)
    return texts.ln_final(x)[0, ids.index(49407)] @ texts.text_projection


def cosine_logit(model: RepDFD, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    texts = model.texts if hasattr(model, "texts") else model.experts.texts
    return texts.logit_scale.exp() * F.cosine_similarity(image, text, dim=0)


@torch.no_grad()
def test_reprogramming_compares_each_image_with_the_real_text_and_its_own_fake_text() -> None:
    model, data = build(), batch()
    images = model.embed(data.inputs)
    rows = []
    for image, embedding in zip(images, data.views["face_embedding"], strict=True):
        texts = (
            text_feature(model, "a photo of a real face", None),
            text_feature(model, "a photo of a fake face of *", embedding),
        )
        rows.append(torch.stack([cosine_logit(model, image, text) for text in texts]))
    expected = F.cross_entropy(torch.stack(rows), data.detection)
    terms = loss_terms(model.losses(data))
    assert torch.allclose(terms["reprogramming"].value, expected, rtol=1e-4)
    assert (set(terms), terms["reprogramming"].labels) == ({"dfa", "dfd", "reprogramming"}, {"detection"})


@torch.no_grad()
def test_texts_decide_where_asked() -> None:
    model, (images, embeddings) = build(decides="texts"), faces()
    assert (model.needs, model.needs_training) == (("face_embedding",), ())
    output = model(Inputs(images, {"face_embedding": embeddings}))
    picture = model.visual(model.reprogrammed(images))[2]
    for generator, prompts in enumerate(PROMPTS):
        text = text_feature(model, f"{prompts[-1]}, the face of *", embeddings[2])
        assert torch.allclose(output.attribution_logits[2, generator], cosine_logit(model, picture, text), rtol=1e-4)
    for place, words in enumerate(("a photo of a real face", "a photo of a fake face of *")):
        text = text_feature(model, words, embeddings[2])
        assert torch.allclose(output.detection_logits[2, place], cosine_logit(model, picture, text), rtol=1e-4)
    learning = [name for name, p in model.named_parameters() if p.requires_grad]
    assert learning == ["reprogramming.delta"]
    assert set(model.losses(Batch(Inputs(images, {"face_embedding": embeddings}), LABELS, LABELS.clamp(max=1)))) == {
        "dfa",
        "dfd",
    }


@torch.no_grad()
def test_a_face_without_an_embedding_keeps_the_placeholders_word() -> None:
    model, (images, embeddings) = build(decides="texts"), faces()
    present = {"face_embedding": torch.tensor([True, False, True, True])}
    output = model(Inputs(images, {"face_embedding": embeddings}, present))
    picture = model.visual(model.reprogrammed(images))[1]
    text = text_feature(model, "a photo of a fake face of *", None)
    assert torch.allclose(output.detection_logits[1, 1], cosine_logit(model, picture, text), rtol=1e-4)


def test_what_learns_is_the_border_by_its_own_rate_and_the_experts() -> None:
    model = build().train()
    assert not model.visual.training
    model.losses(batch())["reprogramming"].value.backward()
    assert float(model.reprogramming.delta.grad.abs().max()) > 0
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad} == {
        "reprogramming",
        "experts",
    }
    border, *rest = model.parameters_of("main")
    assert isinstance(border, ParameterGroup)
    assert (border.lr, border.weight_decay, border.optimiser, len(rest)) == (1.0, 2e-4, "adamw", 4)
    assert next(iter(build(border_lr=None).parameters_of("main"))) is not None


def test_what_is_lacking_or_does_not_fit_is_one_line() -> None:
    with pytest.raises(ConfigError, match="needs the view 'face_embedding'"):
        build().losses(replace(batch(), views={}))
    with pytest.raises(ConfigError, match=r"must hold '\*' once, as a word, got 'a fake'"):
        build(fake_text="a fake")
    with pytest.raises(ConfigError, match="a prompt for each generator"):
        RepDFD.build(4, size="tiny", options={"decides": "texts"})
    with pytest.raises(ConfigError, match="inner must be below side 128 by an even number, got 91"):
        build(inner=91)


@pytest.mark.heavy
def test_its_experts_tell_64_faces_apart_on_a_frozen_random_tower() -> None:
    """By L-BFGS: features of a random tower differ little and in few directions, and Adam takes thousands of steps."""
    labels, generator = torch.arange(64) % 4, torch.Generator().manual_seed(0)
    images = torch.rand(64, 3, 128, 128, generator=generator)
    for kind, step in enumerate((2, 3, 5), start=1):
        images[labels == kind, :, ::step] *= 0.6
    model = build()
    with torch.no_grad():
        features = model.embed(Inputs(images))
    optimiser = torch.optim.LBFGS(model.experts.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        output = model.experts(features)
        value = F.cross_entropy(output.attribution_logits, labels)
        value = value + F.cross_entropy(output.detection_logits, (labels > 0).long())
        value.backward()
        return value

    optimiser.step(loss)
    output = model(Inputs(images))
    assert (output.attribution_logits.argmax(1) == labels).float().mean() >= 0.95
    assert (output.detection_logits.argmax(1) == (labels > 0)).float().mean() >= 0.95


@pytest.mark.parametrize("layout", SAVED_LAYOUTS)
def test_clips_weights_load_in_every_layout(tmp_path: Path, layout: str) -> None:
    path, towers = save_clip(tmp_path, layout, side=128)
    model = RepDFD.build(3, size="tiny", weights=path)
    assert all(torch.equal(value, towers[f"visual.{name}"]) for name, value in model.visual.state_dict().items())
    for name in ("token_embedding.weight", "text_projection", "transformer.resblocks.1.ln_2.bias"):
        assert torch.equal(model.texts.state_dict()[name], towers[name])


@pytest.mark.parametrize("space", ["feature", "probability"])
def test_texts_decide_beside_an_added_loss(space: str) -> None:
    """The loss listens at the experts from outside, which must not make them look like others."""
    images, embeddings = faces()
    data = Batch(Inputs(images, {"face_embedding": embeddings}), LABELS, (LABELS > 0).long())
    model = build(decides="texts", centre_loss="dfacc", centre_space=space).train()
    terms = loss_terms(model.terms(data))
    assert set(terms) == {"dfa", "dfd", "dfacc"}
    assert torch.isfinite(terms["dfacc"].value)
