from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gaze_frames import gaze_frame
from gaze_manifests import write_eyes
from rendered_eyes import SIDE, draw_face

from dfad_bench.core.registry import resolve
from dfad_bench.gaze import draw, examples, normalize
from dfad_bench.gaze.estimators import ESTIMATORS
from dfad_bench.gaze.estimators.base import GazeFlag
from dfad_bench.gaze.vectors import to_unit

CENTRE_MM = (normalize.FACE_MODEL_MM[:2].mean(axis=0) + normalize.NOSE_BASE_MM) / 2


def of_generator(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    return frame[frame["generator"] == name]


def turned(points: np.ndarray, angle_rad: float) -> np.ndarray:
    """Points turned about the middle of the crop, in the image plane."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return (points - SIDE / 2) @ np.array([[cos, sin], [-sin, cos]]) + SIDE / 2


def test_choice_follows_from_the_seed_not_from_the_order_of_rows() -> None:
    rows = of_generator(gaze_frame({"flow": 200}), "flow")
    chosen = {seed: examples.choose_face(rows, seed) for seed in range(8)}
    assert chosen == {seed: examples.choose_face(rows.sample(frac=1, random_state=seed), seed) for seed in range(8)}
    assert len({name for name, _ in chosen.values()}) > 4


def test_a_face_is_confident_and_near_the_median_gaze() -> None:
    rows = of_generator(gaze_frame({"flow": 200}), "flow").copy()
    rows["confidence"] = np.where(np.arange(200) % 3 == 0, 0.2, 0.8)
    rows.loc[rows.index[1::3], "flags"] = GazeFlag.RESIZED.value
    confident = rows[(rows["confidence"] > 0.5) & (rows["flags"] == 0)].set_index("sample_id")[["pitch_rad", "yaw_rad"]]
    off = np.hypot(*(confident - confident.median()).to_numpy().T)
    near = set(confident.index[off <= np.median(off)])
    found = {examples.choose_face(rows, seed) for seed in range(30)}
    assert all(confident for _, confident in found)
    assert {name for name, _ in found} <= near


def test_without_a_confident_face_one_of_low_confidence_is_shown_as_such_and_without_gaze_none() -> None:
    rows = of_generator(gaze_frame({"flow": 20}), "flow").copy()
    rows["confidence"] = 0.1
    name, confident = examples.choose_face(rows, 0) or ("", True)
    assert name in set(rows["sample_id"])
    assert not confident
    rows["yaw_rad"] = np.nan
    assert examples.choose_face(rows, 0) is None


def test_pairs_are_typical_of_all_estimators_and_any_order_of_rows() -> None:
    first = gaze_frame({"swap": 80, "edit": 40, "flow": 40}, shift={"edit": 0.1})
    second = first.copy()
    second["yaw_rad"] += np.random.default_rng(1).normal(0, 0.05, len(second))
    second.loc[second["sample_id"].isin(of_generator(second, "swap")["sample_id"][::2]), "confidence"] = 0.0
    found = examples.choose_pairs([first, second], 0)
    assert set(found) == {("toy", "swap"), ("toy", "edit")}
    again = examples.choose_pairs([frame.sample(frac=1, random_state=3) for frame in (first, second)], 0)
    assert found == again
    rows = first.set_index("sample_id")
    for pair in found.values():
        assert rows.loc[pair.forged, "target_id"] == pair.target
        assert pair.confident
        assert second.set_index("sample_id").loc[pair.forged, "confidence"] > 0.5


def test_no_pair_where_the_target_is_not_at_hand_or_has_no_gaze() -> None:
    frame = gaze_frame({"swap": 10})
    assert examples.choose_pairs([frame[frame["detection_label"] == 1]], 0) == {}
    blind = frame.copy()
    blind.loc[blind["detection_label"] == 0, "pitch_rad"] = np.nan
    assert examples.choose_pairs([frame, blind], 0) == {}


@pytest.mark.parametrize("gaze", [(0.0, 0.3), (0.25, 0.0), (-0.2, -0.3)])
def test_arrow_starts_at_the_face_centre_and_goes_along_the_gaze(gaze: tuple[float, float]) -> None:
    _, landmarks = draw_face((0.0, 0.0), (0.0, 0.0))
    start, tip = draw.arrow_on_crop(SIDE, SIDE, landmarks, gaze)
    px_per_mm = np.ptp(landmarks[:2, 0]) / np.ptp(normalize.FACE_MODEL_MM[:2, 0])
    middle = landmarks[2] + px_per_mm * (CENTRE_MM - normalize.FACE_MODEL_MM[2])[:2]
    np.testing.assert_allclose(start, middle, atol=1.5)
    moved = (np.array(tip) - start) / px_per_mm
    expected = draw.ARROW_MM * to_unit(gaze)[:2]
    # the arrow comes nearer to the camera, so it is a little longer than seen from far away
    assert moved @ expected / np.linalg.norm(moved) / np.linalg.norm(expected) > 0.995
    assert 1 <= np.linalg.norm(moved) / np.linalg.norm(expected) < 1.3


def test_arrow_turns_with_a_tilted_head_only_where_angles_are_of_the_patch() -> None:
    _, landmarks = draw_face((0.0, 0.0), (0.1, -0.2))
    tilted = turned(landmarks, np.radians(25))
    ends = [np.array(draw.arrow_on_crop(SIDE, SIDE, points, (0.1, 0.3))) for points in (landmarks, tilted)]
    np.testing.assert_allclose(turned(ends[0], np.radians(25)), ends[1], atol=0.5)
    raw = [
        np.diff(draw.arrow_on_crop(SIDE, SIDE, points, (0.1, 0.3), normalised=False), axis=0)[0]
        for points in (landmarks, tilted)
    ]
    angles = [np.degrees(np.arctan2(y, x)) for x, y in raw]
    assert angles[0] == pytest.approx(angles[1], abs=2)


def test_arrow_on_the_crop_is_the_one_on_the_patch_seen_by_the_other_camera() -> None:
    """Start and tip, taken into the patch by the homography of the face's plane, agree where the gaze is flat."""
    _, landmarks = draw_face((0.0, 0.0), (0.0, 0.0))
    start, _ = draw.arrow_on_crop(SIDE, SIDE, landmarks, (0.0, 0.2))
    view = normalize.virtual_camera(normalize.solve_pose(landmarks[None], SIDE, SIDE))
    in_patch = normalize.project(view.homography, np.array([[start]]))[0, 0]
    np.testing.assert_allclose(in_patch, normalize.PATCH_SIDE / 2, atol=1e-6)


def red(image: np.ndarray) -> np.ndarray:
    """(n, 2) x and y of the pixels' centres that are as red as an arrow."""
    y, x = np.nonzero((image[..., 0] > 200) & (image[..., 1] < 60) & (image[..., 2] < 60))
    return np.stack([x, y], axis=1) + 0.5


@pytest.mark.parametrize("gaze", [(0.0, 0.3), (0.3, 0.0), (-0.15, -0.25)])
def test_pixels_of_the_arrow_lie_between_start_and_tip(gaze: tuple[float, float]) -> None:
    _, landmarks = draw_face((0.0, 0.0), (0.0, 0.0))
    grey = np.full((SIDE, SIDE, 3), 128, np.uint8)
    drawn = draw.draw_on_crop(grey, landmarks, gaze)
    start, tip = (np.array(end) for end in draw.arrow_on_crop(SIDE, SIDE, landmarks, gaze))
    along = (tip - start) / np.linalg.norm(tip - start)
    places = (red(drawn) - start) @ along
    assert grey.min() == grey.max() == 128  # the input is left alone
    assert places.min() == pytest.approx(0, abs=5)  # a dot marks the start
    assert places.max() == pytest.approx(np.linalg.norm(tip - start), abs=3)
    aside = np.abs((red(drawn) - start) @ [-along[1], along[0]])
    assert np.median(aside) < 4
    # the head: the widest part is nearer to the tip
    assert places[aside == aside.max()].mean() > np.linalg.norm(tip - start) / 2
    assert (drawn == 255).all(axis=-1).any()  # the rim


def test_patch_arrow_has_the_length_of_the_one_in_space() -> None:
    patch = np.zeros((normalize.PATCH_SIDE, normalize.PATCH_SIDE, 3), np.uint8)
    places = red(draw.draw_on_patch(patch, (0.0, 0.2)))
    # 1.6 px a millimetre in the patch
    assert normalize.PATCH_SIDE / 2 - places[:, 0].min() == pytest.approx(1.6 * draw.ARROW_MM * np.sin(0.2), abs=3)
    assert places[:, 1].mean() == pytest.approx(normalize.PATCH_SIDE / 2, abs=1.5)


def test_no_gaze_no_arrow_and_no_landmarks_start_in_the_middle() -> None:
    image, landmarks = draw_face((0.0, 0.0), (0.0, 0.0))
    assert np.array_equal(draw.draw_on_crop(image, landmarks, (np.nan, 0.1)), image)
    start, tip = draw.arrow_on_crop(SIDE, SIDE, np.full((5, 2), np.nan), (0.0, 0.3))
    assert start == (SIDE / 2, SIDE / 2)
    assert tip == pytest.approx((SIDE / 2 - SIDE / 2 * np.sin(0.3), SIDE / 2))


def test_faces_come_from_any_of_the_manifests_with_landmarks_in_crop_pixels(tmp_path: Path) -> None:
    manifests = [write_eyes(tmp_path / name, count=3, seed=seed, name=name)[0] for seed, name in enumerate("ab")]
    names = [manifest.frame(["sample_id"])["sample_id"][0] for manifest in manifests]
    faces = examples.load_faces(manifests, [*names, "nowhere"])
    assert set(faces) == set(names)
    for face in faces.values():
        assert face.crop.shape == (SIDE, SIDE, 3)
        assert ((face.landmarks > 60) & (face.landmarks < 200)).all()
        patch = examples.gaze_patch(face, {"pitch_rad": 0.0, "yaw_rad": 0.2, "flags": 0})
        assert patch.shape == (normalize.PATCH_SIDE, normalize.PATCH_SIDE, 3)
        assert len(red(patch)) > 50


def test_flags_and_estimators_say_whose_camera_the_angles_are_of(monkeypatch: pytest.MonkeyPatch) -> None:
    image, landmarks = draw_face((0.0, 0.0), (0.0, 0.3))
    face = examples.Face(image, turned(landmarks, 0.4))
    gaze = {"pitch_rad": 0.1, "yaw_rad": 0.3}
    of_crop = examples.with_arrow(face, gaze, normalised=False)
    assert np.array_equal(examples.with_arrow(face, gaze | {"flags": GazeFlag.RESIZED.value}), of_crop)
    assert not np.array_equal(examples.with_arrow(face, gaze | {"flags": 0}), of_crop)
    assert examples.sees_patch("geometric")
    assert examples.sees_patch("of somebody else")
    monkeypatch.setattr(resolve("estimator", "geometric", ESTIMATORS), "normalised", False, raising=False)
    assert not examples.sees_patch("geometric")
