from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gazeclip.gaze_injector import GazeInjector


def by_loops(injector: GazeInjector, tokens: Tensor, gaze: Tensor, asking: list[int]) -> Tensor:
    """Equations 2 and 3 head by head, query by query, in plain Python loops over the matrices."""
    out = tokens.clone()
    W_que, W_key, W_val, W_fc = (w.weight.T for w in (injector.W_que, injector.W_key, injector.W_val, injector.W_fc))
    inner = W_que.shape[1]
    width = inner // injector.r
    for b in range(len(tokens)):
        for i in asking:
            Q, K, V = tokens[b, i : i + 1] @ W_que, gaze[b] @ W_key, gaze[b] @ W_val
            glo = torch.zeros(inner)
            for head in range(injector.r):
                part = slice(head * width, (head + 1) * width)
                scores = [float(Q[0, part] @ key) / math.sqrt(inner / injector.r) for key in K[:, part]]
                total = sum(math.exp(score) for score in scores)
                for score, value in zip(scores, V[:, part], strict=True):
                    glo[part] += math.exp(score) / total * value
            out[b, i] = tokens[b, i] + glo @ W_fc
    return out


@pytest.mark.parametrize(("query", "asking"), [("cls", [0]), ("patch", [1, 2, 3, 4]), ("all", [0, 1, 2, 3, 4])])
@pytest.mark.parametrize("inner", [16, 8])
@torch.no_grad()
def test_equations_2_and_3_against_loops(query: str, asking: list[int], inner: int) -> None:
    torch.manual_seed(0)
    injector = GazeInjector(16, 4, inner=inner, query=query)
    tokens, gaze = torch.randn(3, 5, 16), torch.randn(3, 1, 16)
    assert torch.allclose(injector(tokens, gaze), by_loops(injector, tokens, gaze, asking), atol=1e-5)


@torch.no_grad()
def test_several_gaze_tokens_are_weighed_by_the_query() -> None:
    """With more than one key nothing is degenerate: the attention itself is right, not only its special case."""
    torch.manual_seed(1)
    injector = GazeInjector(16, 4)
    tokens, gaze = torch.randn(2, 5, 16), torch.randn(2, 3, 16)
    assert torch.allclose(injector(tokens, gaze), by_loops(injector, tokens, gaze, [0]), atol=1e-5)
    other = tokens.clone()
    other[:, 0] += 1
    assert not torch.allclose(injector.answer(tokens[:, :1], gaze), injector.answer(other[:, :1], gaze), atol=1e-4)


@pytest.mark.parametrize("query", ["cls", "patch", "all"])
@torch.no_grad()
def test_fast_equals_full(query: str) -> None:
    torch.manual_seed(2)
    full, fast = GazeInjector(16, 4, query=query), GazeInjector(16, 4, query=query, fast=True)
    fast.load_state_dict(full.state_dict())
    tokens, gaze = torch.randn(2, 5, 16), torch.randn(2, 1, 16)
    assert torch.allclose(full(tokens, gaze), fast(tokens, gaze), atol=1e-6)


def test_one_key_leaves_query_and_key_without_gradient() -> None:
    torch.manual_seed(3)
    injector = GazeInjector(16, 4)
    injector(torch.randn(2, 5, 16), torch.randn(2, 1, 16)).square().sum().backward()
    assert injector.W_que.weight.grad.abs().max() == 0
    assert injector.W_key.weight.grad.abs().max() == 0
    assert injector.W_val.weight.grad.abs().max() > 0
    assert injector.W_fc.weight.grad.abs().max() > 0


@torch.no_grad()
def test_query_decides_which_tokens_change() -> None:
    torch.manual_seed(4)
    tokens, gaze = torch.randn(2, 5, 16), torch.randn(2, 1, 16)
    changed = {
        query: (GazeInjector(16, 4, query=query)(tokens, gaze) != tokens).any(dim=2).any(dim=0).tolist()
        for query in ("cls", "patch", "all")
    }
    assert changed == {"cls": [True] + 4 * [False], "patch": [False] + 4 * [True], "all": 5 * [True]}


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="inner width 10 does not divide into 4 heads"):
        GazeInjector(16, 4, inner=10)
