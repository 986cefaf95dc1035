"""Scores for unseen faces against scikit-learn, SciPy and slow twins written from the definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from scipy.stats import entropy
from sklearn.covariance import ledoit_wolf
from sklearn.neighbors import NearestNeighbors

from dfad_bench.metrics.unseen import ARRAYS, UNSEEN_SCORES, UndefinedScoreError
from dfad_bench.metrics.unseen.of_embeddings import (
    class_residuals,
    mahalanobis_similarity,
    neighbour_similarity,
    neighbours_of,
    shrunk_covariance,
)
from dfad_bench.metrics.unseen.virtual_logit import principal_dimension, virtual_logit_score


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    """Three classes in 16 dimensions; far faces lie beyond all of them."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 16)) * 3
    labels = np.repeat([0, 1, 2], 40)
    known = centres[labels] + rng.normal(size=(120, 16))
    weight, bias = centres / 4, rng.normal(size=3)
    near, far = centres[rng.integers(3, size=30)] + rng.normal(size=(30, 16)), rng.normal(size=(30, 16)) * 6
    faces = np.concatenate([near, far])
    logits, train_logits = faces @ weight.T + bias, known @ weight.T + bias
    return {
        "probs": softmax(logits, axis=1), "logits": logits, "embedding": faces, "train_embedding": known,
        "train_logits": train_logits, "train_labels": labels, "train_sources": np.arange(120) // 3,
        "weight": weight, "bias": bias,
    }  # fmt: skip


@pytest.mark.parametrize("name", UNSEEN_SCORES)
def test_every_score_takes_known_arrays_and_is_larger_for_faces_like_the_seen(name: str, arrays) -> None:
    score = UNSEEN_SCORES[name]
    assert set(score.needs) <= set(ARRAYS)
    assert not score.missing_arrays(arrays)
    values = score.compute(arrays)
    assert values.shape == (60,)
    if name in ("knn", "mahalanobis", "vim"):  # the others see the three directions of the weights alone
        assert values[:30].mean() > values[30:].mean()
        assert np.mean(values[:30, None] > values[None, 30:]) > 0.9
    order = np.random.default_rng(1).permutation(60)
    mixed = {k: v[order] if k in ("probs", "logits", "embedding") else v for k, v in arrays.items()}
    assert np.allclose(score.compute(mixed), values[order], atol=1e-5)


def test_scores_of_outputs_are_scipys(arrays) -> None:
    compute = {name: UNSEEN_SCORES[name].compute(arrays) for name in ("msp", "max_logit", "energy", "entropy")}
    assert np.array_equal(compute["msp"], arrays["probs"].max(axis=1))
    assert np.array_equal(compute["max_logit"], arrays["logits"].max(axis=1))
    assert np.allclose(compute["energy"], logsumexp(arrays["logits"], axis=1))
    assert np.allclose(compute["entropy"], -entropy(arrays["probs"], axis=1))
    two = np.sort(arrays["probs"], axis=1)[:, -2:]
    assert np.allclose(UNSEEN_SCORES["margin"].compute(arrays), two[:, 1] - two[:, 0])
    certain = {"probs": np.array([[1.0, 0.0]]), "logits": np.array([[900.0, -900.0]])}
    assert UNSEEN_SCORES["energy"].compute(certain) == [900.0]
    assert UNSEEN_SCORES["entropy"].compute(certain) == [0.0]


def test_neighbours_are_scikit_learns(arrays) -> None:
    k = neighbours_of(arrays["train_labels"])
    assert (k, UNSEEN_SCORES["knn"].remark(arrays)) == (20, "k = 20 of 120 training faces")
    unit = {n: arrays[n] / np.linalg.norm(arrays[n], axis=1, keepdims=True) for n in ("embedding", "train_embedding")}
    distances, _ = NearestNeighbors(n_neighbors=k).fit(unit["train_embedding"]).kneighbors(unit["embedding"])
    found = neighbour_similarity(arrays["embedding"], arrays["train_embedding"], arrays["train_labels"])
    assert np.allclose(found, -(distances[:, -1] ** 2), atol=1e-5)


