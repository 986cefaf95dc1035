"""Cosine of paired vectors: gaze of a real target face against gaze of its forged face (GazeCLIP Fig. 7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class PairedCosine:
    """`values` (n,) is NaN where a vector has no direction; `mean` is over the others, None when there are none."""

    values: np.ndarray
    mean: float | None
    undefined: int  # pairs with a vector of zero norm


def paired_cosine(a: ArrayLike, b: ArrayLike, *, smallest_norm: float = 1e-8) -> PairedCosine:
    """Cosine of each row of `a` with the same row of `b`.

    Args:
        a: (n, d).
        b: (n, d).
        smallest_norm: a vector shorter than this has no direction; its pair is counted, not averaged.

    Raises:
        ValueError: shapes that do not fit, or a value that is not finite.

    >>> result = paired_cosine([[1, 0], [2, 0], [0, 0]], [[3, 0], [0, 1], [1, 1]])
    >>> result.mean, result.undefined
    (0.5, 1)
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != 2 or first.shape != second.shape:
        raise ValueError(f"both must be (n, d), got {first.shape} and {second.shape}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("vectors hold nan or inf; drop those pairs first")
    norm_a, norm_b = np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1)
    defined = (norm_a >= smallest_norm) & (norm_b >= smallest_norm)
    values = np.full(len(first), np.nan)
    # unit vectors first: the product of two tiny norms would underflow
    unit_a, unit_b = first[defined] / norm_a[defined, None], second[defined] / norm_b[defined, None]
    values[defined] = (unit_a * unit_b).sum(axis=1).clip(-1, 1)
    mean = float(values[defined].mean()) if defined.any() else None
    return PairedCosine(values, mean, int((~defined).sum()))


def pair_cosines(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Cosine of each pair (n,), NaN where a vector has no direction. Arguments and errors as of `paired_cosine`.

    >>> pair_cosines([[1, 0], [2, 0]], [[3, 0], [0, 1]]).tolist()
    [1.0, 0.0]
    """
    return paired_cosine(a, b).values


def mean_cosine(a: ArrayLike, b: ArrayLike) -> float | None:
    """Mean cosine of the pairs, None where none is defined. Arguments and errors as of `paired_cosine`.

    >>> mean_cosine([[1, 0], [2, 0]], [[3, 0], [0, 1]])
    0.5
    """
    return paired_cosine(a, b).mean
