"""Symmetric InfoNCE: the cross-modal loss of CLIP, MFCLIP and GazeCLIP (`cmc`)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from dfad_bench.core.parallel import gather_rows
from dfad_bench.losses.supcon import hide_logits

INITIAL_LOGIT_SCALE = math.log(1 / 0.07)
MAX_LOGIT_SCALE = math.log(100.0)


def similarity_logits(image: Tensor, text: Tensor, logit_scale: Tensor) -> Tensor:
    """(B, d) and (C, d) to (B, C): cosines times exp(logit_scale), the scale capped at 100."""
    image, text = F.normalize(image.float(), dim=-1), F.normalize(text.float(), dim=-1)
    return logit_scale.float().clamp(max=MAX_LOGIT_SCALE).exp() * (image @ text.T)


def symmetric_infonce(
    image: Tensor,
    text: Tensor,
    logit_scale: Tensor,
    *,
    targets: Literal["diag", "multi"] = "diag",
    labels: Tensor | None = None,
    present: Tensor | None = None,
) -> Tensor:
    """Mean of the cross-entropies over rows and over columns of the (B, B) similarity matrix.

    Where training splits a batch over processes, the matrix is that of the whole batch.

    Args:
        image: (B, d), normalised here.
        text: (B, d), row i belongs to image i.
        logit_scale: logarithm of the inverse temperature, capped at ln 100.
        targets: "diag" treats every other text as a negative, as the papers' formula does; with few distinct
            captions the loss then cannot fall below the mean logarithm of their multiplicity. "multi" spreads
            the target evenly over equal captions. Where equal captions have equal embeddings both have the same
            value and gradient; they differ where a model's logits also depend on the position in the batch (MFCLIP).
        labels: (B,) equal where captions are equal, on every process (`layers.text.row_keys`); for "multi".
        present: (B,) bool, the rows that count, for "diag"; the others are as if they were left out, and where none
            counts the value is 0. None: all.

    Raises:
        ValueError: shapes differ, or "multi" without labels.
    """
    if image.shape != text.shape:
        raise ValueError(f"image {tuple(image.shape)} and text {tuple(text.shape)} must have one shape")
    logits = similarity_logits(gather_rows(image), gather_rows(text), logit_scale)
    if present is not None:
        if targets != "diag":
            raise ValueError('present goes with targets="diag" only')
        return _cross_entropy_of(logits, gather_rows(present))
    return symmetric_cross_entropy(logits, targets=targets, labels=None if labels is None else gather_rows(labels))


def symmetric_cross_entropy(
    logits: Tensor, *, targets: Literal["diag", "multi"] = "diag", labels: Tensor | None = None
) -> Tensor:
    """`symmetric_infonce` of given (B, B) logits of the whole batch."""
    if targets == "multi":
        if labels is None:
            raise ValueError('targets="multi" needs labels that say which captions are equal')
        same = (labels[:, None] == labels[None]).to(logits.dtype)
        target = same / same.sum(dim=1, keepdim=True)  # symmetric blocks: also right for columns
    else:
        target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def _cross_entropy_of(logits: Tensor, present: Tensor) -> Tensor:
    """`symmetric_cross_entropy` of the rows and columns that are `present` (B,); the host need not know how many."""
    logits = hide_logits(logits, ~(present[:, None] & present))
    target, count = torch.arange(len(logits), device=logits.device), present.sum().clamp(min=1)
    costs = F.cross_entropy(logits, target, reduction="none") + F.cross_entropy(logits.T, target, reduction="none")
    return torch.where(present, costs, 0.0).sum() / count / 2
