from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve

from dfad_bench.metrics import detection

seeds = st.integers(0, 2**32 - 1)


def draw(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both classes, scores with many ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, rows)
    labels[:2] = (0, 1)
    return labels, (rng.random(rows) + 0.3 * labels).clip(0, 1).round(1)


@given(seeds, st.integers(2, 60))
def test_all_equal_scikit_learn(seed: int, rows: int) -> None:
    labels, scores = draw(seed, rows)
    called = scores > 0.5
    assert detection.auc(labels, scores) == pytest.approx(oracle.roc_auc_score(labels, scores))
    assert detection.ap(labels, scores) == pytest.approx(oracle.average_precision_score(labels, scores))
    assert detection.accuracy(labels, scores) == pytest.approx(oracle.accuracy_score(labels, called))
    assert detection.balanced_accuracy(labels, scores) == pytest.approx(oracle.balanced_accuracy_score(labels, called))
    assert detection.tpr(labels, scores) == pytest.approx(oracle.recall_score(labels, called))
    assert detection.tnr(labels, scores) == pytest.approx(oracle.recall_score(labels, called, pos_label=0))
    tn, fp, fn, tp = oracle.confusion_matrix(labels, called, labels=[0, 1]).ravel()
    assert detection.confusion(labels, scores) == (tp, fp, fn, tn)


@given(seeds, st.integers(2, 40))
def test_auc_equals_the_share_of_pairs_won(seed: int, rows: int) -> None:
    labels, scores = draw(seed, rows)
    fakes, reals = scores[labels == 1], scores[labels == 0]
    won = [(a > b) + 0.5 * (a == b) for a in fakes for b in reals]
    assert detection.auc(labels, scores) == pytest.approx(np.mean(won))
    assert detection.auc(labels, -scores) == pytest.approx(1 - np.mean(won))  # below chance is never flipped


@given(seeds, st.integers(2, 60))
def test_eer_lies_on_the_roc_curve(seed: int, rows: int) -> None:
    labels, scores = draw(seed, rows)
    fpr, tpr, _ = oracle.roc_curve(labels, scores, drop_intermediate=False)
    rate = detection.eer(labels, scores)
    assert rate is not None
    # on a vertical piece of the curve several rates share one false positive rate
    at = np.isclose(fpr, rate)
    low, high = (tpr[at].min(), tpr[at].max()) if at.any() else (np.interp(rate, fpr, tpr),) * 2
    assert low - 1e-9 <= 1 - rate <= high + 1e-9


@pytest.mark.parametrize(("fakes", "expected"), [(9, 0.9), (8, 8 / 9)])
def test_always_fake_scores_what_the_papers_print(fakes: int, expected: float) -> None:
    """Nine forged sets and FFHQ in Table II, eight in Table III: 90.00 and 88.89."""
    labels = np.repeat([1, 0], [fakes * 1250, 1250])
    always = np.ones(len(labels))
    assert detection.accuracy(labels, always) == pytest.approx(expected)
    assert detection.balanced_accuracy(labels, always) == 0.5
    assert detection.auc(labels, always) == 0.5


@given(seeds, st.integers(1, 80))
def test_calibration_error_equals_the_reliability_curve(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    labels, p = rng.integers(0, 2, rows), rng.random(rows)
    fakes, means = calibration_curve(labels, p, n_bins=15)
    edges = np.linspace(0, 1, 16)
    counts = np.histogram(p, edges)[0]
    expected = (counts[counts > 0] * np.abs(fakes - means)).sum() / rows
    assert detection.ece(labels, p) == pytest.approx(expected)


def test_calibration_of_known_models() -> None:
    truth = np.repeat([0, 1], [30, 70])
    assert detection.ece(truth, truth.astype(float)) == 0.0
    assert detection.ece(truth, np.ones(100)) == pytest.approx(0.3)
    assert detection.ece(truth, np.full(100, 0.7)) == pytest.approx(0.0)
    assert detection.ece(np.array([], int), np.array([])) is None


def test_torchmetrics_agrees() -> None:
    torchmetrics = pytest.importorskip("torchmetrics.functional.classification", reason="torchmetrics is not installed")
    import torch

    labels, scores = draw(3, 500)
    p, truth = torch.from_numpy(scores), torch.from_numpy(labels)
    assert detection.auc(labels, scores) == pytest.approx(float(torchmetrics.binary_auroc(p, truth)), abs=1e-6)
    assert detection.ap(labels, scores) == pytest.approx(
        float(torchmetrics.binary_average_precision(p, truth)), abs=1e-6
    )
    error = torchmetrics.binary_calibration_error(p, truth, n_bins=15, norm="l1")
    assert detection.ece(labels, scores) == pytest.approx(float(error), abs=1e-6)


def test_one_class_is_undefined() -> None:
    ones = np.ones(3, int)
    assert detection.auc(ones, np.ones(3)) is None
    assert detection.eer(ones, np.ones(3)) is None
    assert detection.balanced_accuracy(ones, np.ones(3)) is None
    assert detection.accuracy(ones, np.ones(3)) == 1.0
    assert detection.ap(1 - ones, np.ones(3)) is None
    assert detection.tnr(ones, np.ones(3)) is None
    assert detection.tpr(ones, np.ones(3)) == 1.0
    assert detection.tpr(1 - ones, np.ones(3)) is None
    assert detection.accuracy(np.array([], int), np.array([])) is None


def test_bad_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \(n,\)"):
        detection.auc(np.ones(3, int), np.ones(2))
    with pytest.raises(ValueError, match="0 .real. or 1"):
        detection.auc(np.array([0, -1]), np.ones(2))
    with pytest.raises(ValueError, match="between 0 and 1"):
        detection.ece(np.array([0, 1]), np.array([-0.1, 0.5]))
    with pytest.raises(ValueError, match="1 scores are NaN"):
        detection.auc(np.array([0, 1]), np.array([0.0, np.nan]))
