from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dfad_bench.metrics.over_real_sources import (
    LEAST_REAL_SOURCES,
    RealPlacements,
    real_placements,
    spread_over_real_sources,
)

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "generator_coverage_reals.json"


def faces(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Real rows, rounded scores (so that some are equal), and generators."""
    generators = np.array(["", "a", "b", "c"])[rng.integers(0, 4, 400)]
    return generators == "", rng.normal(size=400).round(1) + (generators == "a"), generators


def test_the_mean_placement_is_the_mean_area_of_scikit_learn() -> None:
    real, scores, generators = faces(np.random.default_rng(0))
    areas = [roc_auc_score(~real[k], scores[k]) for k in (real | (generators == name) for name in "abc")]
    assert real_placements(real, scores, generators).mean() == pytest.approx(np.mean(areas), abs=1e-12)


def test_names_of_real_rows_do_not_matter() -> None:
    real, scores, generators = faces(np.random.default_rng(1))
    renamed = np.where(real, "a", generators)
    assert np.array_equal(real_placements(real, scores, generators), real_placements(real, scores, renamed))


def test_equal_collections_of_one_face_have_the_standard_error_of_a_mean() -> None:
    values = np.random.default_rng(2).random(9)
    found = spread_over_real_sources(RealPlacements(values, np.arange(9), np.arange(9)))
    assert found is not None
    assert found.error == pytest.approx(values.std(ddof=1) / 3)
    assert found.df == 8


def test_few_collections_have_no_spread() -> None:
    values = np.random.default_rng(3).random(20)
    for count in (1, LEAST_REAL_SOURCES - 1):
        assert spread_over_real_sources(RealPlacements(values, np.arange(20) % count, np.arange(20))) is None
    assert spread_over_real_sources(RealPlacements(values * np.nan, np.arange(20) % 8, np.arange(20))) is None


def test_noise_of_faces_is_no_spread_of_collections() -> None:
    """Of collections that are alike the estimate is around 0, not around the noise of their sources."""
    rng, found = np.random.default_rng(4), []
    for _ in range(200):
        values = np.repeat(rng.normal(size=240), 2)  # two faces of each source
        of = RealPlacements(values, np.repeat(np.arange(8), 60), np.repeat(np.arange(240), 2))
        known = spread_over_real_sources(of)
        assert known is not None
        found.append(known.error**2)
    assert np.mean(found) < 0.5 / 240  # 1/240 is the noise of the mean of 240 sources


def test_a_collection_of_nearly_all_faces_makes_the_spread_large() -> None:
    values = np.random.default_rng(5).random(600)
    even = spread_over_real_sources(RealPlacements(values + (np.arange(600) % 6), np.arange(600) % 6, np.arange(600)))
    most = np.minimum(np.arange(600), 5)
    uneven = spread_over_real_sources(RealPlacements(values + most, most, np.arange(600)))
    assert even is not None
    assert uneven is not None
    assert uneven.error > even.error


def test_six_collections_are_enough_by_simulation_and_the_page_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    if not RESULTS.is_file():
        pytest.skip("committed results are not part of an installed package")
    root = Path(__file__).parents[2]
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert found["repeats"] >= 1000
    assert found["least_collections"] <= LEAST_REAL_SOURCES
    page = (root / "docs" / "uncertainty.md").read_text(encoding="utf-8")
    rows = import_module("generator_coverage_reals").page_rows(found)
    assert len(rows) == 3
    assert all(row in page for row in rows)
