"""A manifest opens in the tools people share data with, and its crops decode there."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from helpers.trees import picture
from PIL import Image

from dfad_bench.data.card import FILE, dataset_card
from dfad_bench.data.images import encode_png
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.data.manifest_schema import sample_id

ROWS = 10  # the last one is refused


def row(index: int) -> dict[str, Any]:
    pixels, fake = picture(index, 32, 32), index % 2
    kept = {"image": {"bytes": encode_png(pixels), "path": None}, "width": 32, "height": 32, "status": "ok"}
    refused = {"image": None, "status": "no_face", "reason": "no face found"}
    return {
        "sample_id": sample_id("toy", f"{index}.png"), "dataset": "toy", "generator": "flux" if fake else "real",
        "forgery": "EFS" if fake else "none", "family": "flow" if fake else "none", "attribution_label": fake - 1,
        "detection_label": fake, "split": "test" if index > 5 else "train", "origin": f"{index}.png",
        "crop_sha256": hashlib.sha256(pixels.tobytes()).hexdigest(), **(refused if index == ROWS - 1 else kept),
    }  # fmt: skip


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Three parts, with the files other commands leave beside them."""
    dataset = {"title": "Toy: faces | of <nobody>", "licence": "none: drawn here"}
    info = {"dataset": {"name": "toy", **dataset}, "crop": {"name": "face-256-1.3", "sha256": "ab" * 32, "size": 256}}
    made = write_manifest(tmp_path / "toy", "toy", [row(i) for i in range(ROWS)], shard_size=4, info=info)
    (made.folder / "tables").mkdir()
    pd.DataFrame({"sample_id": ["x"], "pitch_rad": [0.0]}).to_parquet(made.folder / "tables" / "gaze-x.parquet")
    return made


def extra(name: str) -> ModuleType:
    return pytest.importorskip(name, reason=f"needs {name}: pip install dfad-bench[test]")


@pytest.fixture
def loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`load_dataset` that cannot reach any network and leaves its cache with the test."""
    datasets = extra("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return lambda *args, **kwargs: datasets.load_dataset(*args, cache_dir=str(tmp_path / "cache"), **kwargs)


def pixels_of(index: int) -> np.ndarray:
    return picture(index, 32, 32)


def check_faces(faces: Any) -> None:
    """All rows, images decoded, the label a class with a name."""
    assert len(faces) == ROWS
    by_origin = {item["origin"]: item for item in faces}
    np.testing.assert_array_equal(np.asarray(by_origin["3.png"]["image"].convert("RGB")), pixels_of(3))
    assert by_origin[f"{ROWS - 1}.png"]["image"] is None
    assert faces.features["detection_label"].names == ["real", "fake"]
    assert by_origin["2.png"]["generator"] == "real"
    assert by_origin["2.png"]["detection_label"] == 0


def test_hugging_face_reads_the_parts(manifest: Manifest, loader: Any) -> None:
    check_faces(loader("parquet", data_files=str(manifest.folder / "part-*.parquet"), split="train"))


def test_hugging_face_reads_the_folder(manifest: Manifest, loader: Any) -> None:
    loaded = loader(str(manifest.folder))
    assert list(loaded) == ["faces"], "one split of its own name: rows of train and test are told apart by a column"
    check_faces(loaded["faces"])


def test_hugging_face_reads_the_folder_of_a_build(tiny_manifest: Path, loader: Any) -> None:
    faces = loader(str(tiny_manifest), split="faces")
    ours = Manifest.open(tiny_manifest)
    assert sorted(faces["sample_id"]) == ours.frame(status=None)["sample_id"].tolist()
    first = ours.frame().iloc[0]
    found = next(item for item in faces if item["sample_id"] == first["sample_id"])
    digest = hashlib.sha256(np.asarray(found["image"].convert("RGB")).tobytes()).hexdigest()
    assert digest == first["crop_sha256"]


def test_hugging_face_streams_the_folder(manifest: Manifest, loader: Any) -> None:
    faces = loader(str(manifest.folder), split="faces", streaming=True)
    assert {item["origin"] for item in faces} == {f"{i}.png" for i in range(ROWS)}


def test_duckdb_reads_the_parts(manifest: Manifest) -> None:
    duckdb = extra("duckdb")
    with duckdb.connect() as connection:
        table = f"read_parquet('{manifest.folder}/part-*.parquet')"
        counts = connection.sql(f"select generator, count(*) from {table} where status = 'ok' group by 1").fetchall()
        png = connection.sql(f"select image.bytes from {table} where origin = '3.png'").fetchall()[0][0]
    assert dict(counts) == {"real": 5, "flux": 4}
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png)).convert("RGB")), pixels_of(3))


def test_polars_reads_the_parts(manifest: Manifest) -> None:
    polars = extra("polars")
    faces = polars.scan_parquet(str(manifest.folder / "part-*.parquet"))
    kept = faces.filter(polars.col("status") == "ok")
    counts = kept.group_by(polars.col("generator").cast(polars.String)).len().collect()
    assert dict(counts.iter_rows()) == {"real": 5, "flux": 4}
    one = faces.filter(polars.col("origin") == "3.png").select(polars.col("image").struct.field("bytes")).collect()
    png = one.item()
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png)).convert("RGB")), pixels_of(3))


# --- the card ---------------------------------------------------------------------------------------------------


def front_matter(text: str) -> dict[str, Any]:
    _, front, _ = text.split("---\n", 2)
    return yaml.safe_load(front)


def test_card_says_what_is_inside(manifest: Manifest) -> None:
    text = (manifest.folder / FILE).read_text(encoding="utf-8")
    front = front_matter(text)
    assert front["pretty_name"] == "Toy: faces | of <nobody>"
    assert front["configs"][0]["data_files"] == [{"split": "faces", "path": "part-*.parquet"}]
    assert "| generator | ok | no_face |" in text
    assert "| flux | 4 | 1 |" in text
    assert "| real | 5 | 0 |" in text
    assert "Licence of the source: none: drawn here" in text
    assert "Crop profile `face-256-1.3`" in text
    assert manifest.sha256 in text
    assert "<nobody>" not in text.split("---\n", 2)[2]


def test_card_depends_on_the_rows_alone(tmp_path: Path, manifest: Manifest) -> None:
    info = {key: manifest.info[key] for key in ("dataset", "crop")}
    rows = [row(i) for i in reversed(range(ROWS))]
    other = write_manifest(tmp_path / "other", "toy", rows, shard_size=100, info=info)
    assert (other.folder / FILE).read_bytes() == (manifest.folder / FILE).read_bytes()


@pytest.mark.parametrize("title", ['"quoted": yes', "two\nlines", "# not a comment", "- [x]", "Größe — 顔", "---"])
def test_card_survives_any_title(title: str) -> None:
    info = {
        "dataset": {"name": "toy", "title": title}, "tool": {"name": "t", "version": "0"}, "schema_version": 1,
        "parts": [1], "rows": 0, "counts": {}, "content_sha256": "",
    }  # fmt: skip
    assert front_matter(dataset_card(info))["pretty_name"] == title


def test_card_of_a_manifest_without_parts_names_none(tmp_path: Path) -> None:
    empty = write_manifest(tmp_path / "empty", "toy", [])
    assert "configs" not in front_matter((empty.folder / FILE).read_text(encoding="utf-8"))


def test_a_build_writes_the_card_of_its_dataset(tiny_manifest: Path) -> None:
    text = (tiny_manifest / FILE).read_text(encoding="utf-8")
    assert front_matter(text)["pretty_name"].startswith("Synthetic faces with a known gaze")
    assert "Licence of the source: Apache-2.0" in text
