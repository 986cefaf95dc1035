from __future__ import annotations

import numpy as np
import pytest
from rendered_eyes import DISTANCE_MM, SIDE, draw_face, head_rotation, mirror

from dfad_bench.gaze import normalize
from dfad_bench.gaze.vectors import to_pitch_yaw


def projected(pitch: float, yaw: float, move: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    rotation = head_rotation(pitch, yaw)
    camera = normalize.FACE_MODEL_MM @ rotation.T + np.array(move)
    focal = normalize.FOCAL_FACTOR * SIDE
    return camera[:, :2] / camera[:, 2:] * focal + SIDE / 2, rotation


def test_pose_of_projected_points_is_found_exactly() -> None:
    rng = np.random.default_rng(0)
    cases = [(*rng.uniform(-0.4, 0.4, 2), (*rng.uniform(-40, 40, 2), rng.uniform(600, 1500))) for _ in range(20)]
    known = [projected(*case) for case in cases]
    pose = normalize.solve_pose(np.stack([points for points, _ in known]), SIDE, SIDE)
    assert pose.ok.all()
    np.testing.assert_allclose(pose.rotation, np.stack([rotation for _, rotation in known]), atol=1e-4)
    np.testing.assert_allclose(pose.translation, np.array([case[2] for case in cases]), rtol=1e-3, atol=0.1)


def test_points_without_a_pose_are_marked_and_do_not_disturb_others() -> None:
    good, _ = projected(0.1, -0.2, (0, 0, 800))
    bad = np.full((5, 2), np.nan)
    line = np.stack([np.linspace(0, 100, 5), np.full(5, 3.0)], axis=1)
    pose = normalize.solve_pose(np.stack([bad, good, line, np.zeros((5, 2))]), SIDE, SIDE)
    assert pose.ok.tolist() == [False, True, False, False]
    alone = normalize.solve_pose(good[None], SIDE, SIDE)
    np.testing.assert_array_equal(pose.rotation[1], alone.rotation[0])


def test_layout_of_the_array_in_memory_does_not_matter() -> None:
    good, _ = projected(0.1, -0.2, (0, 0, 800))
    pose = normalize.solve_pose(np.asfortranarray(good[None]), SIDE, SIDE)
    assert pose.ok.all()


def test_frontal_face_is_upright_centred_and_has_known_scale() -> None:
    points, _ = projected(0.0, 0.0, (30.0, -20.0, 900.0))
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    rolled = (points - SIDE / 2) @ turn.T + SIDE / 2
    view = normalize.virtual_camera(normalize.solve_pose(rolled[None], SIDE, SIDE))
    patch = normalize.project(view.homography, rolled[None])[0]
    left, right = patch[:2]
    assert left[1] == pytest.approx(right[1], abs=0.5)  # level eyes
    assert np.linalg.norm(right - left) == pytest.approx(102, abs=2)  # 64 mm at 1.6 px a mm
    assert (left[0] + right[0]) / 2 == pytest.approx(112, abs=1)  # seen from 2 degrees aside


def test_virtual_camera_looks_at_the_face_centre() -> None:
    points, _ = projected(0.2, 0.3, (60.0, 10.0, 700.0))
    pose = normalize.solve_pose(points[None], SIDE, SIDE)
    view = normalize.virtual_camera(pose)
    seen = (view.rotation[0] @ pose.centre[0])[:2]
    np.testing.assert_allclose(seen, 0, atol=1e-6)
    np.testing.assert_allclose(view.rotation[0] @ view.rotation[0].T, np.eye(3), atol=1e-9)
    assert np.linalg.det(view.rotation[0]) == pytest.approx(1)
    np.testing.assert_allclose(to_pitch_yaw(view.forward)[0], [0.2, 0.3], atol=0.12)  # the camera turned a little


def test_warp_of_the_identity_changes_nothing_and_half_pixels_are_kept() -> None:
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(normalize.warp(image, np.eye(3), 32, 32), image)
    flip = np.array([[-1.0, 0, 32], [0, 1, 0], [0, 0, 1]])  # a mirror at the image's middle
    np.testing.assert_array_equal(normalize.warp(image, flip, 32, 32), image[:, ::-1])


def test_patches_of_mirrored_faces_are_mirrored_patches() -> None:
    crop, points = draw_face((0.05, 0.2), (0.05, 0.1), shift=(5.0, 3.0))
    plain = normalize.normalize(crop[None], points[None])
    flipped = normalize.normalize(*mirror(crop[None], points[None]))
    difference = plain.images[0].astype(int) - flipped.images[0][:, ::-1]
    assert np.abs(difference).max() <= 3
    np.testing.assert_allclose(flipped.head_rad, plain.head_rad * [1, -1], atol=1e-6)


def test_face_without_landmarks_is_resized_and_marked() -> None:
    crop = np.full((1, 64, 64, 3), 9, np.uint8)
    patches = normalize.normalize(crop, np.full((1, 5, 2), np.nan))
    assert patches.images.shape == (1, 224, 224, 3)
    assert (patches.images == 9).all()
    assert not patches.ok[0]
    assert np.isnan(patches.head_rad).all()


def test_distance_of_the_rendered_faces_is_recovered() -> None:
    _, points = draw_face((0.0, 0.0), (0.0, 0.0))
    pose = normalize.solve_pose(points[None], SIDE, SIDE)
    assert pose.translation[0, 2] == pytest.approx(DISTANCE_MM - 20, rel=0.01)


def test_strip_between_the_eyes_has_the_asked_shape_and_scale() -> None:
    crop, points = draw_face((0.0, 0.0), (0.0, 0.0))
    middle = normalize.FACE_MODEL_MM[:2].mean(axis=0)
    strip = {"side": 256, "height": 64, "focal_px": 1300.0, "distance_mm": 600.0, "centre_mm": middle}
    assert normalize.normalize(crop[None], points[None], **strip).images.shape == (1, 64, 256, 3)
    view = normalize.virtual_camera(normalize.solve_pose(points[None], SIDE, SIDE), **strip)
    left, right = normalize.project(view.homography, points[None])[0, :2]
    np.testing.assert_allclose((left + right) / 2, [128, 32], atol=0.5)
    assert np.linalg.norm(right - left) == pytest.approx(64 * 1300 / 600, rel=0.01)


def test_face_boxes_hold_the_face_and_follow_the_mirror() -> None:
    crop, points = draw_face((0.05, 0.2), (0.05, 0.1), shift=(5.0, 3.0))
    boxes = normalize.face_boxes(crop[None], points[None], 200)
    assert boxes.images.shape == (1, 200, 200, 3)
    flipped = normalize.face_boxes(*mirror(crop[None], points[None]), 200)
    assert np.abs(boxes.images[0].astype(int) - flipped.images[0][:, ::-1]).max() <= 3
    np.testing.assert_allclose(flipped.head_rad, boxes.head_rad * [1, -1], atol=1e-6)
    # a square drawn into the crop is found in the box where the box's corner and scale say
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    length = max(np.linalg.norm(points[1] - points[0]), np.linalg.norm(mouth - eyes))
    corner = (eyes + mouth) / 2 + length * np.array([-2.05 / 2, -2.7 / 2 - 0.18])
    marked = np.zeros_like(crop)
    x, y = points[0].astype(int)
    marked[y - 2 : y + 3, x - 2 : x + 3] = 255
    found = normalize.face_boxes(marked[None], points[None], 200).images[0, :, :, 0]
    seen = np.argwhere(found > 127).mean(axis=0)[::-1] + 0.5
    expected = (np.array([x, y]) + 0.5 - corner) / (length * np.array([2.05, 2.7])) * 200
    np.testing.assert_allclose(seen, expected, atol=0.6)


def test_face_without_landmarks_has_no_box_but_is_marked() -> None:
    crop = np.full((2, 64, 64, 3), 9, np.uint8)
    boxes = normalize.face_boxes(crop, np.stack([np.full((5, 2), np.nan), np.full((5, 2), 3.0)]), 48)
    assert (boxes.images == 9).all()
    assert not boxes.ok.any()
