"""The mediapipe estimator: its geometry on meshes of known gaze anywhere, and the real model where it is installed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from rendered_eyes import DISTANCE_MM, EYEBALL_DEPTH_MM, EYEBALL_MM, SIDE, head_rotation, mirror

from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import DFADError, IntegrityError, MissingDependencyError, WeightsError
from dfad_bench.core.registry import resolve
from dfad_bench.data.images import ImageRefused, decode_image
from dfad_bench.gaze import normalize
from dfad_bench.gaze.estimators import ALIASES, ESTIMATORS
from dfad_bench.gaze.estimators import mediapipe as module
from dfad_bench.gaze.estimators.base import GazeFlag
from dfad_bench.gaze.estimators.mediapipe import EYE_CORNERS, IRISES, LIDS, NOSE_AND_MOUTH, POINTS, MediapipeEstimator
from dfad_bench.gaze.resample import choose
from dfad_bench.gaze.table import VALUES, crop_landmarks
from dfad_bench.gaze.vectors import to_unit
from dfad_bench.ingest.crop.cropper import FaceCropper, load_crop_profile
from dfad_bench.synthetic.faces import draw_face
from dfad_bench.synthetic.layout import planned_paths

ROOT = Path(__file__).resolve().parents[2]
MIRRORED = {33: 263, 133: 362, 159: 386, 145: 374, 468: 473, 61: 291}


def mesh_of(gaze: np.ndarray, head: np.ndarray, *, lids_mm: float = 5.0, turned_in_mm: float = 0.0) -> np.ndarray:
    """(478, 2) points of a face with a known gaze; the ones nobody reads are nan."""
    rotation = head_rotation(*head)
    move = np.array([0.0, 0.0, DISTANCE_MM])
    model = normalize.FACE_MODEL_MM - [0, 0, 20]
    points = np.full((POINTS, 3), np.nan)
    for eye, corners, lids in zip(model[:2], EYE_CORNERS, LIDS, strict=True):
        points[list(corners)] = (eye + np.array([[-15.0, 0, 0], [15, 0, 0]])) @ rotation.T + move
        points[list(lids)] = (eye + np.array([[0, -lids_mm, 0], [0, lids_mm, 0]])) @ rotation.T + move
    points[list(NOSE_AND_MOUTH)] = model[2:] @ rotation.T + move
    balls = (model[:2] + [0, 0, EYEBALL_DEPTH_MM]) @ rotation.T + move
    points[list(IRISES)] = balls + EYEBALL_MM * to_unit(gaze) + np.array([[1.0, 0, 0], [-1, 0, 0]]) * turned_in_mm
    return points[:, :2] / points[:, 2:] * normalize.FOCAL_FACTOR * SIDE + SIDE / 2


def flipped(mesh: np.ndarray) -> np.ndarray:
    other = np.arange(POINTS)
    for left, right in MIRRORED.items():
        other[[left, right]] = right, left
    return mesh[other] * [-1, 1] + [SIDE, 0]


def random_angles(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    heads = rng.uniform(-1, 1, (count, 2)) * np.radians([10, 15])
    return heads + rng.uniform(-1, 1, (count, 2)) * np.radians([8, 18]), heads


@pytest.fixture(scope="module")
def meshes() -> tuple[np.ndarray, np.ndarray]:
    gazes, heads = random_angles(60)
    return np.stack([mesh_of(g, h) for g, h in zip(gazes, heads, strict=True)]), gazes


def test_both_angles_follow_the_irises(meshes: tuple[np.ndarray, np.ndarray]) -> None:
    found = module.gaze_of_mesh(meshes[0], SIDE, SIDE, None)
    assert np.corrcoef(found.yaw_rad, meshes[1][:, 1])[0, 1] > 0.98
    assert np.corrcoef(found.pitch_rad, meshes[1][:, 0])[0, 1] > 0.95
    assert np.median(np.abs(found.yaw_rad - meshes[1][:, 1])) < np.radians(4)
    assert (found.flags == GazeFlag.NONE).all()


def test_a_mirrored_mesh_has_the_mirrored_gaze(meshes: tuple[np.ndarray, np.ndarray]) -> None:
    plain = module.gaze_of_mesh(meshes[0], SIDE, SIDE, None)
    other = module.gaze_of_mesh(np.stack([flipped(mesh) for mesh in meshes[0]]), SIDE, SIDE, None)
    np.testing.assert_allclose(other.yaw_rad, -plain.yaw_rad, atol=1e-6)
    np.testing.assert_allclose(other.pitch_rad, plain.pitch_rad, atol=1e-6)
    np.testing.assert_allclose(other.confidence, plain.confidence, atol=1e-6)


def test_a_missing_mesh_has_no_gaze_and_harms_no_other(meshes: tuple[np.ndarray, np.ndarray]) -> None:
    some = meshes[0][:3].copy()
    some[1] = np.nan
    found = module.gaze_of_mesh(some, SIDE, SIDE, None)
    assert found.flags.tolist() == [0, GazeFlag.NO_POSE, 0]
    assert np.isnan([found.yaw_rad[1], found.pitch_rad[1]]).all()
    assert found.confidence[1] == 0
    assert found.yaw_rad[2] == module.gaze_of_mesh(some[2:], SIDE, SIDE, None).yaw_rad[0]


def test_small_sources_get_the_head_alone() -> None:
    head = np.array([0.0, 0.1])
    looking = np.stack([mesh_of(np.array([0.0, yaw]), head) for yaw in (-0.3, 0.3)])
    small = module.gaze_of_mesh(looking, SIDE, SIDE, np.array([0.4, 0.4]))
    assert small.flags.tolist() == [GazeFlag.HEAD_ONLY] * 2
    assert small.yaw_rad[0] == pytest.approx(small.yaw_rad[1])
    assert small.confidence.tolist() == [0, 0]


def test_closed_lids_and_eyes_that_disagree_count_less() -> None:
    rest = module.REST_APART_PX / -2 / 1.6 * -1  # irises as far apart as on the average photograph
    straight = np.zeros(2)
    kinds = [
        mesh_of(straight, straight, turned_in_mm=rest),
        mesh_of(straight, straight, turned_in_mm=rest, lids_mm=0.5),
        mesh_of(straight, straight, turned_in_mm=rest + 3),
    ]
    found = module.gaze_of_mesh(np.stack(kinds), SIDE, SIDE, None)
    assert found.confidence[0] > 0.95
    assert found.confidence[1] < 0.3
    assert found.confidence[2] < 0.5
    assert found.flags.tolist() == [0, 0, GazeFlag.EYES_DISAGREE]


def test_of_several_faces_the_one_at_the_landmarks_is_meant(meshes: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = meshes[0][0], meshes[0][0] + [90, 10]
    landmarks = module.five_points(second[None])[0] + 2
    np.testing.assert_array_equal(module.nearest_face(np.stack([first, second]), landmarks), second)
    assert np.isnan(module.nearest_face(first[None], landmarks)).all()
    np.testing.assert_array_equal(module.nearest_face(np.stack([first, second]), np.full((5, 2), np.nan)), first)


def fake_mediapipe(monkeypatch: pytest.MonkeyPatch, faces: list[np.ndarray]) -> list[np.ndarray]:
    """A MediaPipe that finds `faces` (shares of the sides) in every picture; returns what it was shown."""
    shown: list[np.ndarray] = []

    def detect(image: SimpleNamespace) -> SimpleNamespace:
        shown.append(image.data)
        points = [[SimpleNamespace(x=x, y=y) for x, y in face] for face in faces]
        return SimpleNamespace(face_landmarks=points)

    landmarker = SimpleNamespace(detect=detect, close=lambda: None)
    vision = SimpleNamespace(
        FaceLandmarkerOptions=SimpleNamespace,
        FaceLandmarker=SimpleNamespace(create_from_options=lambda options: landmarker),
    )
    package, tasks = ModuleType("mediapipe"), ModuleType("mediapipe.tasks.python")
    package.Image, package.ImageFormat = SimpleNamespace, SimpleNamespace(SRGB="srgb")
    tasks.vision, tasks.BaseOptions = vision, SimpleNamespace
    monkeypatch.setitem(sys.modules, "mediapipe", package)
    monkeypatch.setitem(sys.modules, "mediapipe.tasks", ModuleType("mediapipe.tasks"))
    monkeypatch.setitem(sys.modules, "mediapipe.tasks.python", tasks)
    return shown


@pytest.fixture
def model_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "face_landmarker.task"
    path.write_bytes(b"model")
    monkeypatch.setattr(module, "check_hash", lambda path, sha256: None)
    return path


def test_pixels_and_points_cross_over_unchanged(
    meshes: tuple[np.ndarray, np.ndarray], model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh = meshes[0][3] * [0.5, 1]  # a crop half as wide: shares are of width and of height
    shown = fake_mediapipe(monkeypatch, [mesh / [SIDE / 2, SIDE]])
    crops = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE // 2, 3), dtype=np.uint8)
    found = MediapipeEstimator.build(model_file).estimate(crops[:, :, ::-1], np.full((2, 5, 2), np.nan))
    expected = module.gaze_of_mesh(mesh[None], SIDE, SIDE // 2, None)
    np.testing.assert_allclose(found.yaw_rad, expected.yaw_rad.repeat(2), atol=1e-9)
    np.testing.assert_array_equal(np.stack(shown), crops[:, :, ::-1])
    assert all(image.flags.c_contiguous for image in shown)


def test_no_face_found_is_no_pose(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_mediapipe(monkeypatch, [])
    found = MediapipeEstimator.build(model_file).estimate(np.zeros((1, 64, 64, 3), np.uint8), np.zeros((1, 5, 2)))
    assert found.flags.tolist() == [GazeFlag.NO_POSE]


def test_not_installed_is_one_line_with_both_ways_out(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    estimator = MediapipeEstimator.build(model_file)  # stored tables are found without MediaPipe
    with pytest.raises(MissingDependencyError, match=r"make mediapipe-env.*pip install mediapipe==") as error:
        estimator.estimate(np.zeros((1, 64, 64, 3), np.uint8), np.zeros((1, 5, 2)))
    assert "\n" not in str(error.value)


def test_missing_and_wrong_model_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DFAD_WEIGHTS", raising=False)
    with pytest.raises(WeightsError, match=r"face_landmarker\.task in a folder and set DFAD_WEIGHTS"):
        MediapipeEstimator.build(None)
    other = tmp_path / "other.task"
    other.write_bytes(b"another model")
    with pytest.raises(IntegrityError, match=r"other\.task"):
        MediapipeEstimator.build(other)


def test_make_installs_the_version_the_error_names() -> None:
    assert f"MEDIAPIPE := {module.PACKAGE}\n" in (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def real() -> MediapipeEstimator:
    pytest.importorskip("mediapipe", reason="mediapipe is not installed; make test-mediapipe has it")
    try:
        return MediapipeEstimator.build(None)
    except DFADError as error:
        pytest.skip(str(error))


def crops_of(images: list[Image.Image]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Crops, landmarks and scale of the images with a face, and which those are."""
    cropper = FaceCropper(load_crop_profile("face-256-1.3"))
    pixels, rows, which = [], [], []
    for number, image in enumerate(images):
        try:
            crop = cropper.crop(image)
        except ImageRefused:
            continue
        pixels.append(crop.pixels)
        rows.append({"landmarks": crop.landmarks, "crop_affine": crop.affine})
        which.append(number)
    return np.stack(pixels), *crop_landmarks(pd.DataFrame(rows)), np.array(which)


