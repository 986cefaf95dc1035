"""Risk against coverage: expectations over orders of equal faces, identities of the areas, slow twins."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfad_bench.metrics.detection import auc
from dfad_bench.metrics.selective import augrc, aurc, best_aurc, excess_aurc, open_aurc, risk_curve

FACES = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(FACES)
def test_ties_are_the_mean_over_all_orders(faces: list[tuple[int, bool]]) -> None:
    confidence, losses = (np.array(column, dtype=float) for column in zip(*faces, strict=True))
    orders = [o for o in permutations(range(len(faces))) if all(np.diff(confidence[list(o)]) <= 0)]
    curves = [np.cumsum(losses[list(o)]) / np.arange(1, len(faces) + 1) for o in orders]
    assert np.allclose(risk_curve(confidence, losses), np.mean(curves, axis=0))


@settings(max_examples=60, deadline=None)
@given(FACES)
def test_areas_keep_their_identities(faces: list[tuple[int, bool]]) -> None:
    confidence, losses = (np.array(column, dtype=float) for column in zip(*faces, strict=True))
    n, wrong = len(faces), int(losses.sum())
    area, excess = aurc(confidence, losses), excess_aurc(confidence, losses)
    assert excess == pytest.approx(area - best_aurc(wrong, n))
    assert excess >= -1e-12
    assert aurc(np.zeros(n), losses) == pytest.approx(wrong / n)
    assert aurc(-losses, losses) == pytest.approx(best_aurc(wrong, n))
    share = 1 - wrong / n
    ranked = auc(1 - losses.astype(int), confidence)
    of_order = 0.0 if ranked is None else (1 - ranked) * share * (1 - share)
    assert augrc(confidence, losses) == pytest.approx(of_order + (1 - share) ** 2 / 2 + (1 - share) / (2 * n))


def test_open_risk_is_the_limit_of_many_faces() -> None:
    """With every face a thousand times, at the mix of the faces, the area is that of plain risk and coverage."""
    rng = np.random.default_rng(0)
    seen = np.array([True] * 6 + [False] * 4)
    scores, right = rng.integers(0, 4, 10).astype(float), seen & (rng.random(10) < 0.7)
    many = aurc(np.repeat(scores, 1000), np.repeat(~(seen & right), 1000))
    assert open_aurc(scores, seen, right, mix=0.4) == pytest.approx(many, abs=1e-3)
    assert open_aurc(scores, seen, right, mix=0.8) > open_aurc(scores, seen, right, mix=0.1)
    assert open_aurc(scores[:6], seen[:6], right[:6]) is None
    assert aurc(np.zeros(0), np.zeros(0)) is None
    assert augrc(np.zeros(0), np.zeros(0)) is None
