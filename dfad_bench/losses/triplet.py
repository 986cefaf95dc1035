"""The triplet loss with the hardest pairs of a batch (Hermans et al., arXiv 1703.07737, equation 5)."""

from __future__ import annotations

import torch
from torch import Tensor

from dfad_bench.core.parallel import gather_rows


def hardest_triplet(features: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Mean over anchors of max(0, margin + farthest of its label - nearest of another), Euclidean distances.

    Anchors that are alone with their label, or without another label, are left out; if there is none, the loss is 0.
    Where training splits a batch over processes, the rows of all of them count.

    Args:
        features: (n, d).
        labels: (n,) classes.
        margin: in units of the features.
    """
    features, labels = gather_rows(features.float()), gather_rows(labels)
    squares = (features[:, None] - features[None]).square().sum(dim=2)
    distances = squares.clamp(min=1e-12).sqrt()  # the root has no gradient at 0
    same = labels[:, None] == labels[None]
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    anchors = positive.any(dim=1) & ~same.all(dim=1)
    farthest = distances.masked_fill(~positive, 0.0).amax(dim=1)
    nearest = distances.masked_fill(same, float("inf")).amin(dim=1)
    losses = torch.where(anchors, (margin + farthest - nearest).clamp(min=0), 0.0)
    return losses.sum() / anchors.sum().clamp(min=1)
