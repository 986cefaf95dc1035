"""Frechet distance between Gaussians: the FID of gaze vectors (GazeCLIP Fig. 1).

Units are the square of the input's: radians in, radians squared out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def gaussian(vectors: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and covariance (d, d) of (n, d) vectors, with n - 1 in the denominator.

    Raises:
        ValueError: fewer than two rows, not two-dimensional, or a value that is not finite.

    >>> mean, cov = gaussian([[0.0, 0.0], [2.0, 0.0]])
    >>> mean.tolist(), cov.tolist()
    ([1.0, 0.0], [[2.0, 0.0], [0.0, 0.0]])
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2:
        raise ValueError(f"vectors must be (n, d), got {rows.shape}")
    if len(rows) < 2:
        raise ValueError(f"a covariance needs two rows or more, got {len(rows)}")
    if not np.isfinite(rows).all():
        raise ValueError("vectors hold nan or inf; drop those rows first")
    mean = rows.mean(axis=0)
    centred = rows - mean
    return mean, centred.T @ centred / (len(rows) - 1)


def frechet_distance(mean_a: ArrayLike, cov_a: ArrayLike, mean_b: ArrayLike, cov_b: ArrayLike) -> float:
    """Squared Frechet distance |m_a - m_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2), any dimension.

    The trace of the root is the sum of the roots of the eigenvalues, so singular covariances need no jitter.

    Args:
        mean_a: (d,).
        cov_a: (d, d), symmetric, positive semi-definite.
        mean_b: as `mean_a`.
        cov_b: as `cov_a`.

    Raises:
        ValueError: shapes that do not fit, or a value that is not finite.

    >>> frechet_distance([0.0, 0.0], [[1, 0], [0, 1]], [3.0, 4.0], [[1, 0], [0, 1]])
    25.0
    """
    m_a, s_a, m_b, s_b = (np.asarray(value, dtype=np.float64) for value in (mean_a, cov_a, mean_b, cov_b))
    d = m_a.size
    if m_a.shape != (d,) or m_b.shape != (d,) or s_a.shape != (d, d) or s_b.shape != (d, d):
        raise ValueError(f"shapes do not fit: means {m_a.shape} {m_b.shape}, covariances {s_a.shape} {s_b.shape}")
    if not all(np.isfinite(value).all() for value in (m_a, s_a, m_b, s_b)):
        raise ValueError("means and covariances must be finite")
    values, vectors = np.linalg.eigh(s_a)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T  # A^1/2
    inner = root @ s_b @ root
    roots = np.sqrt(np.linalg.eigvalsh((inner + inner.T) / 2).clip(min=0))
    distance = ((m_a - m_b) ** 2).sum() + np.trace(s_a) + np.trace(s_b) - 2 * roots.sum()
    return float(max(distance, 0.0))  # rounding can leave -1e-17


def gaussian_frechet_2d(mean_a: ArrayLike, cov_a: ArrayLike, mean_b: ArrayLike, cov_b: ArrayLike) -> np.ndarray:
    """`frechet_distance` in closed form for d = 2, over any leading axes (bootstrap resamples).

    tr (A^1/2 B A^1/2)^1/2 = sqrt(tr(AB) + 2 sqrt(det A det B)). A value that is not finite gives nan.

    Args:
        mean_a: (..., 2).
        cov_a: (..., 2, 2).
        mean_b: as `mean_a`, broadcast against it.
        cov_b: as `cov_a`.

    >>> float(gaussian_frechet_2d([0, 0], [[1, 0], [0, 1]], [0, 0], [[4, 0], [0, 9]]))
    5.0
    """
    return mean_part(mean_a, mean_b) + covariance_part_2d(cov_a, cov_b)


def mean_part(mean_a: ArrayLike, mean_b: ArrayLike) -> np.ndarray:
    """Squared distance of the means over the last axis: what a constant shift adds.

    >>> float(mean_part([0.0, 0.0], [3.0, 4.0]))
    25.0
    """
    return ((np.asarray(mean_a, dtype=np.float64) - np.asarray(mean_b, dtype=np.float64)) ** 2).sum(axis=-1)


def covariance_part_2d(cov_a: ArrayLike, cov_b: ArrayLike) -> np.ndarray:
    """What is left of the distance when the means are equal (d = 2), never below 0.

    >>> float(covariance_part_2d([[1, 0], [0, 1]], [[1, 0], [0, 1]]))
    0.0
    """
    a, b = np.asarray(cov_a, dtype=np.float64), np.asarray(cov_b, dtype=np.float64)
    trace_ab = np.einsum("...ij,...ji->...", a, b)
    root_of_dets = np.sqrt((_det(a).clip(min=0)) * (_det(b).clip(min=0)))
    cross = np.sqrt((trace_ab + 2 * root_of_dets).clip(min=0))
    traces = np.trace(a, axis1=-2, axis2=-1) + np.trace(b, axis1=-2, axis2=-1)
    return (traces - 2 * cross).clip(min=0)


def _det(matrix: np.ndarray) -> np.ndarray:
    return matrix[..., 0, 0] * matrix[..., 1, 1] - matrix[..., 0, 1] * matrix[..., 1, 0]