@pytest.mark.weights
def test_real_model_follows_the_drawn_gaze(real: MediapipeEstimator, one_thread: None) -> None:
    paths = [path for path in planned_paths(per_group=40) if "/real-" in path]
    drawn = [draw_face(0, paths[index]) for index in choose(paths, 30, seed=3)]
    crops, landmarks, scale, which = crops_of([Image.fromarray(image) for image, _ in drawn])
    truth = np.array([(face.pitch_rad, face.yaw_rad) for _, face in drawn])[which]
    found = real.estimate(crops, landmarks, source_scale=scale)
    assert np.corrcoef(found.yaw_rad, truth[:, 1])[0, 1] >= 0.9
    assert np.corrcoef(found.pitch_rad, truth[:, 0])[0, 1] >= 0.75
    again = real.estimate(crops[4:7], landmarks[4:7], source_scale=scale[4:7])
    for column in VALUES:
        np.testing.assert_array_equal(getattr(again, column), getattr(found, column)[4:7])
    nothing = real.estimate(np.zeros_like(crops[:1]), landmarks[:1])
    assert nothing.flags.tolist() == [GazeFlag.NO_POSE]


@pytest.mark.weights
@pytest.mark.corpus
def test_real_model_on_mirrored_photographs(real: MediapipeEstimator, corpus: Path, one_thread: None) -> None:
    sources = pd.read_csv(corpus / "SOURCES.csv")
    large = sources.query("kind == 'real' and media == 'image' and mtcnn_faces == 1 and width >= 256")["path"].tolist()
    images = [decode_image(corpus / large[index]) for index in choose(large, 24, seed=0)]
    crops, landmarks, scale, _ = crops_of(images)
    plain = real.estimate(crops, landmarks, source_scale=scale)
    other = real.estimate(*mirror(crops, landmarks), source_scale=scale)
    known = np.isfinite(plain.yaw_rad) & np.isfinite(other.yaw_rad)
    assert known.mean() >= 0.8
    assert np.median(np.abs(np.degrees(plain.yaw_rad + other.yaw_rad)[known])) <= 4
    assert np.median(np.abs(np.degrees(plain.pitch_rad - other.pitch_rad)[known])) <= 3


@pytest.mark.weights
def test_real_model_through_the_command(real: MediapipeEstimator, tiny_manifest: Path) -> None:
    result = CliRunner().invoke(dfad, ["gaze-extract", "--manifest", str(tiny_manifest), "--estimator", "mediapipe"])
    assert result.exit_code == 0, result.output
    table = pd.read_parquet(next((tiny_manifest / "tables").glob("gaze-mediapipe-*.parquet")))
    assert table["yaw_rad"].notna().mean() > 0.8


def test_the_guide_names_every_estimator_with_its_weights() -> None:
    guide = (ROOT / "docs" / "gaze.md").read_text(encoding="utf-8")
    rows = {
        line.split("`")[1]: line for line in guide.splitlines() if line.startswith("| `") and "--estimator" not in line
    }
    assert set(rows) == set(ESTIMATORS)
    for name in ESTIMATORS:
        weights = resolve("estimator", name, ESTIMATORS).card.weights
        assert f"`{weights[0]}`" in rows[name] if weights else "none" in rows[name]
    assert all(f"also `{alias}`" in rows[name] for alias, name in ALIASES.items())
