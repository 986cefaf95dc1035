"""CLIP and MFCLIP: published counts, prompts, pair attention, and what the text towers may see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from baselines.clip import CLIP
from baselines.mfclip import MFCLIP, MFCLIPConfig, TextEncoder
from dfad_bench.core.contract import Batch, Inputs
from dfad_bench.core.errors import ConfigError, WeightsError
from dfad_bench.core.notices import collect_notices
from dfad_bench.layers.richest_patch import richest_patch
from dfad_bench.layers.text import tokenize

LEVELS = tuple(f"{level} photo" for level in ("a real", "an old", "a new", "the last"))
PROMPTS = (LEVELS, (*LEVELS[:3], "another photo"), ("x", "y", "z", "w"))


def batch(labels: tuple[int, ...] = (0, 1, 2, 1)) -> Batch:
    images = torch.rand(len(labels), 3, 128, 128, generator=torch.Generator().manual_seed(0))
    attribution = torch.tensor(labels)
    return Batch(Inputs(images), attribution, (attribution > 0).long(), [PROMPTS[label] for label in labels])


def millions(*modules: torch.nn.Module) -> float:
    return sum(p.numel() for module in modules for p in module.parameters()) / 1e6


@pytest.mark.heavy
def test_mfclip_counts() -> None:
    model = MFCLIP.build(11)
    tokens = 2 * (512 + 2 * 512) / 1e6  # class tokens and positions, which the published count does not see
    assert millions(model.vision, model.experts) - tokens == pytest.approx(68.38, abs=0.01)
    assert millions(model.text) == pytest.approx(63.55, abs=0.01)  # the 12-block text tower over 308 tokens


def test_clip_trains_on_the_finest_prompt_only() -> None:
    torch.manual_seed(0)
    model, data = CLIP.build(3, size="tiny").eval(), batch()
    coarse_changed = replace(data, prompts=[("other",) * 3 + row[-1:] for row in data.prompts])
    fine_changed = replace(data, prompts=[(*row[:-1], "other") for row in data.prompts])
    with torch.no_grad():
        loss = model.losses(data)
        assert torch.equal(loss["cmc"].value, model.losses(coarse_changed)["cmc"].value)
        assert not torch.equal(loss["cmc"].value, model.losses(fine_changed)["cmc"].value)
    assert set(loss) == {"dfa", "dfd", "cmc"}


def test_clip_on_distinct_prompts_equals_clip_on_every_row() -> None:
    torch.manual_seed(0)
    model, data = CLIP.build(3, size="tiny").eval(), batch()
    with torch.no_grad():
        image = F.normalize(model.embed(data.inputs), dim=1)
        text = F.normalize(model.clip.encode_text(tokenize([row[-1] for row in data.prompts])), dim=1)
        logits = image @ text.T / 0.07
        expected = (F.cross_entropy(logits, torch.arange(4)) + F.cross_entropy(logits.T, torch.arange(4))) / 2
        assert torch.allclose(model.losses(data)["cmc"].value, expected, rtol=1e-4)


@torch.no_grad()
def test_clip_with_aws_weighs_each_of_77_positions_in_every_text_block() -> None:
    torch.manual_seed(0)
    model = CLIP.build(3, size="tiny", options={"aws_pos": "before"}).eval()
    clip, tokens = model.clip, tokenize(["a photo of a face", "the source generative model of this photo is DDPM"])
    x = clip.token_embedding(tokens) + clip.positional_embedding
    for block, aws in zip(clip.transformer.resblocks, model.aws, strict=True):
        read = block.ln_1(x)
        for place in range(77):
            read[:, place] *= aws.D[place]
        x = x + block.attn(read, read, read, attn_mask=clip.attn_mask)[0]
        x = x + block.mlp(block.ln_2(x))
    ends = [clip.ln_final(row)[int(ids.argmax())] @ clip.text_projection for row, ids in zip(x, tokens, strict=True)]
    assert torch.allclose(model.encode_text(tokens), torch.stack(ends), atol=1e-5)
    for aws in model.aws:
        torch.nn.init.ones_(aws.D)
    assert torch.allclose(model.encode_text(tokens), clip.encode_text(tokens), atol=1e-6)


def test_aws_trains_only_through_the_captions_of_clip() -> None:
    torch.manual_seed(0)
    assert [name for name in CLIP.build(3, size="tiny").state_dict() if "aws" in name] == []
    model = CLIP.build(3, size="tiny", options={"aws_pos": "before"})
    model.losses(batch())["cmc"].value.backward()
    assert [int(aws.D.grad.ne(0).sum()) > 2 for aws in model.aws] == [True, True]
    with torch.no_grad():
        plain = CLIP.build(3, size="tiny")
        plain.load_state_dict({k: v for k, v in model.state_dict().items() if "aws" not in k})
        assert torch.equal(model.eval()(batch().inputs).embedding, plain.eval()(batch().inputs).embedding)


@pytest.mark.parametrize("model", [CLIP, MFCLIP])
def test_missing_prompts_are_one_line(model: type) -> None:
    with pytest.raises(ConfigError, match="trains on .*prompts"):
        model.build(3, size="tiny").losses(replace(batch(), prompts=()))


def text_encoder() -> TextEncoder:
    torch.manual_seed(0)
    return TextEncoder(MFCLIPConfig.tiny(), depth=1).eval()


def test_mfclip_text_sees_every_level() -> None:
    encoder = text_encoder()
    with torch.no_grad():
        base = encoder(tokenize(LEVELS)[None])
        for level in range(4):
            prompts = list(LEVELS)
            prompts[level] = "something else"
            assert not torch.allclose(encoder(tokenize(prompts)[None]), base, atol=1e-4), f"level {level + 1} is unseen"


def test_mfclip_text_does_not_see_behind_the_last_end_token() -> None:
    encoder, tokens = text_encoder(), tokenize(LEVELS)[None]
    end = int(tokens[0, -1].argmax())
    changed = tokens.clone()
    changed[0, -1, end + 1 :] = 7
    with torch.no_grad():
        assert torch.equal(encoder(tokens), encoder(changed))


def test_pair_attention_starts_neutral_and_leaves_the_rest_alone() -> None:
    model, logits = MFCLIP.build(3, size="tiny", options={"pairs": 3}), torch.randn(5, 5)
    assert torch.equal(model.pair_attention(logits), logits)
    model.spa.data = torch.randn(3, 3)
    out = model.pair_attention(logits)
    for i in range(5):
        for j in range(5):
            factor = 2 * torch.sigmoid(model.spa[i, j]) if i < 3 and j < 3 else torch.tensor(1.0)
            assert torch.allclose(out[i, j], logits[i, j] * factor)
    assert torch.allclose(model.pair_attention(logits[:2, :2]), out[:2, :2])


def test_mfclip_embedding_is_the_normalised_sum_of_both_encoders() -> None:
    torch.manual_seed(0)
    model, data = MFCLIP.build(3, size="tiny").eval(), batch()
    images, vision = data.inputs.images, model.vision
    with torch.no_grad():
        appearance = vision.appearance(vision.features(images))
        noise = vision.noise(vision.features_srm(vision.srm(richest_patch(images))))
        expected = (appearance + noise) / (appearance + noise).norm(dim=1, keepdim=True)
        assert torch.allclose(model.embed(data.inputs), expected, atol=1e-6)


def test_mfclip_losses_by_hand() -> None:
    torch.manual_seed(0)
    model, data = MFCLIP.build(3, size="tiny").eval(), batch()
    with torch.no_grad():
        losses, image = model.losses(data), model.embed(data.inputs)
        text = model.text(torch.stack([tokenize(row) for row in data.prompts]))
        p, q = (model.predictor(image) / 20).softmax(1), (text / 20).softmax(1)
        kl = (q * (q.log() - p.log())).sum(1).mean() * 0.5 * 400
        logits = image @ F.normalize(text, dim=1).T / 0.07
        cmc = (F.cross_entropy(logits, torch.arange(4)) + F.cross_entropy(logits.T, torch.arange(4))) / 2
    assert torch.allclose(losses["kl"].value, kl, rtol=1e-3)
    assert torch.allclose(losses["cmc"].value, cmc, rtol=1e-4)
    assert torch.equal(losses["kd_ce"].weight * losses["kd_ce"].value, 0.5 * losses["dfa"])


def test_mfclip_text_is_trained_not_frozen_by_kl() -> None:
    """The text side of the KL term is not detached."""
    model = MFCLIP.build(3, size="tiny").train()
    model.losses(batch())["kl"].value.backward()
    assert model.text.text_projection.grad.abs().max() > 0


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_mfclips_text_tower_has_the_authors_activation(activation: str) -> None:
    torch.manual_seed(0)
    options = {} if activation == "quick_gelu" else {"text_activation": activation}
    mlp = MFCLIP.build(3, size="tiny", options=options).text.transformer.layers[0][1].fn.fn.net
    x = torch.randn(5, 16)
    hidden = mlp[0](x)
    expected = hidden * torch.sigmoid(1.702 * hidden) if activation == "quick_gelu" else F.gelu(hidden)
    assert torch.allclose(mlp(x), mlp[2](expected), atol=1e-6)


@pytest.mark.parametrize("levels", ["truncated", "rounded"])
def test_mfclips_patch_is_found_on_the_levels_asked_for(levels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        "baselines.mfclip.richest_patch", lambda images, rounded: asked.append(rounded) or images[..., ::2, ::2]
    )
    options = {} if levels == "truncated" else {"grey_levels": levels}
    MFCLIP.build(3, size="tiny", options=options).embed(batch().inputs)
    assert asked == [levels == "rounded"]


@pytest.mark.heavy
def test_mfclip_loads_a_visual_encoder_of_its_authors_code(tmp_path: Path) -> None:
    model = MFCLIP.build(3, size="tiny")
    renamed = {
        "appearance.pos_embedding": "pos_embedding",
        "noise.pos_embedding": "pos_embedding_srm",
        "appearance.to_embedding": "patch_to_embedding",
        "noise.to_embedding": "patchsrm_to_embedding",
        "appearance.transformer": "transformer",
        "noise.transformer": "transformer_srm",
        "appearance.cls_token": "cls_token",
        "noise.cls_token": "cls_token_rm",
        "features_srm": "features_SRM",
        "srm.kernel": "SRM.kernel",
    }
    state = {}
    for key, value in model.vision.state_dict().items():
        start = next((ours for ours in renamed if key.startswith(ours)), None)
        state[renamed[start] + key[len(start) :] if start else key] = value
    tables = {name: torch.randn(24, 1, 32) for name in ("pos_embedding", "pos_embedding_srm")}
    state |= tables
    text = {"token_embedding.weight": torch.zeros(3), "transformer.resblocks.0.ln_1.weight": torch.zeros(3)}
    whole = {f"visual.{name}": value for name, value in state.items()} | text
    for content in (state, whole, {"model": {f"module.{name}": value for name, value in whole.items()}}):
        torch.save(content, tmp_path / "mfclip.pt")
        with collect_notices() as lines:
            again = MFCLIP.build(3, size="tiny", weights=tmp_path / "mfclip.pt")
        found, kept = again.vision.state_dict(), [k for k in model.vision.state_dict() if "pos_embedding" not in k]
        assert all(torch.equal(found[k], model.vision.state_dict()[k]) for k in kept)
        # by place in the batch: a face alone has the first
        assert torch.equal(found["appearance.pos_embedding"], tables["pos_embedding"][:1].expand(1, 2, 32))
        assert torch.equal(found["noise.pos_embedding"], tables["pos_embedding_srm"][:1].expand(1, 2, 32))
        assert again.vision.appearance.transformer.layers[0][0].fn.fn.scale == 32**-0.5  # the full width, as released
        assert any("by place in the batch of 24" in line for line in lines)
        assert any("'visual.' is used" in line for line in lines) == (content is not state)
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="not an MFCLIP visual encoder"):
        MFCLIP.build(3, size="tiny", weights=tmp_path / "other.pt")
