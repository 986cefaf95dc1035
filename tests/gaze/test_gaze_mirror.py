"""The measure of the mirror check: which output of a gaze network is pitch, and which yaw."""

from __future__ import annotations

import numpy as np
import pytest

from dfad_bench.gaze import normalize
from dfad_bench.gaze.estimators import mirror
from dfad_bench.gaze.estimators.build import build_estimator

pytestmark = pytest.mark.usefixtures("one_thread")


def test_symmetry_of_exact_gaze_and_of_noise() -> None:
    rng = np.random.default_rng(0)
    gaze = rng.normal(0, 0.2, (50, 2)) + [0.3, 0.0]  # a camera above: the pitch's mean is not zero
    exact = mirror.symmetry(gaze, gaze * [1, -1])
    assert exact.odd == pytest.approx((0, 1), abs=0.05)
    assert exact.fits("pitch_yaw")
    assert not exact.fits("yaw_pitch")
    assert exact.clear
    noise = mirror.symmetry(rng.normal(0, 0.2, (2000, 2)), rng.normal(0, 0.2, (2000, 2)))
    assert noise.odd == pytest.approx((0.5, 0.5), abs=0.03)
    assert not noise.fits("pitch_yaw")
    assert not noise.fits("yaw_pitch")


def test_symmetry_bears_noise_but_calls_it_weak() -> None:
    rng = np.random.default_rng(1)
    gaze = rng.normal(0, 0.2, (400, 2))
    noisy = [gaze + rng.normal(0, 0.12, gaze.shape), gaze * [1, -1] + rng.normal(0, 0.12, gaze.shape)]
    assert mirror.symmetry(*noisy).fits("pitch_yaw")
    weak = mirror.symmetry(gaze * [1, 0.5], (gaze * [1, -0.5]) + rng.normal(0, 0.25, gaze.shape) * [0, 1])
    assert weak.fits("pitch_yaw")
    assert not weak.clear
    assert not mirror.symmetry(gaze * 1e-6, gaze * [1e-6, -1e-6]).fits("pitch_yaw")  # it does not move


def test_drawn_faces_are_faces_with_the_landmarks_they_were_drawn_with() -> None:
    crops, landmarks = mirror.drawn_faces()
    assert crops.shape == (6, 320, 320, 3)
    pose = normalize.solve_pose(landmarks, 320, 320)
    assert pose.ok.all()
    found = build_estimator("geometric").estimate(crops, landmarks)
    assert (found.yaw_rad > 0).all()  # all look to one side
    assert np.sign(found.pitch_rad - found.pitch_rad.mean()).tolist() == [-1, 1, -1, 1, -1, 1]
    both = mirror.check(lambda c, p: np.stack(_angles(c, p), axis=1))
    assert both.fits("pitch_yaw")
    assert both.clear


def _angles(crops: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = build_estimator("geometric").estimate(crops, landmarks)
    return found.pitch_rad, found.yaw_rad
