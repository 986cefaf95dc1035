from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from gaze_manifests import write_eyes

from dfad_bench.core.errors import ConfigError, IntegrityError, UnknownNameError
from dfad_bench.core.files import read_json
from dfad_bench.data.manifest import Manifest
from dfad_bench.gaze import table as table_module
from dfad_bench.gaze.estimators.build import build_estimator
from dfad_bench.gaze.estimators.geometric import GeometricEstimator
from dfad_bench.gaze.table import COLUMNS, crop_landmarks, extract, read, table_path
from dfad_bench.ingest.crop.affine import box_affine


@pytest.fixture
def eyes(tmp_path):
    return write_eyes(tmp_path / "eyes", count=30, seed=0)


def stop_after(batches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the estimator fail as a killed process would, after so many batches."""
    calls = iter(range(batches))
    plain = GeometricEstimator.estimate

    def estimate(self, *arguments, **named):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return plain(self, *arguments, **named)

    monkeypatch.setattr(GeometricEstimator, "estimate", estimate)


def test_table_holds_every_usable_face_and_the_right_gaze(eyes) -> None:
    manifest, truth = eyes
    found = extract(manifest, "geometric")
    assert tuple(found.columns) == COLUMNS
    assert found["sample_id"].tolist() == manifest.frame(["sample_id"])["sample_id"].tolist()
    known = found.set_index("sample_id")["yaw_rad"].loc[truth["sample_id"]].to_numpy()
    assert np.corrcoef(known, truth["yaw_rad"])[0, 1] > 0.97
    record = read_json(table_path(manifest, build_estimator("geometric")).with_suffix(".json"))
    assert record["identity"]["manifest_sha256"] == manifest.sha256
    assert record["rows"] == len(found)


def test_second_call_reads_and_does_not_estimate(eyes, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, _ = eyes
    first = extract(manifest, "geometric")
    stop_after(0, monkeypatch)
    pd.testing.assert_frame_equal(extract(manifest, "geometric"), first)


def test_stopped_run_goes_on_and_ends_with_the_same_table(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = write_eyes(tmp_path / "whole", count=30, seed=0)
    cut, _ = write_eyes(tmp_path / "cut", count=30, seed=0)
    monkeypatch.setattr(table_module, "_BATCH", 8)
    monkeypatch.setattr(table_module, "_PART", 8)
    expected = extract(whole, "geometric")
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            extract(cut, "geometric")
    assert read(cut, build_estimator("geometric")) is None
    assert len(list((cut.folder / "tables").glob("*.parts/*.parquet"))) == 2
    with monkeypatch.context() as patch:
        stop_after(2, patch)  # two batches are left
        pd.testing.assert_frame_equal(extract(cut, "geometric"), expected)
    paths = [table_path(m, build_estimator("geometric")) for m in (whole, cut)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert not list((cut.folder / "tables").glob("*.parts"))


def test_slow_estimators_commit_every_minute_and_parts_are_not_written_over(eyes, monkeypatch) -> None:
    manifest, _ = eyes
    monkeypatch.setattr(table_module, "_BATCH", 8)
    monkeypatch.setattr(table_module, "_PART_SECONDS", -1.0)  # a minute is over after each batch
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            extract(manifest, "geometric")
    parts = sorted((manifest.folder / "tables").glob("*.parts/*.parquet"))
    assert [part.stem for part in parts] == ["000000", "000001"]
    kept = parts[1].read_bytes()
    parts[0].write_bytes(b"damaged")
    with monkeypatch.context() as patch:
        stop_after(1, patch)
        with pytest.raises(KeyboardInterrupt):
            extract(manifest, "geometric")
    assert [part.stem for part in sorted(parts[1].parent.glob("*.parquet"))] == ["000001", "000002"]
    assert parts[1].read_bytes() == kept
    assert len(extract(manifest, "geometric")) == 30


def test_damaged_part_is_done_again(eyes, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, _ = eyes
    monkeypatch.setattr(table_module, "_BATCH", 8)
    monkeypatch.setattr(table_module, "_PART", 8)
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            extract(manifest, "geometric")
    part = next((manifest.folder / "tables").glob("*.parts/*.parquet"))
    part.write_bytes(part.read_bytes()[:100])
    assert len(extract(manifest, "geometric")) == 30


def test_damaged_table_is_refused(eyes) -> None:
    manifest, _ = eyes
    extract(manifest, "geometric")
    path = table_path(manifest, build_estimator("geometric"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match="delete it and"):
        extract(manifest, "geometric")
    path.with_suffix(".json").write_text("{", encoding="utf-8")
    with pytest.raises(IntegrityError, match="not valid JSON"):
        extract(manifest, "geometric")


def test_table_of_another_state_of_the_manifest_is_not_used(eyes, tmp_path) -> None:
    manifest, _ = eyes
    extract(manifest, "geometric")
    other, _ = write_eyes(tmp_path / "other", count=12, seed=4)
    for path in manifest.folder.glob("*.*"):
        path.unlink()
    for path in other.folder.glob("*.*"):
        path.rename(manifest.folder / path.name)
    changed = Manifest.open(manifest.folder)
    assert read(changed, build_estimator("geometric")) is None
    assert len(extract(changed, "geometric")) == 12


def test_other_constants_are_another_table(eyes, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, _ = eyes
    extract(manifest, "geometric")
    monkeypatch.setattr(GeometricEstimator, "fingerprint", "f" * 64)
    assert read(manifest, build_estimator("geometric")) is None
    extract(manifest, "geometric")
    assert len(list((manifest.folder / "tables").glob("gaze-geometric-*.parquet"))) == 2


def test_faces_without_landmarks_have_no_gaze(tmp_path) -> None:
    manifest, _ = write_eyes(tmp_path / "blind", count=6, seed=0, without_landmarks=2)
    found = extract(manifest, "geometric")
    assert np.isnan(found["yaw_rad"]).sum() == 2
    assert (found["flags"] == 1).sum() == 2
    empty, _ = write_eyes(tmp_path / "empty", count=0, seed=0)
    assert extract(empty, "geometric").empty


def test_landmarks_map_into_the_crop() -> None:
    plain = box_affine((2.0, 1.0, 6.0, 5.0), 8)
    turned = (0.0, -2.0, 30.0, 2.0, 0.0, 4.0)  # a quarter turn, twice as large
    rows = pd.DataFrame({"landmarks": [list(range(10)), None, list(range(10))], "crop_affine": [plain, None, turned]})
    points, scale = crop_landmarks(rows)
    np.testing.assert_allclose(scale, [0.5, np.nan, 0.5])
    np.testing.assert_allclose(points[0, 0], [(0 - 2) * 2, (1 - 1) * 2])
    np.testing.assert_allclose(points[0, 4], [(8 - 2) * 2, (9 - 1) * 2])
    assert np.isnan(points[1]).all()
    np.testing.assert_allclose(points[2, 4], [30 - 2 * 9, 4 + 2 * 8])


def test_unknown_estimator(eyes) -> None:
    with pytest.raises(UnknownNameError, match="no estimator named"):
        extract(eyes[0], "gepmetric")


@pytest.mark.parametrize(
    ("device", "message"),
    [("tpu:x", "no device named 'tpu:x'"), ("mps", "device 'mps' is not here"), ("cuda:77", "is not here")],
)
def test_a_device_that_is_not_there_is_one_line(eyes, device: str, message: str) -> None:
    manifest, _ = eyes
    with pytest.raises(ConfigError, match=message):
        extract(manifest, "geometric", device=device)
    assert read(manifest, build_estimator("geometric")) is None
