from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dfad_bench.core.errors import ConfigError, UnknownNameError, WeightsError
from dfad_bench.layers.clip_towers import clip_model, freeze, read_token_major
from dfad_bench.layers.text import tokenize, unique_rows
from dfad_bench.layers.transformer import causal_mask


def test_tokens_are_open_clips() -> None:
    import open_clip

    prompts = ["a photo of a real face", "the source generative model of this photo is StyleGAN2", "!"]
    assert torch.equal(tokenize(prompts), open_clip.tokenize(prompts))
    assert tokenize(prompts).dtype == torch.int64
    assert tokenize([]).shape == (0, 77)


def test_end_token_has_the_largest_id() -> None:
    row = tokenize(["a photo"])[0]
    assert row[row.argmax()] == 49407
    assert (row[row.argmax() + 1 :] == 0).all()


def test_long_prompt_is_refused_not_cut() -> None:
    assert tokenize(["face " * 75]).shape == (1, 77)
    with pytest.raises(ConfigError, match="prompt of 78 tokens, CLIP takes 77"):
        tokenize(["face " * 76])


def test_unique_rows_gather_back() -> None:
    rows = [("a", "b"), ("c", "d"), ("a", "b"), ("a", "d"), ("c", "d")]
    distinct, index = unique_rows(rows)
    assert [distinct[i] for i in index] == rows
    assert len(distinct) == 3


@pytest.mark.heavy
def test_paper_size_is_vit_b_32() -> None:
    model = clip_model()
    assert sum(p.numel() for p in model.visual.parameters()) == 87_849_216
    assert sum(p.numel() for p in model.parameters()) == 151_277_313
    assert type(model.visual.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_local_weights_load_and_positions_are_resized(tmp_path: Path, suffix: str) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(0)
    source = clip_model(tiny=True, image_size=64)
    path = tmp_path / f"clip{suffix}"
    save_file(source.state_dict(), path) if suffix == ".safetensors" else torch.save(source.state_dict(), path)
    same, larger = (clip_model(tiny=True, image_size=size, weights=path) for size in (64, 128))
    images, text = torch.rand(2, 3, 64, 64), tokenize(["a", "b"])
    with torch.no_grad():
        assert torch.equal(source.encode_image(images), same.encode_image(images))
        assert torch.equal(source.encode_text(text), larger.encode_text(text))
    assert larger.visual.positional_embedding.shape == (65, 32)
    assert torch.equal(larger.visual.positional_embedding[0], source.visual.positional_embedding[0])  # class row kept


def test_weights_of_another_kind_are_one_line(tmp_path: Path) -> None:
    junk, other = tmp_path / "junk.pt", tmp_path / "other.pt"
    junk.write_bytes(b"not weights")
    torch.save({"weight": torch.zeros(1)}, other)
    for path, match in ((junk, "not readable as weights"), (other, "not a CLIP tiny state dict")):
        with pytest.raises(WeightsError, match=match) as caught:
            clip_model(tiny=True, weights=path)
        assert "\n" not in str(caught.value)


def test_weights_of_another_width_are_one_line(tmp_path: Path) -> None:
    state = clip_model(tiny=True, image_size=64).state_dict()
    state["text_projection"] = torch.zeros(3, 3)
    torch.save(state, tmp_path / "wide.pt")
    with pytest.raises(WeightsError, match="does not fit CLIP tiny") as caught:
        clip_model(tiny=True, image_size=64, weights=tmp_path / "wide.pt")
    assert "\n" not in str(caught.value)


def test_unknown_architecture_is_answered_with_near_names() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean .*ViT-B-32"):
        clip_model("ViT-B-32-quickgellu")


def test_freeze_takes_gradients_and_training_mode() -> None:
    model = freeze(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout()).train())
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


class CopiedWeights(TorchDispatchMode):
    """Counts products of each token's rows with a copy of one matrix."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.bmm.default:
            self.count += args[1].stride(0) == 0
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_frozen_attention_copies_no_weights_and_gives_the_same(bf16: bool, masked: bool) -> None:
    torch.manual_seed(0)
    plain = clip_model(tiny=True, image_size=64).transformer.resblocks[0]
    laid_out = freeze(deepcopy(plain))
    freeze(plain, token_major=False)
    x, mask = torch.randn(3, 7, 16), causal_mask(7) if masked else None
    found = []
    for block, copies in ((plain, True), (laid_out, False)):
        read = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16), CopiedWeights() as watch:
            whole = block.attention(q_x=read, attn_mask=mask)
            one = block.attention(read[:, :1], read, read)
        assert (watch.count > 0) is copies
        (whole.float().square().sum() + one.float().square().sum()).backward()
        found.append((whole.float(), one.float(), read.grad))
    tolerance = 2e-2 if bf16 else 1e-6
    assert all(torch.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in zip(*found, strict=True))
    with torch.no_grad():  # torch's own way then
        assert torch.equal(plain.attention(q_x=x), laid_out.attention(q_x=x))


def test_attention_that_learns_is_left_alone() -> None:
    block = read_token_major(clip_model(tiny=True, image_size=64).transformer.resblocks[0])
    seen: list[bool] = []
    block.attn.register_forward_pre_hook(lambda _, given: seen.append(given[0].is_contiguous()))
    for learns in (True, False):
        block.attn.requires_grad_(learns)
        block.attention(q_x=torch.randn(3, 7, 16, requires_grad=True))
    assert seen == [True, False]
