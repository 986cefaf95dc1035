"""ViM: what of an embedding lies outside the space that training faces span, as a logit (Wang et al., CVPR 2022)."""

from __future__ import annotations

import numpy as np

from dfad_bench.metrics.unseen.entry import UndefinedScoreError
from dfad_bench.metrics.unseen.of_outputs import energy


def principal_dimension(width: int) -> int:
    """The dimensions that are kept, by the paper's rule: 1000 of 2048 or more, 512 of 768 or more, else half.

    >>> [principal_dimension(width) for width in (2048, 768, 512)]
    [1000, 512, 256]
    """
    return 1000 if width >= 2048 else 512 if width >= 768 else width // 2


def dimension_note(train_embedding: np.ndarray) -> str:
    """How many dimensions are kept."""
    width = train_embedding.shape[1]
    return f"D = {principal_dimension(width)} of {width}"


def virtual_logit_score(
    embedding: np.ndarray,
    logits: np.ndarray,
    train_embedding: np.ndarray,
    train_logits: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
) -> np.ndarray:
    """Log sum exp of the logits - alpha ||R'(h - u)||.

    u = -pinv(W) b is where all logits are zero, R the eigenvectors of the second moment about u beyond the first D
    (`principal_dimension`), alpha the mean largest logit of training faces over their mean ||R'(h - u)||.

    Raises:
        UndefinedScoreError: as many classes as dimensions, or too few training faces to know the space.
    """
    known = np.asarray(train_embedding, dtype=np.float64)
    width, kept = known.shape[1], principal_dimension(known.shape[1])
    if kept <= len(weight) - 1:
        raise UndefinedScoreError(f"{kept} dimensions are kept, and {len(weight)} classes span {len(weight) - 1}")
    if len(known) <= width:
        raise UndefinedScoreError(f"{len(known)} training faces do not span embeddings of {width} numbers")
    origin = -np.linalg.pinv(np.asarray(weight, dtype=np.float64)) @ np.asarray(bias, dtype=np.float64)
    about = known - origin
    values, vectors = np.linalg.eigh(about.T @ about / len(known))  # ascending
    if values[-1] <= 0 or values[width - kept] <= 1e-7 * values[-1]:
        raise UndefinedScoreError(f"embeddings of training faces lie in fewer than {kept} dimensions")
    rest = vectors[:, : width - kept]
    outside = np.linalg.norm(about @ rest, axis=1).mean()
    if outside <= 0:
        raise UndefinedScoreError("no training face lies outside the space that is kept")
    alpha = float(train_logits.max(axis=1).mean()) / outside
    residual = np.linalg.norm((np.asarray(embedding, dtype=np.float64) - origin) @ rest, axis=1)
    score: np.ndarray = energy(logits) - alpha * residual
    return score
