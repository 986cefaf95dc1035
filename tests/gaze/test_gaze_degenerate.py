"""Gazes that do not vary give no interval: that a few faces agree does not make their mean certain."""

from __future__ import annotations

import numpy as np
import pytest

from dfad_bench.gaze.fid import study_fid
from dfad_bench.gaze.resample import FEWEST, bootstrap_mean


@pytest.mark.parametrize("value", [0.0, 1.0, -0.3, 1e6])
def test_equal_values_have_no_interval(value: float) -> None:
    assert bootstrap_mean(np.full(2 * FEWEST, value), 200, np.random.default_rng(0)) is None
    varied = np.full(2 * FEWEST, value) + np.arange(2 * FEWEST) * 1e-3 * max(1.0, abs(value))
    assert bootstrap_mean(varied, 200, np.random.default_rng(0)) is not None


def test_a_distance_of_constant_gazes_has_no_interval() -> None:
    real, fake = np.zeros((20, 2)), np.tile([0.1, 0.0], (20, 1))
    found = study_fid(real, fake, None, 200, np.random.default_rng(0))
    assert found.fid_rad2 == pytest.approx(0.01)
    assert (found.low_rad2, found.high_rad2) == (None, None)
    rng = np.random.default_rng(1)
    varied = study_fid(rng.normal(size=(20, 2)), 1 + rng.normal(size=(20, 2)), None, 200, rng)
    assert varied.low_rad2 is not None
    assert varied.high_rad2 is not None
    assert varied.low_rad2 < varied.high_rad2
