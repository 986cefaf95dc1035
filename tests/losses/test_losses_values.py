"""Each loss against a computation by hand or by plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from dfad_bench.losses.alignment import kl_alignment
from dfad_bench.losses.auto_weight import AutoWeight
from dfad_bench.losses.contrastive import MAX_LOGIT_SCALE, similarity_logits, symmetric_infonce
from dfad_bench.losses.supcon import supervised_contrastive


def test_infonce_of_two_samples_by_hand() -> None:
    image = torch.tensor([[2.0, 0.0], [0.0, 3.0]])  # lengths must not matter
    text = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    scale = math.log(5)
    # cosines [[1, 0.6], [0, 0.8]], times 5: [[5, 3], [0, 4]]
    rows = (math.log(1 + math.exp(3 - 5)) + math.log(1 + math.exp(0 - 4))) / 2
    columns = (math.log(1 + math.exp(0 - 5)) + math.log(1 + math.exp(3 - 4))) / 2
    loss = symmetric_infonce(image, text, torch.tensor(scale))
    assert float(loss) == pytest.approx((rows + columns) / 2, rel=1e-5)


def test_infonce_scale_is_capped_at_100() -> None:
    x = torch.eye(2)
    assert float(similarity_logits(x, x, torch.tensor(9.0))[0, 0]) == pytest.approx(100, rel=1e-5)
    assert pytest.approx(math.log(100)) == MAX_LOGIT_SCALE


def test_equal_captions_put_a_floor_under_diag_and_none_under_multi() -> None:
    """Pairs of equal captions, perfectly aligned: diag cannot fall below ln 2, multi targets are met exactly."""
    labels = torch.tensor([0, 0, 1, 1])
    features, scale = torch.eye(2)[labels], torch.tensor(MAX_LOGIT_SCALE)
    assert float(symmetric_infonce(features, features, scale)) == pytest.approx(math.log(2), rel=1e-5)
    free = features.clone().requires_grad_()
    loss = symmetric_infonce(free, features, scale, targets="multi", labels=labels)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.log(2), rel=1e-5)  # the entropy of the target itself
    assert free.grad.abs().max() < 1e-4  # nothing left to gain


def test_multi_equals_diag_where_all_captions_differ() -> None:
    torch.manual_seed(0)
    image, text, scale = torch.randn(5, 4), torch.randn(5, 4), torch.tensor(2.0)
    multi = symmetric_infonce(image, text, scale, targets="multi", labels=torch.arange(5))
    assert torch.allclose(multi, symmetric_infonce(image, text, scale))


def test_multi_needs_labels_and_shapes_must_agree() -> None:
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="needs labels"):
        symmetric_infonce(x, x, torch.tensor(1.0), targets="multi")
    with pytest.raises(ValueError, match="must have one shape"):
        symmetric_infonce(x, torch.zeros(3, 3), torch.tensor(1.0))


def supcon_loop(features: torch.Tensor, labels: list[int], temperature: float) -> float:
    z = [row / row.norm() for row in features]
    total, anchors = 0.0, 0
    for i in range(len(z)):
        positives = [j for j in range(len(z)) if j != i and labels[j] == labels[i]]
        if not positives:
            continue
        denominator = sum(math.exp(float(z[i] @ z[a]) / temperature) for a in range(len(z)) if a != i)
        terms = [math.log(math.exp(float(z[i] @ z[p]) / temperature) / denominator) for p in positives]
        total, anchors = total - sum(terms) / len(positives), anchors + 1
    return total / anchors


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 2], [3, 3, 3, 3, 3, 3]])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_supcon_equals_a_double_loop(labels: list[int], temperature: float) -> None:
    torch.manual_seed(0)
    features = torch.randn(6, 5)
    loss = supervised_contrastive(features, torch.tensor(labels), temperature)
    assert float(loss) == pytest.approx(supcon_loop(features, labels, temperature), rel=1e-4)


def test_supcon_does_not_depend_on_the_order_of_rows() -> None:
    torch.manual_seed(0)
    features, labels, order = torch.randn(8, 5), torch.arange(8) % 3, torch.randperm(8)
    a, b = supervised_contrastive(features, labels), supervised_contrastive(features[order], labels[order])
    assert torch.allclose(a, b, rtol=1e-5)


def test_supcon_without_any_positive_is_zero_and_differentiable() -> None:
    features = torch.randn(3, 4, requires_grad=True)
    loss = supervised_contrastive(features, torch.arange(3))
    loss.backward()
    assert loss == 0
    assert torch.isfinite(features.grad).all()


def test_supcon_gradient_is_finite() -> None:
    features = torch.randn(6, 4, requires_grad=True)
    supervised_contrastive(features, torch.tensor([0, 0, 1, 1, 2, 3])).backward()
    assert torch.isfinite(features.grad).all()


def test_kl_of_equal_embeddings_is_zero_and_of_two_bins_by_hand() -> None:
    x = torch.randn(4, 6)
    assert float(kl_alignment(x, x)) == pytest.approx(0, abs=1e-5)
    prediction, text = torch.tensor([[0.0, 0.0]]), torch.tensor([[20 * math.log(3), 0.0]])
    # softmax(text / 20) = (3/4, 1/4) against (1/2, 1/2)
    by_hand = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert float(kl_alignment(prediction, text)) == pytest.approx(0.5 * 400 * by_hand, rel=1e-4)


def test_auto_weight_starts_as_printed_and_finds_its_optimum() -> None:
    module, losses = AutoWeight(2), torch.tensor([3.0, 0.2])
    assert float(module(losses).detach()) == pytest.approx(0.5 * 3.2 + 2 * math.log(2), rel=1e-5)
    optimiser = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(800):
        optimiser.zero_grad()
        module(losses).backward()
        optimiser.step()
    # derivative zero: -L/p^3 + 2p/(1+p^2) = 0, hence 2 p^4 = L (1 + p^2)
    p2 = module.p.detach() ** 2
    assert torch.allclose(2 * p2**2, losses * (1 + p2), rtol=1e-2)


def test_auto_weight_is_a_module_the_optimiser_sees() -> None:
    assert [name for name, _ in nn.ModuleDict({"w": AutoWeight(2)}).named_parameters()] == ["w.p"]
