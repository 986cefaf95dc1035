"""Curves against scikit-learn's, and their areas against our own metrics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve as theirs_precision
from sklearn.metrics import roc_curve as theirs_roc

from dfad_bench.metrics.curves import band, precision_at, precision_recall_curve, roc_at, roc_curve
from dfad_bench.metrics.detection import auc
from dfad_bench.metrics.interval import ClusterBootstrap

DRAWN = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=30)


def split(drawn: list[tuple[bool, int]]) -> tuple[np.ndarray, np.ndarray]:
    labels, scores = (np.array(part) for part in zip(*drawn, strict=True))
    return labels.astype(int), scores / 6


@given(DRAWN.filter(lambda drawn: 0 < sum(label for label, _ in drawn) < len(drawn)))
def test_points_are_those_of_scikit_learn(drawn: list[tuple[bool, int]]) -> None:
    labels, scores = split(drawn)
    fpr, tpr = roc_curve(labels, scores)
    expected = theirs_roc(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose([fpr, tpr], expected[:2], atol=1e-12)
    recall, precision = precision_recall_curve(labels, scores)
    their_precision, their_recall, _ = theirs_precision(labels, scores)
    np.testing.assert_allclose([recall, precision], [their_recall[::-1], their_precision[::-1]], atol=1e-12)
    assert np.trapezoid(tpr, fpr) == pytest.approx(auc(labels, scores))


def test_curves_are_read_between_their_points() -> None:
    labels, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.8, 0.1])
    assert roc_at(labels, scores, np.array([0.0, 0.25, 0.5, 1.0])).tolist() == [0.5, 0.75, 1.0, 1.0]
    assert precision_at(labels, scores, np.array([0.0, 0.5, 0.75, 1.0])).tolist() == [1.0, 1.0, 2 / 3, 2 / 3]


def test_a_band_holds_the_curve_of_each_resample_but_the_outer_ones() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 60)
    scores = rng.normal(size=120) + labels
    bootstrap = ClusterBootstrap(labels, np.arange(120) // 3, resamples=100, seed=1)
    grid = np.linspace(0, 1, 21)
    limits = band(roc_at, labels, scores, grid, bootstrap.samples())
    assert limits is not None
    low, high = limits
    curves = np.stack([roc_at(labels[rows], scores[rows], grid) for rows in bootstrap.samples()])
    np.testing.assert_allclose([low, high], np.percentile(curves, [2.5, 97.5], axis=0))
    middle = roc_at(labels, scores, grid)
    assert ((low <= middle + 1e-9) & (middle <= high + 1e-9)).all()
    assert band(roc_at, np.ones(4), scores[:4], grid, [np.arange(4)]) is None
