from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfad_bench.gaze.draw import PATCH_ARROW_PX, draw_on_patch
from dfad_bench.gaze.vectors import angular_error_rad, mirrored, to_pitch_yaw, to_unit

angle = st.floats(-1.4, 1.4)


@given(angle, angle)
def test_angles_survive_the_way_to_a_unit_vector_and_back(pitch: float, yaw: float) -> None:
    vector = to_unit([pitch, yaw])
    assert np.linalg.norm(vector) == pytest.approx(1)
    np.testing.assert_allclose(to_pitch_yaw(3 * vector), [pitch, yaw], atol=1e-9)


def test_signs_are_up_and_toward_the_images_left() -> None:
    up, left = to_unit([0.3, 0.0]), to_unit([0.0, 0.3])
    assert up[1] < 0  # y points down
    assert left[0] < 0  # x points right
    assert to_unit([0.0, 0.0])[2] == -1  # z points away from the camera


@given(angle, angle, angle, angle)
def test_angular_error_is_the_arccosine_of_the_dot(p: float, y: float, q: float, z: float) -> None:
    expected = np.arccos(np.clip(to_unit([p, y]) @ to_unit([q, z]), -1, 1))
    assert angular_error_rad([p, y], [q, z]) == pytest.approx(expected, abs=1e-6)
    assert angular_error_rad(mirrored([p, y]), mirrored([q, z])) == pytest.approx(expected, abs=1e-6)


def test_zero_vector_has_no_direction() -> None:
    assert np.isnan(to_pitch_yaw([0.0, 0.0, 0.0])[0])


@pytest.mark.parametrize(("gaze", "where"), [((0.3, 0.0), "up"), ((0.0, 0.3), "left"), ((-0.3, 0.0), "down")])
def test_arrow_points_where_the_gaze_goes(gaze: tuple[float, float], where: str) -> None:
    patch = np.zeros((224, 224, 3), np.uint8)
    drawn = draw_on_patch(patch, gaze)
    assert patch.max() == 0  # the input is left alone
    y, x = np.nonzero((drawn[..., 0] > 128) & (drawn[..., 1] < 128))  # the red line without its white rim
    moved = {"up": 112 - y.min(), "down": y.max() - 112, "left": 112 - x.min()}
    assert moved[where] == pytest.approx(PATCH_ARROW_PX * np.sin(0.3), abs=3)  # the line is two pixels thick
    assert np.array_equal(drawn[..., 1], drawn[..., 2])  # nothing but red, white and black
    assert drawn[..., 0].max() == 255


def test_no_arrow_without_a_gaze() -> None:
    patch = np.full((8, 8, 3), 7, np.uint8)
    assert np.array_equal(draw_on_patch(patch, (np.nan, 0.0)), patch)
