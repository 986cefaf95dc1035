from __future__ import annotations

import math

import pytest
import torch

from dfad_bench.losses.triplet import hardest_triplet


def test_equals_loops_over_anchors() -> None:
    features = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    labels = [0, 0, 0, 1, 1, 2, 1]
    losses = []
    for i in range(7):
        distances = [math.dist(features[i].tolist(), features[j].tolist()) for j in range(7)]
        positive = [distances[j] for j in range(7) if j != i and labels[j] == labels[i]]
        negative = [distances[j] for j in range(7) if labels[j] != labels[i]]
        if positive:
            losses.append(max(0.0, 0.3 + max(positive) - min(negative)))
    assert len(losses) == 6  # the face that is alone with its label is no anchor
    assert float(hardest_triplet(features, torch.tensor(labels), 0.3)) == pytest.approx(sum(losses) / 6, rel=1e-5)


def test_a_batch_without_triplets_has_no_loss_and_finite_gradients() -> None:
    features = torch.ones(4, 3, requires_grad=True)
    for labels in ([0, 0, 0, 0], [0, 1, 2, 3], [0, 0, 1, 1]):
        loss = hardest_triplet(features, torch.tensor(labels), 0.3)
        loss.backward()
        assert float(loss.detach()) == pytest.approx(0.3 if labels == [0, 0, 1, 1] else 0, abs=1e-5)
        assert torch.isfinite(features.grad).all()
