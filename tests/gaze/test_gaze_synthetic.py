"""The geometric estimator through the whole chain (detection, crop, gaze), on drawn faces and on photographs."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from dfad_bench.core.labels import ForgeryType
from dfad_bench.data.images import ImageRefused, decode_image
from dfad_bench.gaze.analysis import analyse
from dfad_bench.gaze.estimators.base import GazeResult
from dfad_bench.gaze.estimators.geometric import SEARCH_X, SEARCH_Y, GeometricEstimator, find_irises
from dfad_bench.gaze.resample import choose
from dfad_bench.ingest.crop.cropper import FaceCropper, load_crop_profile
from dfad_bench.synthetic import GAZE_NOISE_RAD, GENERATORS
from dfad_bench.synthetic.faces import STUDIO, draw_face, plan_face
from dfad_bench.synthetic.layout import planned_paths


@pytest.fixture(scope="module")
def cropper() -> FaceCropper:
    import torch

    torch.set_num_threads(1)
    return FaceCropper(load_crop_profile("face-256-1.3"))


def gaze_of(images: list[Image.Image], cropper: FaceCropper) -> GazeResult:
    side = cropper.profile.size
    crops, points, scales = np.zeros((len(images), side, side, 3), np.uint8), np.full((len(images), 5, 2), np.nan), []
    for row, image in enumerate(images):
        try:
            crop = cropper.crop(image)
        except ImageRefused:
            scales.append(np.nan)
            continue
        scales.append((crop.crop_box[2] - crop.crop_box[0]) / side)
        crops[row] = crop.pixels
        points[row] = (np.reshape(crop.landmarks, (5, 2)) - crop.crop_box[:2]) / scales[-1]
    return GeometricEstimator().estimate(crops, points, source_scale=np.array(scales))


def synthetic(count: int) -> tuple[list[Image.Image], np.ndarray]:
    """Faces of generators and of real people whose yaw is 25 degrees at most, and their yaw."""
    widest = np.radians(25)
    paths = [path for path in planned_paths(per_group=count) if abs(plan_face(0, path).truth.yaw_rad) <= widest]
    drawn = [draw_face(0, paths[index]) for index in choose(paths, count, seed=1)]
    return [Image.fromarray(image) for image, _ in drawn], np.array([truth.yaw_rad for _, truth in drawn])


def check_synthetic(count: int, cropper: FaceCropper) -> None:
    images, yaw = synthetic(count)
    found = gaze_of(images, cropper).yaw_rad
    flipped = gaze_of([ImageOps.mirror(image) for image in images], cropper).yaw_rad
    known = np.isfinite(found) & np.isfinite(flipped)
    assert known.mean() >= 0.97
    assert np.corrcoef(found[known], yaw[known])[0, 1] >= 0.85
    assert np.median(np.abs(np.degrees(found[known] + flipped[known]))) <= 2.5


@pytest.mark.heavy
def test_yaw_of_synthetic_faces(cropper: FaceCropper) -> None:
    check_synthetic(40, cropper)


@pytest.mark.slow
def test_yaw_of_many_synthetic_faces(cropper: FaceCropper) -> None:
    check_synthetic(300, cropper)


@pytest.mark.slow
def test_distances_come_in_the_order_of_the_gaze_noise(cropper: FaceCropper) -> None:
    paths = [path for path in planned_paths(per_group=100) if "real-outdoor" not in path]
    drawn = [draw_face(0, path) for path in paths]
    found = gaze_of([Image.fromarray(image) for image, _ in drawn], cropper)
    groups = [truth.generator for _, truth in drawn]
    rows = pd.DataFrame(
        {
            "sample_id": paths,
            "dataset": "synthetic",
            "generator": ["real" if group == STUDIO else group for group in groups],
            "forgery": [(GENERATORS[g].forgery if g in GENERATORS else ForgeryType.NONE).value for g in groups],
            "family": [GENERATORS[g].family.value if g in GENERATORS else "none" for g in groups],
            "detection_label": [int(group != STUDIO) for group in groups],
            "target_id": [truth.target for _, truth in drawn],
            "pitch_rad": found.pitch_rad,
            "yaw_rad": found.yaw_rad,
            "confidence": found.confidence,
        }
    )
    report = analyse(rows, resamples=50)
    by_distance = sorted(report.rows, key=lambda row: row.fid.fid_rad2)
    assert [row.generator for row in by_distance] == sorted(GAZE_NOISE_RAD, key=GAZE_NOISE_RAD.__getitem__)
    paired = sorted((row for row in report.rows if row.pairs.n), key=lambda row: GAZE_NOISE_RAD[row.generator])
    assert len(paired) >= 4
    angles = [row.pairs.angle_rad.value for row in paired]
    assert angles == sorted(angles)
    assert angles[-1] < report.control.angle_rad.value


def photographs(corpus: Path, count: int) -> list[Image.Image]:
    with (corpus / "SOURCES.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    large = [
        row["path"]
        for row in rows
        if row["kind"] == "real" and row["media"] == "image" and row["mtcnn_faces"] == "1" and int(row["width"]) >= 256
    ]
    return [decode_image(corpus / large[index]) for index in choose(large, count, seed=0)]


def jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return decode_image(buffer.getvalue())


def changed_photographs(corpus: Path, count: int, cropper: FaceCropper) -> tuple[np.ndarray, ...]:
    """Yaw in degrees of photographs, of their mirror images (turned back) and of JPEG-60 copies."""
    images = photographs(corpus, count)
    plain = gaze_of(images, cropper).yaw_rad
    flipped = gaze_of([ImageOps.mirror(image) for image in images], cropper).yaw_rad
    coded = gaze_of([jpeg(image) for image in images], cropper).yaw_rad
    return tuple(np.degrees(yaw) for yaw in (plain, -flipped, coded))


@pytest.mark.heavy
@pytest.mark.corpus
def test_photographs_mirrored_and_compressed(corpus: Path, cropper: FaceCropper) -> None:
    plain, flipped, coded = changed_photographs(corpus, 12, cropper)
    assert np.isfinite(plain).all()
    assert np.median(np.abs(plain - flipped)) <= 2.5
    assert np.median(np.abs(plain - coded)) <= 1.5


@pytest.mark.corpus
@pytest.mark.slow
def test_many_photographs_mirrored_and_compressed(corpus: Path, cropper: FaceCropper) -> None:
    plain, flipped, coded = changed_photographs(corpus, 200, cropper)
    assert np.median(np.abs(plain - flipped)) <= 2.5
    assert np.corrcoef(plain, coded)[0, 1] >= 0.9


def eye_window(*places: float, contrast: float = 100.0) -> np.ndarray:
    """A bright window of the iris search with dark discs at these places, px right of the middle."""
    height, width = 2 * (SEARCH_Y + 15) + 1, 2 * (SEARCH_X + 15) + 1
    y, x = np.mgrid[:height, :width] - np.array([height // 2, width // 2])[:, None, None]
    window = np.full((height, width), 200.0, np.float32)
    for place in places:
        window[np.hypot(x - place, y) <= 9] = 200 - contrast
    return window


def test_a_clear_iris_is_found_in_its_place_and_none_in_the_middle() -> None:
    found = find_irises(np.stack([eye_window(5), eye_window(-5), eye_window(0), eye_window()]), "cpu")
    assert found[0] == pytest.approx(4.5, abs=1)
    np.testing.assert_allclose(found[1:], [-found[0], 0, 0], atol=1e-5)


def test_a_faint_iris_is_trusted_less_than_a_clear_one() -> None:
    faint, clear = find_irises(np.stack([eye_window(6, contrast=15), eye_window(6, contrast=100)]), "cpu")
    assert 0 < faint < clear / 2
