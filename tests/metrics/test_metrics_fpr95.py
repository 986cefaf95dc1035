"""FPR@95 in both conventions, against a slow computation over every threshold."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from dfad_bench.cli.main import dfad
from dfad_bench.metrics import METRICS
from dfad_bench.metrics.interval import ClusterBootstrap
from dfad_bench.metrics.openset import fpr95, fpr95_openood


def probabilities(confidence: np.ndarray) -> np.ndarray:
    return np.stack([confidence, 1 - confidence], axis=1)


def slow(seen: np.ndarray, unseen: np.ndarray, *, positive: str) -> float:
    """Least share of negatives called positive by any threshold that calls 95 % of the positives so."""
    called = {"seen": lambda x, t: x >= t, "unseen": lambda x, t: x <= t}[positive]
    ups, downs = (seen, unseen) if positive == "seen" else (unseen, seen)
    thresholds = np.concatenate([seen, unseen])
    return min(called(downs, t).mean() for t in thresholds if 100 * called(ups, t).sum() >= 95 * len(ups))


@pytest.mark.parametrize("seed", range(8))
def test_both_conventions_equal_a_slow_computation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 60, 2)
    seen, unseen = (rng.uniform(0.5, 1, n).round(2 if seed % 2 else 9) for n in sizes)
    assert fpr95(probabilities(seen), probabilities(unseen)) == slow(seen, unseen, positive="seen")
    assert fpr95_openood(probabilities(seen), probabilities(unseen)) == slow(seen, unseen, positive="unseen")


def test_openoods_convention_on_its_own_computation() -> None:
    """As OpenOOD has it: scikit-learn's ROC curve of "is unseen" over the negated confidence, first point of 95 %."""
    from sklearn.metrics import roc_curve

    rng = np.random.default_rng(1)
    seen, unseen = rng.uniform(0.6, 1, 300), rng.uniform(0.5, 0.9, 200)
    false, true, _ = roc_curve(np.repeat([0, 1], [300, 200]), -np.concatenate([seen, unseen]), drop_intermediate=False)
    assert fpr95_openood(probabilities(seen), probabilities(unseen)) == pytest.approx(false[np.argmax(true >= 0.95)])


def test_the_two_differ_by_nearly_one_on_the_same_faces() -> None:
    seen = np.concatenate([np.full(94, 0.9), np.full(6, 0.55)])  # six in a hundred seen faces are less sure than any
    unseen = np.full(100, 0.7)
    assert fpr95(probabilities(seen), probabilities(unseen)) == 1.0
    assert fpr95_openood(probabilities(seen), probabilities(unseen)) == 0.06


@pytest.mark.parametrize("decimals", [1, 9])
def test_draws_equal_the_function_on_every_resample(decimals: int) -> None:
    rng = np.random.default_rng(4)
    positive = rng.random(50) < 0.5
    scores = (0.5 + rng.random(50) / 2).round(decimals)
    boot = ClusterBootstrap(rng.integers(0, 2, 50), rng.integers(0, 9, 50), resamples=60, seed=1)
    draws = boot.ranking_draws(positive, scores, only=("fpr95_openood",))["fpr95_openood"]
    for drawn, rows in zip(draws, boot.samples(), strict=True):
        seen, unseen = (probabilities(scores[rows][side]) for side in (positive[rows], ~positive[rows]))
        expected = fpr95_openood(seen, unseen)
        assert drawn == pytest.approx(expected) if expected is not None else np.isnan(drawn)


def test_draws_of_exactly_95_percent_are_enough() -> None:
    """Twenty faces a class, drawn apart: nineteen rejected ones are 95 %, and happen in most resamples."""
    rng = np.random.default_rng(2)
    positive, scores = np.repeat([True, False], 20), rng.uniform(0.5, 1, 40)
    boot = ClusterBootstrap(positive, np.arange(40), resamples=40)
    draws = boot.ranking_draws(positive, scores, only=("fpr95_openood",))["fpr95_openood"]
    slow_draws = [
        slow(scores[rows][positive[rows]], scores[rows][~positive[rows]], positive="unseen") for rows in boot.samples()
    ]
    assert draws.tolist() == pytest.approx(slow_draws)


def test_neither_is_defined_for_one_class() -> None:
    none, one = np.zeros((0, 2)), probabilities(np.array([0.9]))
    for metric in (fpr95, fpr95_openood):
        assert metric(none, one) is None
        assert metric(one, none) is None


def test_every_name_says_which_class_is_positive() -> None:
    """Metrics that change when the classes change roles carry a note, and the list prints it."""
    for name in ("fpr95", "fpr95_openood", "ap", "tpr", "tnr"):
        assert "positive class" in METRICS[name].note
    assert METRICS["fpr95"].note.startswith("seen")
    assert METRICS["fpr95_openood"].note.startswith("unseen")
    rows = json.loads(CliRunner().invoke(dfad, ["list", "metrics", "--json", "--long"]).stdout)["rows"]
    assert {row["name"]: row["note"] for row in rows} == {name: metric.note for name, metric in METRICS.items()}


def test_a_resample_without_negatives_has_no_share() -> None:
    from dfad_bench.metrics.interval import _rejected_positives

    up, none = np.array([[1, 1]]), np.array([[0, 0]])
    assert np.isnan(_rejected_positives(up, none, np.array([2]), np.array([0]))).all()
