"""CPL's losses against loops over faces, parts and classes."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from dfad_bench.losses.voting import (
    Pairs,
    margin_cross_entropy,
    negative_entropy,
    pair_loss,
    pseudo_label_loss,
    voted_pairs,
)


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))


def votes_by_loops(
    whole: torch.Tensor, parts: torch.Tensor, allowed: torch.Tensor
) -> tuple[list[int], list[bool], list[bool]]:
    """Pair of each row (itself where it has none), whether it has one, whether whole and parts agree."""
    pairs, found, agreed = [], [], []
    for i in range(len(whole)):
        others = [j for j in range(len(whole)) if j != i and allowed[i, j]]
        if not others:
            pairs.append(i), found.append(False), agreed.append(False)
            continue
        near = {j: cosine(whole[i], whole[j]) for j in others}
        own = max(others, key=lambda j: near[j])
        local = dict.fromkeys(others, 0)
        for part in range(parts.shape[1]):
            local[max(others, key=lambda j: cosine(parts[i, part], parts[j, part]))] += 1
        total = {j: local[j] + (j == own) for j in others}
        pairs.append(max(others, key=lambda j: (total[j], near[j])))
        found.append(True)
        agreed.append(max(others, key=lambda j: (local[j], near[j])) == own)
    return pairs, found, agreed


@pytest.mark.parametrize("seed", range(4))
def test_votes_equal_loops(seed: int) -> None:
    torch.manual_seed(seed)
    whole, parts = torch.randn(9, 3), torch.randn(9, 4, 3)
    parts = parts + 1.5 * whole[:, None]  # so that some agree
    labels = torch.tensor([0, 0, 0, 1, 2, -1, -1, -1, -1])
    hidden = labels < 0
    allowed = hidden[:, None] | (labels[:, None] == labels[None])
    pairs = voted_pairs(whole, parts, allowed)
    expected = votes_by_loops(whole, parts, allowed)
    assert (pairs.other.tolist(), pairs.found.tolist(), pairs.agreed.tolist()) == expected
    assert expected[1] == [True] * 3 + [False] * 2 + [True] * 4  # two faces are alone with their label
    assert any(expected[2])  # the draw has faces whose votes agree, else nothing was compared
    assert pairs.other[0] in (1, 2)


def test_most_votes_win_over_the_nearest_whole_face() -> None:
    """Face 0 is nearest to face 1 as a whole, and to face 2 in two of its three parts."""
    whole = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    parts = torch.tensor([[[1.0, 0.0]] * 3, [[1.0, 0.1], [0.0, 1.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]])
    everyone = torch.ones(3, 3, dtype=torch.bool)
    pairs = voted_pairs(whole, parts, everyone)
    assert int(pairs.other[0]) == 1  # two votes each; the nearer one as a whole
    assert not bool(pairs.agreed[0])
    parts[1, 0] = torch.tensor([0.0, 1.0])
    parts[2, 0] = torch.tensor([1.0, 0.0])
    assert int(voted_pairs(whole, parts, everyone).other[0]) == 2


def test_pair_loss_equals_loops() -> None:
    torch.manual_seed(0)
    p = torch.randn(4, 3).softmax(dim=1)
    pairs = Pairs(torch.tensor([1, 3, 2, 0]), torch.tensor([True, True, False, True]), torch.zeros(4, dtype=torch.bool))
    values = [-math.log(sum(float(p[i, c] * p[j, c]) for c in range(3))) for i, j in ((0, 1), (1, 3), (3, 0))]
    assert float(pair_loss(p, pairs)) == pytest.approx(sum(values) / 3, rel=1e-5)
    none = Pairs(torch.arange(4), torch.zeros(4, dtype=torch.bool), torch.zeros(4, dtype=torch.bool))
    assert float(pair_loss(p, none)) == 0


def test_pseudo_labels_are_drawn_and_weighted_by_their_probability() -> None:
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    mask = torch.tensor([True, False, True, True, False, True])
    torch.manual_seed(5)
    found = pseudo_label_loss(logits, mask)
    torch.manual_seed(5)
    noise = -torch.empty(6, 3).exponential_().log()  # Gumbel noise
    total = 0.0
    for i in range(6):
        scores = (logits[i].detach() + noise[i]).tolist()
        drawn = scores.index(max(scores))
        share = float(logits[i].detach().softmax(dim=0)[drawn])
        total += bool(mask[i]) * share * -math.log(share)
    assert float(found) == pytest.approx(total / 6, rel=1e-4)
    found.backward()
    assert (logits.grad[~mask] == 0).all()
    assert float(pseudo_label_loss(logits[:0], mask[:0])) == 0


def test_margin_and_entropy() -> None:
    logits, labels = torch.tensor([[1.0, 2.0, 0.5], [0.0, 0.0, 3.0]]), torch.tensor([1, 0])
    expected = F.cross_entropy(torch.tensor([[1.0, 1.8, 0.5], [-0.2, 0.0, 3.0]]), labels)
    assert torch.allclose(margin_cross_entropy(logits, labels, 0.2), expected)
    p = torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.5, 0.4]])
    assert float(negative_entropy(p)) == pytest.approx(0.3 * math.log(0.3) + 0.5 * math.log(0.5) + 0.2 * math.log(0.2))
