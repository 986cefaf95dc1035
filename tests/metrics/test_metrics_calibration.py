"""Calibration against scikit-learn and slow twins; a temperature found again."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from dfad_bench.metrics.calibration import (
    binned_gap,
    brier,
    classwise_ece,
    confidence_ece,
    equal_mass_bins,
    fitted_temperature,
    log_loss,
    scaled_probabilities,
    top_label_ece,
)


@pytest.fixture(scope="module")
def faces() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, labels drawn by their softmax, sources of ten faces."""
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(3000, 4))
    labels = np.array([rng.choice(4, p=p) for p in softmax(logits, axis=1)])
    return logits, labels, np.arange(3000) // 10


def test_proper_scores_are_scikit_learns(faces) -> None:
    logits, labels, _ = faces
    p = softmax(logits, axis=1)
    assert log_loss(p, labels) == pytest.approx(sklearn_log_loss(labels, p))
    each = [brier_score_loss(labels == k, p[:, k]) for k in range(4)]
    assert brier(p, labels) == pytest.approx(sum(each))


def test_a_calibrated_model_has_a_small_error_and_a_sharpened_one_a_large_one(faces) -> None:
    logits, labels, _ = faces
    honest, sharp = softmax(logits, axis=1), softmax(3 * logits, axis=1)
    for error in (confidence_ece, top_label_ece, classwise_ece):
        assert error(honest, labels) < 0.05
        assert error(sharp, labels) > 2 * error(honest, labels)
        assert error(honest[:0], labels[:0]) is None
    named = honest.argmax(axis=1)
    slow = sum((named == k).mean() * binned_gap(honest[named == k].max(1), labels[named == k] == k) for k in range(4))
    assert top_label_ece(honest, labels) == pytest.approx(slow)


def test_bins_hold_as_many_faces_each_and_keep_equal_ones_together(faces) -> None:
    confidence = softmax(faces[0], axis=1).max(axis=1)
    counts = np.bincount(equal_mass_bins(confidence, 10))
    assert counts.min() == counts.max() == 300
    assert len(set(equal_mass_bins(np.full(50, 0.3)))) == 1
    order = np.argsort(confidence)
    assert (np.diff(equal_mass_bins(confidence, 10)[order]) >= 0).all()


def test_the_temperature_that_was_put_in_is_found(faces) -> None:
    logits, labels, sources = faces
    for temperature in (0.5, 1.0, 4.0):
        shown = softmax(logits / temperature, axis=1)  # softer than the truth for a temperature above one
        assert fitted_temperature(shown, labels, sources) == pytest.approx(1 / temperature, rel=0.06)
    assert np.allclose(scaled_probabilities(softmax(logits, axis=1), 2.0), softmax(logits / 2, axis=1))
    assert fitted_temperature(logits[:0], labels[:0], sources[:0]) is None


def test_sources_weigh_alike_however_many_faces_they_have(faces) -> None:
    logits, labels, _ = faces
    p = softmax(3 * logits[:200], axis=1)
    once = fitted_temperature(p, labels[:200], np.arange(200))
    copies = np.concatenate([np.arange(200), np.zeros(500, int)])  # one face five hundred times more
    again = fitted_temperature(p[copies], labels[:200][copies], copies)
    assert again == pytest.approx(once, rel=1e-3)
