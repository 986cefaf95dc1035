"""Supervised contrastive loss (Khosla et al., 2020), used by DNA-Det over crops."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dfad_bench.core.parallel import gather_rows


def supervised_contrastive(features: Tensor, labels: Tensor, temperature: float = 0.07) -> Tensor:
    """Mean over anchors of -1/|P| sum over positives p of log softmax(anchor . p / temperature).

    Positives of an anchor are all other rows of its label; the softmax runs over all rows but the anchor itself
    (equation 2 of the paper, "out"). Anchors without a positive are left out; if there is none, the loss is 0.
    Where training splits a batch over processes, the rows of all of them count.

    Args:
        features: (n, d), L2-normalised here; n counts every crop of every image.
        labels: (n,) classes.
        temperature: of the softmax.
    """
    features, labels = gather_rows(features), gather_rows(labels)
    z = F.normalize(features.float(), dim=1)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    logits = (z @ z.T / temperature).masked_fill(itself, float("-inf"))
    log_shares = logits.log_softmax(dim=1).masked_fill(itself, 0.0)  # 0 instead of -inf: never a positive
    positive = (labels[:, None] == labels[None]) & ~itself
    counts = positive.sum(dim=1)
    anchors = counts > 0
    per_anchor = -(log_shares * positive).sum(dim=1)[anchors] / counts[anchors]
    return per_anchor.mean() if len(per_anchor) else z.sum() * 0
