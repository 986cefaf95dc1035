"""Gazes that do not vary give no interval: that a few faces agree does not make their mean certain."""

from __future__ import annotations

import numpy as np
import pytest
from gaze_frames import study_of

from dfad_bench.gaze.resample import mean_interval


@pytest.mark.parametrize("value", [0.0, 1.0, -0.3, 1e6])
def test_equal_values_have_no_interval(value: float) -> None:
    own, anything = np.arange(10), (-1e9, 1e9)
    assert mean_interval(np.full(10, value), own, own, 5, anything) is None
    varied = np.full(10, value) + own * 1e-3 * max(1.0, abs(value))
    assert mean_interval(varied, own, own, 5, anything) is not None


def test_a_distance_of_constant_gazes_has_no_interval() -> None:
    real, fake = np.zeros((20, 2)), np.tile([0.1, 0.0], (20, 1))
    found = study_of(real, fake)
    assert found.fid_rad2 == pytest.approx(0.01)
    assert (found.low_rad2, found.high_rad2) == (None, None)
    rng = np.random.default_rng(1)
    varied = study_of(rng.normal(size=(20, 2)), 1 + rng.normal(size=(20, 2)))
    assert varied.low_rad2 is not None
    assert varied.high_rad2 is not None
    assert varied.low_rad2 < varied.high_rad2
