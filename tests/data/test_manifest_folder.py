from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from helpers.trees import picture

from dfad_bench.core.errors import IntegrityError, ManifestError
from dfad_bench.data.images import decode_crop, encode_png, perceptual_hash
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.data.manifest_parts import write_part
from dfad_bench.data.manifest_schema import SCHEMA, sample_id


def row(index: int, **values: object) -> dict:
    pixels = picture(index, 32, 32)
    return {
        "sample_id": sample_id("toy", f"{index}.png"),
        "image": {"bytes": encode_png(pixels), "path": None},
        "dataset": "toy",
        "generator": "real" if index % 2 else "flux",
        "forgery": "none",
        "family": "none",
        "attribution_label": 0 if index % 2 else -1,
        "detection_label": 1 - index % 2,
        "origin": f"{index}.png",
        "crop_sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
        "phash": perceptual_hash(pixels),
        "box": [1.0, 2.0, 3.5, 4.0],
        "width": 32,
        "height": 32,
        "status": "ok",
        **values,
    }


REFUSED = {"image": None, "status": "no_face", "reason": "no face", "box": None, "width": None, "height": None}


@pytest.fixture
def rows() -> list[dict]:
    return [row(i) for i in range(9)] + [row(9, **REFUSED)]


def test_rows_come_back(tmp_path: Path, rows: list[dict]):
    manifest = write_manifest(tmp_path / "m", "toy", rows, shard_size=4)
    assert manifest.name == "toy"
    assert manifest.info["rows"] == 10
    assert manifest.info["counts"] == {"flux": {"ok": 5}, "real": {"no_face": 1, "ok": 4}}
    frame = manifest.frame(status=None)
    assert list(frame.columns) == [name for name in SCHEMA.names if name != "image"]
    assert frame["sample_id"].tolist() == sorted(r["sample_id"] for r in rows)
    assert len(manifest.frame()) == 9
    assert manifest.frame(["origin"], status="no_face")["origin"].tolist() == ["9.png"]
    np.testing.assert_array_equal(frame[frame["status"] == "ok"]["box"].iloc[0], [1.0, 2.0, 3.5, 4.0])


def test_images_are_the_crops(tmp_path: Path, rows: list[dict]):
    manifest = write_manifest(tmp_path / "m", "toy", rows, shard_size=4)
    wanted = [rows[i]["sample_id"] for i in (7, 2, 5)]
    found = dict(manifest.images(wanted))
    assert sorted(found) == sorted(wanted)
    np.testing.assert_array_equal(decode_crop(found[rows[2]["sample_id"]]), picture(2, 32, 32))
    assert list(manifest.images([])) == []


@pytest.mark.parametrize("absent", ["0" * 16, sample_id("toy", "9.png")], ids=["unknown", "refused"])
def test_images_not_there_are_said(tmp_path: Path, rows: list[dict], absent: str):
    manifest = write_manifest(tmp_path / "m", "toy", rows)
    with pytest.raises(ManifestError, match=f"1 faces asked for have no crop here .*{absent}"):
        list(manifest.images([rows[0]["sample_id"], absent]))


def test_hash_ignores_order_and_part_size_only(tmp_path: Path, rows: list[dict]):
    one = write_manifest(tmp_path / "a", "toy", rows, shard_size=3)
    other = write_manifest(tmp_path / "b", "toy", rows[::-1], shard_size=100)
    assert one.sha256 == other.sha256
    rows[0]["split"] = "test"
    assert write_manifest(tmp_path / "c", "toy", rows).sha256 != one.sha256


def test_the_same_rows_give_the_same_bytes(tmp_path: Path, rows: list[dict]):
    write_part(tmp_path / "a.parquet", rows)
    write_part(tmp_path / "b.parquet", rows[::-1])
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_no_changed_byte_is_read_as_other_data(tmp_path: Path, rows: list[dict]):
    manifest = write_manifest(tmp_path / "m", "toy", rows)
    part = manifest.parts[0]
    whole, expected = part.read_bytes(), manifest.frame(status=None)
    images = dict(manifest.images(manifest.frame()["sample_id"]))
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(60):
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        part.write_bytes(bytes(data))
        try:
            again = Manifest.open(tmp_path / "m")
            assert again.frame(status=None).equals(expected)
            assert dict(again.images(images)) == images
        except (IntegrityError, ManifestError):
            found += 1
    assert found > 30


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda info: {**info, "schema_version": 99}, "schema version 99"),
        (lambda info: [], "schema version None"),
        (lambda info: {k: v for k, v in info.items() if k != "parts"}, "parts missing or damaged"),
        (lambda info: {**info, "parts": [{"file": "../x.parquet"}]}, "plain file names"),
        (lambda info: {**info, "parts": [{"file": "part-00007.parquet"}]}, "part-00007.parquet is missing"),
    ],
)
def test_other_manifests_are_refused(tmp_path: Path, rows: list[dict], damage, error: str):
    write_manifest(tmp_path, "toy", rows)
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps(damage(json.loads(file.read_text()))))
    with pytest.raises(ManifestError, match=error):
        Manifest.open(tmp_path)


def test_what_is_no_manifest_is_said(tmp_path: Path, rows: list[dict]):
    with pytest.raises(ManifestError, match="no such manifest"):
        Manifest.open(tmp_path / "nowhere")
    with pytest.raises(ManifestError, match="not a manifest folder"):
        Manifest.open(tmp_path)
    write_part(tmp_path / "part-00000.parquet", rows)
    with pytest.raises(ManifestError, match="did not finish; run the same build-manifest again"):
        Manifest.open(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ManifestError, match="not valid JSON"):
        Manifest.open(tmp_path)


def test_unknown_columns_are_said(tmp_path: Path, rows: list[dict]):
    manifest = write_manifest(tmp_path, "toy", rows)
    for name in ("image", "gaze"):
        with pytest.raises(ManifestError, match=f"no columns \\['{name}'\\]"):
            manifest.frame([name])


def test_rows_that_break_the_schema_are_bugs(tmp_path: Path):
    for broken, why in [({"status": "fine"}, "unknown status"), ({"generator": None}, "lacks"), ({"x": 1}, "unknown")]:
        with pytest.raises(ValueError, match=why):
            write_part(tmp_path / "a.parquet", [row(0, **broken)])
    assert not list(tmp_path.iterdir())


def test_hugging_face_reads_images_and_labels(tmp_path: Path, rows: list[dict], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    datasets = pytest.importorskip("datasets")
    manifest = write_manifest(tmp_path / "m", "toy", rows, shard_size=4)
    files = [str(path) for path in manifest.parts]
    data = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert len(data) == 10
    assert data.features["detection_label"].names == ["real", "fake"]
    by_origin = {item["origin"]: item for item in data}
    np.testing.assert_array_equal(np.array(by_origin["4.png"]["image"]), picture(4, 32, 32))
    assert by_origin["9.png"]["image"] is None
