"""Scores of embeddings against those of training faces: neighbours, and Mahalanobis with a shrunk covariance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dfad_bench.metrics.unseen.entry import UndefinedScoreError

NEIGHBOURS = 50  # of Sun et al. for small training sets; never tuned, since that would look at unseen faces
_ROWS = 1024  # faces compared with all training faces at once


class Covariance(NamedTuple):
    """A covariance (d, d), and by how much it was shrunk towards a multiple of the identity (0 to 1)."""

    matrix: np.ndarray
    shrinkage: float


def neighbours_of(train_labels: np.ndarray) -> int:
    """Which neighbour is asked: the 50th, or half the smallest class where that is less.

    >>> neighbours_of(np.repeat([0, 1], [500, 30]))
    15
    """
    return int(max(1, min(NEIGHBOURS, np.unique(train_labels, return_counts=True)[1].min() // 2)))


def neighbour_note(train_labels: np.ndarray) -> str:
    """Which neighbour was asked, of how many training faces."""
    return f"k = {neighbours_of(train_labels)} of {len(train_labels)} training faces"


def neighbour_similarity(embedding: np.ndarray, train_embedding: np.ndarray, train_labels: np.ndarray) -> np.ndarray:
    """The negative squared distance to the k-th nearest training embedding, all of length 1.

    Sun et al., ICML 2022; k as of `neighbours_of`.

    >>> line = np.array([[1.0, 0], [0, 1]])
    >>> neighbour_similarity(line, line, np.array([0, 0])).tolist()
    [0.0, 0.0]
    """
    known, k = unit_rows(train_embedding), neighbours_of(train_labels)
    if np.ptp(known, axis=0).max(initial=0.0) < 1e-6:
        raise UndefinedScoreError("all training faces have the same embedding")
    found = []
    for begin in range(0, len(embedding), _ROWS):
        rows = unit_rows(embedding[begin : begin + _ROWS])
        distances = (rows**2).sum(axis=1)[:, None] + (known**2).sum(axis=1)[None] - 2 * rows @ known.T
        found.append(0.0 - np.maximum(np.partition(distances, k - 1, axis=1)[:, k - 1], 0.0))
    return np.concatenate(found) if found else np.zeros(0)


def mahalanobis_similarity(
    embedding: np.ndarray, train_embedding: np.ndarray, train_labels: np.ndarray, train_sources: np.ndarray
) -> np.ndarray:
    """Max over classes of -(h - m_c)' P (h - m_c), P the inverse of one covariance pooled over classes, shrunk.

    Lee et al., NeurIPS 2018, on the embedding alone. The covariance is shrunk (`shrunk_covariance`) as faces of few
    sources need it; embeddings are as they are, not of length 1.
    """
    distances, _ = class_distances(embedding, train_embedding, train_labels, train_sources)
    return 0.0 - distances.min(axis=1)


class ClassSpace(NamedTuple):
    """Class means in the space where one shrunk covariance of all classes is the identity."""

    factor: np.ndarray  # (d, d), of the covariance
    centres: np.ndarray  # (classes, d)
    classes: np.ndarray  # (classes,) their labels

    def distances(self, embedding: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distances (n, classes) of embeddings (n, d) to the class means."""
        from scipy.linalg import solve_triangular

        faces = solve_triangular(self.factor, np.asarray(embedding, dtype=np.float64).T, lower=True).T
        found: np.ndarray = np.stack([((faces - centre) ** 2).sum(axis=1) for centre in self.centres], axis=1)
        return found


def class_space(train_embedding: np.ndarray, train_labels: np.ndarray, train_sources: np.ndarray) -> ClassSpace:
    """Where distances to class means are measured, from training faces: embeddings (m, d), classes and sources (m,).

    Raises:
        UndefinedScoreError: embeddings of a class do not vary.
    """
    from scipy.linalg import cho_factor, solve_triangular

    means, residuals = class_residuals(train_embedding, train_labels)
    covariance = shrunk_covariance(residuals, train_sources)
    try:
        factor = np.tril(cho_factor(covariance.matrix, lower=True)[0])
    except np.linalg.LinAlgError as error:
        raise UndefinedScoreError("embeddings of a class do not vary") from error
    return ClassSpace(factor, solve_triangular(factor, means.T, lower=True).T, np.unique(train_labels))


def class_distances(
    embedding: np.ndarray, train_embedding: np.ndarray, train_labels: np.ndarray, train_sources: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Squared Mahalanobis distances (n, classes) to the class means, and which classes those are.

    Raises:
        UndefinedScoreError: embeddings of a class do not vary.
    """
    space = class_space(train_embedding, train_labels, train_sources)
    return space.distances(embedding), space.classes


def class_residuals(train_embedding: np.ndarray, train_labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class means (classes, d) of training embeddings, and what is left of each face (m, d)."""
    h = np.asarray(train_embedding, dtype=np.float64)
    classes, place = np.unique(train_labels, return_inverse=True)
    means = np.stack([h[place == k].mean(axis=0) for k in range(len(classes))])
    return means, h - means[place]


def shrunk_covariance(residuals: np.ndarray, sources: np.ndarray) -> Covariance:
    """The covariance of centred rows (m, d), shrunk towards the mean variance by Ledoit and Wolf's rule (2004).

    The share is the variance of the entries over their distance from the target. That variance is counted over
    sources: faces of one source are one observation.

    Args:
        residuals: rows whose mean (of each class) is zero.
        sources: (m,) the source of each.

    >>> shrunk_covariance(np.array([[1.0], [-1.0]]), np.array([0, 1])).matrix.tolist()
    [[1.0]]
    """
    x = np.asarray(residuals, dtype=np.float64)
    n, d = x.shape
    s = x.T @ x / n
    mean = float(np.trace(s)) / d
    if mean <= 0:
        raise UndefinedScoreError("embeddings of a class do not vary")
    distance = float((s**2).sum()) - d * mean**2  # squared, of the covariance from its target
    place = np.unique(sources, return_inverse=True)[1]
    order = np.argsort(place, kind="stable")
    noise, norm = 0.0, float((s**2).sum())
    for rows in np.split(x[order], np.cumsum(np.bincount(place))[:-1]):
        # squared distance of a source's sum of products from as many times the covariance, without (d, d) of each
        inner = float(((rows @ rows.T) ** 2).sum()) - 2 * len(rows) * float(((rows @ s) * rows).sum())
        noise += inner + len(rows) ** 2 * norm
    share = 1.0 if distance <= 0 else min(1.0, max(0.0, noise / n**2 / distance))
    return Covariance((1 - share) * s + share * mean * np.eye(d), share)


def unit_rows(values: np.ndarray) -> np.ndarray:
    """Rows (n, d) of length 1, in single precision; rows of zeros stay."""
    rows = np.asarray(values, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: np.ndarray = rows / np.where(lengths > 0, lengths, 1)
    return scaled
