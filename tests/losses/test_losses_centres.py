"""DFACC and the contrastive-center loss against double loops, and their behaviour at the edges."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from dfad_bench.losses.centres import DFACC, Centres, ContrastiveCentre


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return math.sqrt(sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True)))


def dfacc_loop(z: torch.Tensor, labels: list[int], c: torch.Tensor, margin: float, factor: float) -> float:
    b = len(z)
    intra = sum(distance(z[u], c[labels[u]]) for u in range(b)) / b
    inter = 0.0
    for u in range(b):
        for v in range(u + 1, b):
            if labels[u] == labels[v]:
                continue
            apart = distance(z[u], z[v])
            related = distance(c[labels[u]], c[labels[v]]) < margin
            inter += max(apart - margin, 0.0) if related else -apart
    return intra + factor * 2 / (b * (b - 1)) * inter


def rows_and(loss: type[Centres], labels: list[int], **settings: float) -> tuple[Centres, torch.Tensor]:
    """Normalised rows, and a loss whose centres are partly near each other, partly far."""
    torch.manual_seed(0)
    module = loss(4, 6, **settings)
    module.centres.data = F.normalize(torch.randn(4, 6), dim=1)
    module.centres.data[1] = module.centres.data[0] + 0.1
    return module, F.normalize(torch.randn(len(labels), 6), dim=1)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 0, 1], [0, 0, 0, 1], [2, 2, 2], [0, 1]])
@pytest.mark.parametrize(("margin", "factor"), [(0.7, 0.5), (0.5, 0.0), (0.9, 0.7), (5.0, 1.0), (1e-3, 1.0)])
def test_dfacc_equals_a_double_loop(labels: list[int], margin: float, factor: float) -> None:
    module, rows = rows_and(DFACC, labels, margin=margin, factor=factor)
    found = float(module(rows, torch.tensor(labels)).detach())
    assert found == pytest.approx(dfacc_loop(rows, labels, module.centres.detach(), margin, factor), abs=1e-5)


def test_related_generators_are_drawn_together_and_others_pushed_apart() -> None:
    module, _ = rows_and(DFACC, [0])
    for other, towards in ((1, True), (2, False)):  # centre 1 is near centre 0, centre 2 is not
        rows = F.normalize(torch.eye(6)[:2], dim=1).requires_grad_()
        module.inter(rows, torch.tensor([0, other])).backward()
        between = (rows.detach()[1] - rows.detach()[0]) @ -rows.grad[0]  # where descent moves the first row
        assert bool(between > 0) is towards


def test_centres_learn_from_the_intra_part_alone() -> None:
    module, rows = rows_and(DFACC, [0, 1, 2, 3])
    module.inter(rows.requires_grad_(), torch.arange(4)).backward()
    assert module.centres.grad is None
    module(rows, torch.arange(4)).backward()
    assert bool(module.centres.grad.ne(0).all(dim=1).all())


@pytest.mark.parametrize("rows", [torch.zeros(4, 6), torch.ones(1, 6)])
def test_dfacc_of_equal_rows_or_one_row_has_finite_gradients(rows: torch.Tensor) -> None:
    module = DFACC(4, 6)
    module.centres.data[0] = rows[0]  # a face that is its centre, too
    rows = rows.clone().requires_grad_()
    loss = module(rows, torch.arange(len(rows)))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(rows.grad).all()
    assert torch.isfinite(module.centres.grad).all()


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 0], [1, 1, 1]])
def test_contrastive_centre_equals_a_loop(labels: list[int]) -> None:
    module, rows = rows_and(ContrastiveCentre, labels)
    centres, expected = module.centres.detach(), 0.0
    for row, label in zip(rows, labels, strict=True):
        others = sum(distance(row, centre) ** 2 for k, centre in enumerate(centres) if k != label)
        expected += 0.5 * distance(row, centres[label]) ** 2 / (others + 1)
    assert float(module(rows, torch.tensor(labels)).detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("start", "length"), [("sphere", 1.0), ("small", 0.02 * math.sqrt(512))])
def test_centres_start_where_asked(start: str, length: float) -> None:
    torch.manual_seed(0)
    lengths = DFACC(11, 512, start=start).centres.detach().norm(dim=1)
    assert float(lengths.mean()) == pytest.approx(length, rel=0.1)


def test_a_loss_under_autocast_keeps_its_digits() -> None:
    module, rows = rows_and(DFACC, [0, 1, 2, 3, 0, 1])
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(module(rows, labels), module(rows, labels.clone()))
        mixed = float(module(rows, labels).detach())
    assert mixed == pytest.approx(float(module(rows, labels).detach()), rel=1e-6)
