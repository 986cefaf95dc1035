from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers.swapped_pixels import FORGED, edited, rotate
from helpers.toy import SIDE, toy_face, toy_manifests, toy_protocol, toy_row, toy_rows

from dfad_bench.core.errors import IntegrityError
from dfad_bench.core.files import read_json, write_json
from dfad_bench.data.crop_batches import COLUMNS, crop_batches
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.images import perceptual_hash
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.data.row_check import NOTE, check_rows
from dfad_bench.data.select import select
from dfad_bench.data.side_array import SideArray
from dfad_bench.data.stored_crop import stored_crops
from dfad_bench.ingest.check import check_manifest


def manifest_of(folder: Path, rows: list[dict[str, Any]]) -> Manifest:
    return write_manifest(folder / "m", "synthetic", rows)


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    made = toy_rows("synthetic", ("real", "synthetic-gan-a", "synthetic-diffusion-a"), identities=4)
    return [row | {"phash": perceptual_hash(toy_face(row["generator"], *name_of(row)))} for row in made]


def name_of(row: dict[str, Any]) -> tuple[int, int]:
    identity, _, shot = row["origin"].rpartition("/id")[2].removesuffix(".png").partition("_")
    return int(identity), int(shot)


@pytest.mark.parametrize("name", FORGED)
def test_pictures_that_are_not_those_of_their_rows_are_refused_wherever_they_are_decoded(
    tmp_path: Path, rows: list[dict[str, Any]], name: str
) -> None:
    change, words = FORGED[name]
    manifest = edited(manifest_of(tmp_path, rows), change)
    check_manifest(manifest.folder)  # every file is as it was signed: only decoding tells
    frame = manifest.frame(["sample_id", "dataset", "crop_sha256"])
    whole = manifest.frame(list(COLUMNS)).set_index("sample_id")
    acts: dict[str, Callable[[], object]] = {
        "deep": lambda: check_manifest(manifest.folder, deep=True),
        "disk": lambda: CropStore.open(frame, [manifest], SIDE),
        "none": lambda: CropStore.open(frame, [manifest], SIDE, cache="none").gather(np.arange(len(frame))),
        "views": lambda: list(crop_batches(manifest, whole, 8)),
    }
    for act in acts.values():
        with pytest.raises(IntegrityError, match=words) as caught:
            act()
        assert "part-00000.parquet, row " in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
        assert caught.value.exit_code == 4
    assert not list(manifest.folder.glob("tables/*.npy"))


def test_deep_says_how_many_are_wrong_and_looks_at_refused_rows_and_perceptual_hashes(
    tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    manifest = manifest_of(tmp_path, rows)
    assert check_manifest(manifest.folder, deep=True).deep
    with pytest.raises(IntegrityError, match=rf"row 0 .*\({len(rows) - 1} more of {len(rows)} rows are wrong\)"):
        check_manifest(edited(manifest, rotate).folder, deep=True)
    manifest = edited(manifest_of(tmp_path / "b", rows), lambda found: found[2].update(status="no_face"))
    with pytest.raises(IntegrityError, match="row 2 .*a picture in a row that was refused"):
        check_manifest(manifest.folder, deep=True)
    manifest = edited(manifest_of(tmp_path / "c", rows), lambda found: found[2].update(phash=~found[2]["phash"]))
    with pytest.raises(IntegrityError, match="row 2 .*phash"):
        check_manifest(manifest.folder, deep=True)


def test_a_sample_that_is_there_twice_is_refused(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    manifest = edited(manifest_of(tmp_path, rows), lambda found: found[2].update(sample_id=found[3]["sample_id"]))
    with pytest.raises(IntegrityError, match="1 samples twice"):
        check_manifest(manifest.folder)


def test_rows_that_are_not_those_of_the_content_hash_are_not_learnt_from(tmp_path: Path) -> None:
    manifests = toy_manifests(tmp_path)
    chosen = select(toy_protocol(), manifests).rows
    CropStore.open(chosen, manifests, SIDE)
    inside = manifests[0]
    before = read_json(inside.folder / NOTE)
    check_rows(inside)
    assert read_json(inside.folder / NOTE) == before  # remembered
    table = pq.read_table(inside.parts[0])
    keys = ["x", *table["source_key"].to_pylist()[1:]]
    place = table.schema.get_field_index("source_key")
    changed = table.set_column(place, table.schema.field(place), [keys])
    pq.write_table(changed, inside.parts[0], write_page_checksum=True)  # and manifest.json as it was
    for cache in ("disk", "none"):  # with the crops decoded before, too
        with pytest.raises(IntegrityError, match="its content hash is not that of the parts"):
            CropStore.open(chosen, manifests, SIDE, cache=cache)
    write_json(inside.folder / NOTE, [1])  # a note of another form is no note
    with pytest.raises(IntegrityError, match="its content hash is not that of the parts"):
        check_rows(inside)


def test_deep_hashes_what_is_kept_beside_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifests = toy_manifests(tmp_path)
    chosen = select(toy_protocol(), manifests).rows
    CropStore.open(chosen, manifests, SIDE)
    path = next(tmp_path.rglob("crops-*.npy"))
    folder = manifests[0].folder
    check_manifest(folder, deep=True)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    monkeypatch.setattr("dfad_bench.data.side_array.VERIFIED_BYTES", 0)  # an array this large is checked by size alone
    record = read_json(path.with_suffix(".json"))
    assert SideArray(path, record["identity"]).is_whole()
    with pytest.raises(IntegrityError, match=rf"{path.name}: damaged.*it is made again"):
        check_manifest(folder, deep=True)


def test_large_row_groups_are_read_a_few_rows_at_a_time(tmp_path: Path) -> None:
    rows = [toy_row("synthetic", "real", "train", n, 0) for n in range(150)]
    manifest = manifest_of(tmp_path, rows)
    table = pq.read_table(manifest.parts[0])
    pq.write_table(table, manifest.parts[0], row_group_size=1000)
    crops = list(stored_crops(manifest.parts[0]))
    assert [crop.sample_id for crop in crops] == table["sample_id"].to_pylist()
    assert [f"row {n} (" in crop.place for n, crop in enumerate(crops)] == [True] * 150
    some = {crops[5].sample_id, crops[149].sample_id}
    assert {crop.sample_id for crop in stored_crops(manifest.parts[0], some)} == some
