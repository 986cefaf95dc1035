from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfad_bench.core.registry import resolve
from dfad_bench.metrics import METRICS, openset

seeds = st.integers(0, 2**32 - 1)


def draw(seed: int, rows: int, classes: int = 4) -> np.ndarray:
    """Probabilities with many ties (one decimal)."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(classes), rows).round(1) + 0.01
    return p / p.sum(axis=1, keepdims=True)


def test_a_model_that_is_never_sure_gets_every_unseen_face_right() -> None:
    even = np.full((1250, 11), 1 / 11)
    assert openset.unseen_accuracy(even, 0.9) == 1.0
    assert openset.auroc(even, even) == 0.5


def test_threshold_is_strict() -> None:
    assert openset.unseen_accuracy(np.array([[0.9, 0.1]]), 0.9) == 0.0


@given(seeds, st.integers(1, 30), st.integers(1, 30))
def test_auroc_and_oscr_equal_brute_force_over_pairs(seed: int, seen_rows: int, unseen_rows: int) -> None:
    p, q = draw(seed, seen_rows), draw(seed + 1, unseen_rows)
    labels = np.random.default_rng(seed).integers(0, 4, seen_rows)
    confident, other, right = p.max(1), q.max(1), p.argmax(1) == labels
    wins = [(a > b) + 0.5 * (a == b) for a in confident for b in other]
    assert openset.auroc(p, q) == pytest.approx(np.mean(wins))
    named = [r * ((a > b) + 0.5 * (a == b)) for a, r in zip(confident, right, strict=True) for b in other]
    assert openset.oscr(p, labels, q) == pytest.approx(np.mean(named))


@given(seeds, st.integers(1, 40))
def test_order_of_rows_does_not_matter(seed: int, rows: int) -> None:
    p, labels = draw(seed, rows), np.random.default_rng(seed).integers(0, 4, rows)
    order = np.random.default_rng(seed + 1).permutation(rows)
    assert openset.seen_accuracy(p, labels) == openset.seen_accuracy(p[order], labels[order])
    assert openset.unseen_accuracy(p, 0.7) == openset.unseen_accuracy(p[order], 0.7)


def test_fpr95_accepts_at_least_95_percent_of_the_seen() -> None:
    p, q = draw(1, 101), draw(2, 60)
    candidates = [t for t in np.unique(p.max(1)) if (p.max(1) >= t).mean() >= 0.95]
    assert openset.fpr95(p, q) == (q.max(1) >= max(candidates)).mean()


def test_oscr_of_perfect_and_of_hopeless_models() -> None:
    confident, doubtful = np.array([[0.99, 0.01]]), np.array([[0.5, 0.5]])
    assert openset.oscr(confident, np.array([0]), doubtful) == 1.0
    assert openset.oscr(confident, np.array([1]), doubtful) == 0.0


def test_undefined_is_none_and_bad_shapes_are_refused() -> None:
    none, one = np.empty((0, 2)), np.array([[0.6, 0.4]])
    assert openset.auroc(one, none) is None
    assert openset.oscr(none, np.array([]), one) is None
    assert openset.fpr95(one, none) is None
    assert openset.seen_accuracy(none, np.array([])) is None
    with pytest.raises(ValueError, match=r"must be \(n, classes\)"):
        openset.unseen_accuracy(np.ones(3), 0.9)
    with pytest.raises(ValueError, match="hold NaN"):
        openset.unseen_accuracy(np.array([[np.nan, 1.0]]), 0.9)


def test_every_named_metric_exists() -> None:
    table = {name: metric.function for name, metric in METRICS.items()}
    missing = []
    for name in table:
        try:
            assert callable(resolve("metric", name, table))
        except (ImportError, AttributeError):
            missing.append(name)
    assert not missing


@pytest.mark.parametrize("count", [1, 3])
def test_labels_too_few_or_too_many_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"2 rows of probabilities, {count} labels"):
        openset.named_rightly(np.full((2, 2), 0.5), np.zeros(count, dtype=int))
