"""Losses of CPL (Sun et al., ICCV 2023): a margin, pairs chosen by votes of whole face and parts, pseudo-labels.

The paper's words leave open how votes are counted and when they agree; `voted_pairs` says how they are here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


def margin_cross_entropy(logits: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Cross-entropy with the true class's logit lowered by `margin`; (n, c) logits, (n,) labels."""
    return F.cross_entropy(logits - margin * _marked(labels, logits.shape[1]), labels)


@dataclass(frozen=True)
class Pairs:
    """(n,) each. `other`: the row a row is paired with, itself where not `found`; `agreed`: see `voted_pairs`."""

    other: Tensor
    found: Tensor
    agreed: Tensor


@torch.no_grad()
def voted_pairs(whole: Tensor, parts: Tensor, allowed: Tensor) -> Pairs:
    """For each row the one that most votes are for: the whole face votes for its nearest row, and so does every part.

    Nearness is cosine similarity, of parts at the same place. Of rows with equally many votes the one nearest as a
    whole is taken. Whole and parts agree where the row that most parts vote for is the whole's.

    Args:
        whole: (n, d) features of whole faces.
        parts: (n, p, d) features of parts.
        allowed: (n, n) bool, whether the second row may be the first one's pair; a row never pairs with itself.
    """
    allowed = allowed & ~torch.eye(len(whole), dtype=torch.bool, device=whole.device)
    near = _similarity(whole.float())[None].masked_fill(~allowed, -2.0)  # (1, n, n)
    near_parts = _similarity(parts.float().transpose(0, 1)).masked_fill(~allowed, -2.0)  # (p, n, n)
    own, local = (_marked(s.argmax(dim=2), len(whole)).sum(dim=0) for s in (near, near_parts))  # (n, n) votes
    order = (near[0] + 2) / 4  # below 1: decides between equal numbers of votes only
    ranked = [(votes + order).masked_fill(~allowed, -1.0).argmax(dim=1) for votes in (own + local, own, local)]
    found = allowed.any(dim=1)
    rows = torch.arange(len(whole), device=whole.device)
    return Pairs(torch.where(found, ranked[0], rows), found, found & (ranked[1] == ranked[2]))


def pair_loss(probabilities: Tensor, pairs: Pairs) -> Tensor:
    """Mean of -log(p_i . p_j) over rows i with a pair j: binary cross-entropy towards "one class"; 0 without any."""
    same = (probabilities * probabilities[pairs.other]).sum(dim=1).clamp(min=1e-8)
    return -torch.where(pairs.found, same.log(), 0.0).sum() / pairs.found.sum().clamp(min=1)


def pseudo_label_loss(logits: Tensor, mask: Tensor, temperature: float = 1.0) -> Tensor:
    """Cross-entropy towards classes drawn by Gumbel softmax, each row weighted by its own probability of the drawn one.

    Args:
        logits: (n, c) of faces without labels; draws come from torch's global generator.
        mask: (n,) rows that count; the mean is over all n.
        temperature: of the draw.
    """
    if not len(logits):
        return logits.sum() * 0
    drawn = F.gumbel_softmax(logits.detach(), tau=temperature, hard=True)
    confidence = (logits.detach().softmax(dim=1) * drawn).sum(dim=1)
    return (mask * confidence * F.cross_entropy(logits, drawn, reduction="none")).mean()


def negative_entropy(probabilities: Tensor) -> Tensor:
    """Minus the entropy of the mean of (n, c) probabilities: lowest where all classes are predicted equally often."""
    mean = probabilities.mean(dim=0)
    return (mean * mean.clamp(min=1e-8).log()).sum()


def _marked(places: Tensor, count: int) -> Tensor:
    """(...) whole numbers to (..., count) bool, one-hot; torch's own reads on a CPU whether all are below `count`."""
    return torch.arange(count, device=places.device) == places[..., None]


def _similarity(features: Tensor) -> Tensor:
    """(..., n, d) to cosine similarities (..., n, n)."""
    z = F.normalize(features, dim=-1)
    return z @ z.transpose(-2, -1)
