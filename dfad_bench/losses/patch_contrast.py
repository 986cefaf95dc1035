"""Contrast of forged and real patches within a face, and of both across faces (ForensicsAdapter, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dfad_bench.losses.supcon import hide_logits, supervised_contrastive


def patch_contrast(features: Tensor, forged: Tensor, temperature: float = 0.5, present: Tensor | None = None) -> Tensor:
    """Supervised contrast among the patches of each face that has patches of both kinds, then the mean over those.

    Within a face, the mean over its patches of -1/|P| sum over the others p of its kind of log softmax(z . z_p / tau),
    where the softmax runs over all other patches. 0 where no face has both kinds; a patch alone in its kind is no
    anchor.

    Args:
        features: (B, m, d), normalised here.
        forged: (B, m) bool.
        temperature: tau.
        present: (B,) bool, the faces that count; None: all.
    """
    z = F.normalize(features.float(), dim=-1)
    itself = torch.eye(z.shape[1], dtype=torch.bool, device=z.device)
    logits = hide_logits(z @ z.transpose(1, 2) / temperature, itself)  # (B, m, m)
    log_shares = logits.log_softmax(dim=2).masked_fill(itself, 0.0)  # never a positive
    alike = (forged[:, :, None] == forged[:, None]) & ~itself
    counts = alike.sum(dim=2)  # (B, m)
    anchors = counts > 0
    each = -(log_shares * alike).sum(dim=2) / counts.clamp(min=1)
    mixed = forged.any(dim=1) & ~forged.all(dim=1)
    if present is not None:
        mixed = mixed & present
    per_face = (each * anchors).sum(dim=1) / anchors.sum(dim=1).clamp(min=1)
    return (per_face * mixed).sum() / mixed.sum().clamp(min=1)


def kind_contrast(features: Tensor, forged: Tensor, temperature: float = 0.5, present: Tensor | None = None) -> Tensor:
    """Supervised contrast across faces: of each face the mean of its forged and of its real patches, by their kind.

    Args:
        features: (B, m, d), normalised here before means are taken.
        forged: (B, m) bool.
        temperature: of the softmax.
        present: (B,) bool, the faces that count; None: all.
    """
    z = F.normalize(features.float(), dim=-1)
    kinds = torch.stack([~forged, forged], dim=1)  # (B, 2, m): real, forged
    means = kinds.to(z.dtype) @ z / kinds.sum(dim=2, keepdim=True).clamp(min=1)  # (B, 2, d)
    there = kinds.any(dim=2)  # (B, 2)
    if present is not None:
        there = there & present[:, None]
    labels = torch.arange(2, device=z.device).expand(len(z), 2)
    return supervised_contrastive(means.flatten(0, 1), labels.flatten(), temperature, there.flatten())
