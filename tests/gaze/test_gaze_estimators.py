"""Every registered estimator that needs no weights keeps the contract; the geometric one sees known gaze."""

from __future__ import annotations

import numpy as np
import pytest
from rendered_eyes import draw_face, draw_faces, mirror

from dfad_bench.core.errors import UnknownNameError, WeightsError
from dfad_bench.core.registry import resolve
from dfad_bench.gaze.estimators import ESTIMATORS
from dfad_bench.gaze.estimators.base import GazeEstimator, GazeFlag
from dfad_bench.gaze.estimators.build import build_estimator
from dfad_bench.gaze.estimators.geometric import GeometricEstimator, angles
from dfad_bench.gaze.table import VALUES


@pytest.fixture(scope="module")
def faces():
    return draw_faces(40, seed=1)


@pytest.fixture(scope="module")
def result(faces):
    return GeometricEstimator().estimate(faces[0], faces[1])


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_estimator_names_itself_and_has_a_card(name: str) -> None:
    kind = resolve("estimator", name, ESTIMATORS)
    assert kind.name == name
    assert all((kind.card.display, kind.card.paper, kind.card.idea, kind.card.limits, kind.card.licence))


def test_geometric_keeps_the_protocol_and_its_fingerprint() -> None:
    estimator = build_estimator("geometric")
    assert isinstance(estimator, GazeEstimator)
    assert len(estimator.fingerprint) == 64
    assert estimator.fingerprint == build_estimator("geometric").fingerprint


def test_unknown_names_and_weights_nobody_asked_for(tmp_path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean geometric"):
        build_estimator("geometrik")
    weights = tmp_path / "some.pt"
    weights.write_bytes(b"x")
    with pytest.raises(WeightsError, match="takes no weights"):
        build_estimator("geometric", str(weights))


def test_yaw_follows_the_irises(faces, result) -> None:
    gaze = faces[2]
    assert np.corrcoef(result.yaw_rad, gaze[:, 1])[0, 1] > 0.98
    assert np.median(np.abs(result.yaw_rad - gaze[:, 1])) < np.radians(3)
    # head pose alone would not do: the eyes turn in the head
    assert np.corrcoef(result.yaw_rad - result.head_yaw_rad, gaze[:, 1] - faces[3][:, 1])[0, 1] > 0.9


def test_head_pose_is_the_drawn_one(faces, result) -> None:
    np.testing.assert_allclose(result.head_yaw_rad, faces[3][:, 1], atol=np.radians(1.5))
    np.testing.assert_allclose(result.head_pitch_rad, faces[3][:, 0], atol=np.radians(2))
    assert np.corrcoef(result.pitch_rad, faces[3][:, 0])[0, 1] > 0.95


def test_clean_eyes_are_trusted(result) -> None:
    assert (result.confidence > 0.8).all()
    assert (result.confidence <= 1).all()
    assert (result.flags == GazeFlag.NONE).all()


def test_mirrored_faces_have_mirrored_gaze(faces, result) -> None:
    flipped = GeometricEstimator().estimate(*mirror(faces[0], faces[1]))
    assert np.median(np.abs(flipped.yaw_rad + result.yaw_rad)) < np.radians(0.2)
    np.testing.assert_allclose(flipped.pitch_rad, result.pitch_rad, atol=1e-6)


def test_a_row_does_not_depend_on_the_others(faces, result) -> None:
    part = GeometricEstimator().estimate(faces[0][5:9], faces[1][5:9])
    for column in VALUES:
        np.testing.assert_allclose(getattr(part, column), getattr(result, column)[5:9], atol=1e-6)


def test_no_landmarks_no_gaze_but_a_flag(faces) -> None:
    points = faces[1][:3].copy()
    points[1] = np.nan
    found = GeometricEstimator().estimate(faces[0][:3], points)
    assert found.flags.tolist() == [0, GazeFlag.NO_POSE, 0]
    assert np.isnan(found.yaw_rad).tolist() == [False, True, False]
    assert found.confidence[1] == 0


def test_small_sources_get_the_head_alone() -> None:
    crop, points = draw_face((0.0, 0.3), (0.0, 0.0))
    large = GeometricEstimator().estimate(crop[None], points[None], source_scale=np.array([1.0]))
    small = GeometricEstimator().estimate(crop[None], points[None], source_scale=np.array([0.4]))
    assert large.flags[0] == GazeFlag.NONE
    assert small.flags[0] == GazeFlag.HEAD_ONLY
    assert large.yaw_rad[0] > 0.2
    assert abs(small.yaw_rad[0]) < 0.02
    assert small.confidence[0] == 0


def test_eyes_that_disagree_are_flagged_and_weigh_less() -> None:
    left, points = draw_face((0.0, 0.3), (0.0, 0.0))
    right, _ = draw_face((0.0, -0.3), (0.0, 0.0))
    mixed = np.concatenate([left[:, :128], right[:, 128:]], axis=1)
    found = GeometricEstimator().estimate(np.stack([left, mixed]), np.stack([points, points]))
    assert found.flags.tolist() == [0, GazeFlag.EYES_DISAGREE]
    assert found.confidence[1] < 0.5 < found.confidence[0]


def test_angles_of_a_vector_that_is_too_long_stay_finite() -> None:
    pitch, yaw = angles(np.array([0.9, 0.0]), np.array([0.9, -0.5]))
    assert np.isfinite([*pitch, *yaw]).all()
    assert pitch[1] == pytest.approx(np.arcsin(0.5))


def test_an_eye_that_the_crop_does_not_show_leaves_the_head(faces, result) -> None:
    """Cut off above the eyes: the head's pose is that of the points, the irises count for nothing."""
    crops, points = faces[0][:6], faces[1][:6]
    cut = int(points[:, :2, 1].max()) + 2
    rows = np.roll(crops, -cut, axis=1)  # the same size, so that the camera stays
    moved = points - [0, cut]
    found = GeometricEstimator().estimate(rows, moved)
    assert (found.flags & GazeFlag.HEAD_ONLY != 0).all()
    assert (found.confidence == 0).all()
    heads = found.head_yaw_rad
    assert np.corrcoef(heads, result.head_yaw_rad[:6])[0, 1] > 0.99
    assert np.abs(found.yaw_rad).max() <= np.abs(heads).max()
