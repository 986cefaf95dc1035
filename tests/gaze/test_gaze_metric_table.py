"""The gaze analyses compute the two gaze metrics of the table by its entries: a poisoned one changes their numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from gaze_frames import study_of

from dfad_bench.gaze.backends import CLOSED_FORM, fid_backend
from dfad_bench.gaze.pairs import study_pairs
from dfad_bench.metrics import METRICS


def poisoned_distance(mean_a, cov_a, mean_b, cov_b) -> np.ndarray:
    return np.full(np.broadcast_shapes(np.shape(mean_a), np.shape(mean_b))[:-1], 0.123)


def poisoned_cosine(a, b) -> float:
    return 0.123


def poison(monkeypatch: pytest.MonkeyPatch, name: str, function: object) -> None:
    path = f"{__name__}:{function.__name__}"  # type: ignore[attr-defined]
    monkeypatch.setitem(METRICS, name, replace(METRICS[name], function=path))


def test_the_frechet_distance_is_the_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(2, 40, 2))
    before = study_of(real, fake)
    poison(monkeypatch, "frechet_distance", poisoned_distance)
    after = study_of(real, fake, distance=fid_backend(CLOSED_FORM))
    assert after.fid_rad2 == 0.123
    assert before.fid_rad2 != 0.123
    assert study_of(real, fake).fid_rad2 == 0.123


def test_the_paired_cosine_is_the_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    names = [f"r{i}" for i in range(30)]
    reals = pd.DataFrame({"sample_id": names, "pitch_rad": rng.normal(size=30), "yaw_rad": rng.normal(size=30)})
    fakes = reals.assign(sample_id=[f"f{i}" for i in range(30)], target_id=names, forgery="FS", yaw_rad=0.1)
    before = study_pairs(fakes, reals, samples=30, seed=0)
    poison(monkeypatch, "paired_cosine", poisoned_cosine)
    after = study_pairs(fakes, reals, samples=30, seed=0)
    for one, other in ((before.cosine_2d, after.cosine_2d), (before.cosine_3d, after.cosine_3d)):
        assert one is not None
        assert other is not None
        assert (other.value, one.value != 0.123) == (0.123, True)
    assert before.angle_rad == after.angle_rad
