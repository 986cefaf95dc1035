from __future__ import annotations

import math

import pytest
import torch

from dfad_bench.layers.transformer import Attention, PreNormTransformer, causal_mask


def loop_attention(module: Attention, x: torch.Tensor, scale: float, mask: torch.Tensor | None) -> torch.Tensor:
    """Query by query, head by head, in plain Python."""
    batch, tokens, _ = x.shape
    inner = module.to_out.in_features
    width = inner // module.heads
    bias = module.to_qkv.bias if module.to_qkv.bias is not None else torch.zeros(3 * inner)
    out = torch.zeros(batch, tokens, inner)
    for b in range(batch):
        rows = [module.to_qkv.weight @ x[b, t] + bias for t in range(tokens)]
        for h in range(module.heads):
            part = slice(h * width, (h + 1) * width)
            q = [row[:inner][part] for row in rows]
            k = [row[inner : 2 * inner][part] for row in rows]
            v = [row[2 * inner :][part] for row in rows]
            for i in range(tokens):
                logits = [
                    float(q[i] @ k[j]) * scale + (float(mask[i, j]) if mask is not None else 0) for j in range(tokens)
                ]
                weights = [math.exp(value - max(logits)) for value in logits]
                out[b, i, part] = sum(w / sum(weights) * value for w, value in zip(weights, v, strict=True))
    return out @ module.to_out.weight.T + module.to_out.bias


@pytest.mark.parametrize(("qkv_bias", "head_dim"), [(False, None), (True, None), (False, 5)])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_equals_an_explicit_loop(qkv_bias: bool, head_dim: int | None, masked: bool) -> None:
    torch.manual_seed(0)
    module = Attention(12, 3, qkv_bias=qkv_bias, head_dim=head_dim)
    x, mask = torch.randn(2, 4, 12), causal_mask(4) if masked else None
    with torch.no_grad():
        expected = loop_attention(module, x, (head_dim or 4) ** -0.5, mask)
        assert torch.allclose(module(x, mask), expected, atol=1e-5)


def test_legacy_scale_divides_by_the_full_width() -> None:
    torch.manual_seed(0)
    module, x = Attention(8, 2, legacy_scale=True), torch.randn(1, 3, 8)
    with torch.no_grad():
        assert torch.allclose(module(x), loop_attention(module, x, 8**-0.5, None), atol=1e-5)


def test_blocks_are_pre_norm_with_residuals() -> None:
    torch.manual_seed(0)
    model, x = PreNormTransformer(8, 1, 2, 16), torch.randn(2, 3, 8)
    attention, mlp = model.layers[0][0].fn, model.layers[0][1].fn
    middle = x + attention.fn(torch.nn.functional.layer_norm(x, (8,), attention.norm.weight, attention.norm.bias))
    expected = middle + mlp.fn(torch.nn.functional.layer_norm(middle, (8,), mlp.norm.weight, mlp.norm.bias))
    assert torch.allclose(model(x), expected, atol=1e-6)


def test_zeroed_outputs_leave_the_tokens_alone() -> None:
    model, x = PreNormTransformer(8, 3, 2, 16), torch.randn(2, 3, 8)
    for block in model.layers:
        for last in (block[0].fn.fn.to_out, block[1].fn.fn.net[2]):
            torch.nn.init.zeros_(last.weight)
            torch.nn.init.zeros_(last.bias)
    assert torch.equal(model(x), x)


def test_causal_mask_hides_the_future() -> None:
    torch.manual_seed(0)
    model, mask = PreNormTransformer(8, 2, 2, 16), causal_mask(5)
    x = torch.randn(1, 5, 8)
    changed = x.clone()
    changed[:, 3:] = torch.randn(1, 2, 8)  # a constant shift would vanish in the layer norm
    assert torch.equal(model(x, mask)[:, :3], model(changed, mask)[:, :3])
    assert not torch.allclose(model(x)[:, :3], model(changed)[:, :3])


def test_names_are_those_of_the_released_networks() -> None:
    names = dict(PreNormTransformer(8, 1, 2, 16).named_parameters())
    assert names["layers.0.0.fn.fn.to_qkv.weight"].shape == (24, 8)
    assert "layers.0.0.fn.fn.to_qkv.bias" not in names
    assert names["layers.0.0.fn.fn.to_out.bias"].shape == (8,)
    assert names["layers.0.1.fn.fn.net.0.weight"].shape == (16, 8)


def test_indivisible_width_is_refused() -> None:
    with pytest.raises(ValueError, match="does not divide into 3 heads"):
        Attention(8, 3)
