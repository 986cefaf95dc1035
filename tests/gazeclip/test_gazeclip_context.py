"""Table XI's learnable prompt, and position tables that learn."""

from __future__ import annotations

import pytest
import torch

from dfad_bench.core.errors import ConfigError
from dfad_bench.layers.clip_towers import clip_model
from dfad_bench.layers.text import tokenize
from dfad_bench.layers.transformer import causal_mask
from gazeclip.config import GazeCLIPConfig
from gazeclip.lre import LRE
from gazeclip.model import GazeCLIP

TINY = GazeCLIPConfig().tiny()
ROW = ("a photo of a fake face", "a photo of an entire synthesized face", "a photo by a GAN", "the model is DDPM")


def encoder(**options: object) -> LRE:
    torch.manual_seed(0)
    return LRE(clip_model(image_size=64, tiny=True), TINY.override(options)).eval()


def test_learned_context_is_a_fifth_segment_whose_last_token_is_read() -> None:
    lre, tokens = encoder(context=16), tokenize(ROW)[None]
    assert lre.LP is not None
    assert lre.P_l.shape == (324, 16)
    assert torch.equal(lre.P_l[308:], lre.P_l[:16])
    assert [block.aws.D.shape for block in lre.blocks] == [(324,), (324,)]
    with torch.no_grad():
        x = torch.cat([lre.token_embedding(tokens).flatten(1, 2), lre.LP[None]], dim=1) + lre.P_l
        for block in lre.blocks:
            x = block(x, causal_mask(324))
        assert torch.allclose(lre(tokens), lre.ln_final(x[:, -1]) @ lre.text_projection, atol=1e-5)
    lre(tokens).square().sum().backward()
    assert lre.LP.grad is not None
    assert bool(lre.LP.grad.ne(0).any(dim=1).all())  # every vector learns


@pytest.mark.parametrize("level", range(4))
def test_the_token_that_is_read_sees_every_level_through_the_context(level: int) -> None:
    lre, other = encoder(context=4, mask_padding=True), list(ROW)
    other[level] = "something else altogether"
    with torch.no_grad():
        assert not torch.allclose(lre(tokenize(ROW)[None]), lre(tokenize(other)[None]), atol=1e-6)


def test_without_context_nothing_changes() -> None:
    lre = encoder()
    assert lre.LP is None
    assert not any(name == "LP" for name in lre.state_dict())


def test_positions_learn_where_they_are_told_to() -> None:
    def learned(**options: object) -> set[str]:
        model = GazeCLIP.build(3, size="tiny", options=options)
        return {name for name, p in model.named_parameters() if p.requires_grad and name.endswith((".P_i", ".P_l"))}

    assert learned() == set()
    assert learned(learn_positions=True) == {"gie.P_i", "lre.P_l"}


def test_impossible_context_is_one_line() -> None:
    with pytest.raises(ConfigError, match="context must be 0 to 77"):
        GazeCLIP.build(3, size="tiny", options={"context": 78})
