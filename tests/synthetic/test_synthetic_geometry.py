"""Gaze is where the geometry says, in the formula and in the drawn pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dfad_bench.synthetic.geometry import (
    EYE_MIDPOINT_MM,
    EYEBALL_DEPTH_MM,
    IRIS_DISTANCE_MM,
    IRIS_RADIUS_MM,
    Placement,
    Pose,
    Projector,
    direction,
    rotation,
)
from dfad_bench.synthetic.identity import draw_identity, draw_scene
from dfad_bench.synthetic.portrait import render

PLACEMENT = Placement(1.25, (160.0, 160.0))
POSES = [
    Pose(0.0, 0.0, 0.0, 0.0),
    Pose(0.1, 0.3, 0.15, 0.5),
    Pose(-0.2, -0.4, -0.1, -0.2, 0.05),
    Pose(0.0, 0.2, 0.0, -0.3),
]


def mirrored(pose: Pose) -> Pose:
    return Pose(pose.head_pitch_rad, -pose.head_yaw_rad, pose.pitch_rad, -pose.yaw_rad, -pose.roll_rad)


@pytest.mark.parametrize("pose", POSES)
def test_rotation_is_a_rotation_that_points_the_head_where_it_looks(pose: Pose) -> None:
    matrix = rotation(pose)
    assert np.allclose(matrix @ matrix.T, np.eye(3))
    assert np.linalg.det(matrix) == pytest.approx(1.0)
    assert np.allclose(matrix @ [0, 0, -1], direction(pose.head_pitch_rad, pose.head_yaw_rad))


def test_positive_yaw_looks_to_the_image_left_and_positive_pitch_up() -> None:
    x, y, z = direction(0.2, 0.3)
    assert x < 0
    assert y < 0
    assert z < 0
    ahead, turned = (Projector(pose, PLACEMENT).iris_centres() for pose in (POSES[0], Pose(0, 0, 0.2, 0.3)))
    assert (turned < ahead).all()


@pytest.mark.parametrize("pose", POSES)
def test_mirrored_pose_gives_mirrored_irises(pose: Pose) -> None:
    here, there = (Projector(p, PLACEMENT).iris_centres() for p in (pose, mirrored(pose)))
    assert np.allclose(here[::-1] * [-1, 1] + [320, 0], there)


def test_iris_offset_follows_the_eyeball_model_of_the_geometric_estimator() -> None:
    x, y, z = EYE_MIDPOINT_MM
    for head_yaw, gaze_yaw in [(0.0, 0.2), (0.2, 0.3), (-0.3, -0.1), (0.4, 0.1)]:
        pose = Pose(0.0, head_yaw, 0.0, gaze_yaw)
        project = Projector(pose, PLACEMENT)
        corners = project(np.array([[-x, y, z], [x, y, z]]))
        offset_mm = (project.iris_centres() - corners).mean(0)[0] / PLACEMENT.scale
        expected = IRIS_DISTANCE_MM * direction(0, gaze_yaw)[0] - EYEBALL_DEPTH_MM * direction(0, head_yaw)[0]
        assert offset_mm == pytest.approx(expected, abs=0.6)  # perspective: eyes are farther away than the nose tip


@pytest.mark.parametrize("pose", POSES)
def test_drawn_iris_lies_where_the_formula_puts_it(pose: Pose) -> None:
    scene = replace(draw_scene(0, "studio", "test"), placement=PLACEMENT, ambient=1.0)
    person = replace(draw_identity(0, "id0001"), iris=(40.0, 220.0, 40.0), skin=(214.0, 170.0, 150.0), eye_height=1.15)
    drawn = render(person, scene, pose)
    green = drawn.image[..., 1] - drawn.image[..., [0, 2]].max(2)
    y, x = np.mgrid[0:320, 0:320] + 0.5
    for eye, (cx, cy) in enumerate(drawn.project.iris_centres()):
        near = np.hypot(x - cx, y - cy) < 1.8 * IRIS_RADIUS_MM * PLACEMENT.scale
        ring = near & (green > 60)
        assert ring.sum() > 40, f"eye {eye} has no visible iris"
        # Lids hide its top and its bottom, so the horizontal middle is compared, where it is widest.
        rows = ring & (np.abs(y - cy) < 2)
        middle = (x[rows].min() + x[rows].max()) / 2
        assert middle == pytest.approx(cx, abs=0.75)
        outline = drawn.project.iris_circle(eye, IRIS_RADIUS_MM)
        assert x[ring].min() >= outline[:, 0].min() - 1
        assert x[ring].max() <= outline[:, 0].max() + 1


def test_iris_circle_is_a_circle_of_its_radius_around_the_iris() -> None:
    project = Projector(POSES[0], PLACEMENT)
    radii = np.linalg.norm(project.iris_circle(0, 5.0) - project.iris_centres()[0], axis=1) / PLACEMENT.scale
    assert np.allclose(radii, radii.mean(), rtol=0.01)
    assert radii.mean() == pytest.approx(5.0, rel=0.06)  # farther from the camera than the nose tip
