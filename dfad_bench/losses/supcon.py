"""Supervised contrastive loss (Khosla et al., 2020), used by DNA-Det over crops."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dfad_bench.core.parallel import gather_rows


def hide_logits(logits: Tensor, hidden: Tensor) -> Tensor:
    """Logits of which a softmax leaves out some: these become the smallest number of their format.

    -inf would have no gradient in a row of nothing else, and float32's smallest does not fit into bf16 and fp16, in
    which products are under autocast.

    Args:
        logits: any shape, floating point.
        hidden: bool, broadcast to it; those left out.
    """
    return logits.masked_fill(hidden, torch.finfo(logits.dtype).min)


def supervised_contrastive(
    features: Tensor, labels: Tensor, temperature: float = 0.07, present: Tensor | None = None
) -> Tensor:
    """Mean over anchors of -1/|P| sum over positives p of log softmax(anchor . p / temperature).

    Positives of an anchor are all other rows of its label; the softmax runs over all rows but the anchor itself
    (equation 2 of the paper, "out"). Anchors without a positive are left out; if there is none, the loss is 0.
    Where training splits a batch over processes, the rows of all of them count.

    Args:
        features: (n, d), L2-normalised here; n counts every crop of every image.
        labels: (n,) classes.
        temperature: of the softmax.
        present: (n,) bool, the rows that there are; the others are as if they were left out. None: all.
    """
    features, labels = gather_rows(features), gather_rows(labels)
    z = F.normalize(features.float(), dim=1)
    hidden = torch.eye(len(z), dtype=torch.bool, device=z.device)  # each row from itself
    if present is not None:
        present = gather_rows(present)
        hidden = hidden | ~(present[:, None] & present)
    logits = hide_logits(z @ z.T / temperature, hidden)
    positive = (labels[:, None] == labels) & ~hidden
    log_shares = torch.where(positive, logits.log_softmax(dim=1), 0.0)
    counts = positive.sum(dim=1)
    each = -log_shares.sum(dim=1) / counts.clamp(min=1)  # 0 of a row without a positive
    return each.sum() / (counts > 0).sum().clamp(min=1)  # of rows chosen by a mask the host would have to know how many