def test_the_covariance_of_single_faces_is_scikit_learns(arrays) -> None:
    _, residuals = class_residuals(arrays["train_embedding"], arrays["train_labels"])
    matrix, share = ledoit_wolf(residuals, assume_centered=True)
    found = shrunk_covariance(residuals, np.arange(120))
    assert np.isclose(found.shrinkage, share)
    assert np.allclose(found.matrix, matrix)


def test_faces_of_one_source_count_once(arrays) -> None:
    """Every face four times tells no more than once: as one source each, the covariance is shrunk as before."""
    _, residuals = class_residuals(arrays["train_embedding"], arrays["train_labels"])
    once = shrunk_covariance(residuals, np.arange(120))
    repeated, sources = np.repeat(residuals, 4, axis=0), np.repeat(np.arange(120), 4)
    assert np.isclose(shrunk_covariance(repeated, sources).shrinkage, once.shrinkage)
    assert shrunk_covariance(repeated, np.arange(480)).shrinkage < 0.5 * once.shrinkage


def test_mahalanobis_is_the_definition(arrays) -> None:
    h, known, labels = (arrays[name] for name in ("embedding", "train_embedding", "train_labels"))
    means, residuals = class_residuals(known, labels)
    precision = np.linalg.inv(shrunk_covariance(residuals, arrays["train_sources"]).matrix)
    slow = [max(-(row - m) @ precision @ (row - m) for m in means) for row in h]
    assert np.allclose(mahalanobis_similarity(h, known, labels, arrays["train_sources"]), slow)


def test_vim_is_the_definition(arrays) -> None:
    """By the singular vectors of the shifted training faces, in place of eigenvectors of their products."""
    names = ("embedding", "logits", "train_embedding", "train_logits", "weight", "bias")
    h, z, known, known_z, w, b = (arrays[name] for name in names)
    origin = -np.linalg.lstsq(w, b, rcond=None)[0]
    assert np.allclose(w @ origin + b, 0)
    kept = principal_dimension(16)
    vectors = np.linalg.svd(known - origin)[2][kept:]
    alpha = known_z.max(axis=1).mean() / np.linalg.norm((known - origin) @ vectors.T, axis=1).mean()
    slow = logsumexp(z, axis=1) - alpha * np.linalg.norm((h - origin) @ vectors.T, axis=1)
    assert np.allclose(virtual_logit_score(h, z, known, known_z, w, b), slow)


def test_what_is_not_defined_says_why(arrays) -> None:
    flat = {**arrays, "train_embedding": np.ones((120, 16))}
    with pytest.raises(UndefinedScoreError, match="same embedding"):
        UNSEEN_SCORES["knn"].compute(flat)
    with pytest.raises(UndefinedScoreError, match="do not vary"):
        UNSEEN_SCORES["mahalanobis"].compute(flat)
    few = {**arrays, "train_embedding": arrays["train_embedding"][:16], "train_logits": arrays["train_logits"][:16]}
    with pytest.raises(UndefinedScoreError, match="16 training faces do not span"):
        UNSEEN_SCORES["vim"].compute(few)
    many = {**arrays, "weight": np.ones((20, 16)), "bias": np.ones(20)}
    with pytest.raises(UndefinedScoreError, match="20 classes"):
        UNSEEN_SCORES["vim"].compute(many)
    thin = {**arrays, "train_embedding": arrays["train_embedding"] * np.r_[np.ones(4), np.zeros(12)]}
    with pytest.raises(UndefinedScoreError, match="fewer than 8 dimensions"):
        UNSEEN_SCORES["vim"].compute({**thin, "bias": np.zeros(3)})
    assert UNSEEN_SCORES["vim"].missing_arrays({"logits", "embedding", "train_embedding"}) == (
        "train_logits", "weight", "bias",
    )  # fmt: skip
    with pytest.raises(UndefinedScoreError, match="1 faces have no finite score"):
        UNSEEN_SCORES["max_logit"].compute({"logits": np.array([[np.inf, 0.0]])})
