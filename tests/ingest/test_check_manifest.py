from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers.trees import extra_tree
from PIL import Image

from dfad_bench.core.errors import ConfigError, IntegrityError, ManifestError
from dfad_bench.core.files import read_json, write_json
from dfad_bench.core.protocol import Group, Protocol, load_protocol
from dfad_bench.data.contact_sheet import contact_sheet
from dfad_bench.data.manifest import Manifest, signed
from dfad_bench.data.manifest_parts import commit_part, rows_hash
from dfad_bench.ingest.build import build_manifest
from dfad_bench.ingest.check import check_manifest, protocol_needs
from dfad_bench.ingest.plan import is_committed


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("check")
    root = extra_tree(made / "root")
    (root / "test/flux/bad.png").write_bytes(b"no image")
    build_manifest("extra", root, made / "m", crop="raw-256", workers=0, shard_size=5)
    return made


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    """A manifest, beside what it was built from."""
    return Path(shutil.copytree(built, tmp_path, dirs_exist_ok=True)) / "m"


def test_counts(folder: Path):
    facts = check_manifest(folder)
    assert (facts.dataset, facts.rows) == ("extra", 17)
    assert facts.counts == {"flux": {"ok": 8, "unsupported_format": 1}, "vae": {"ok": 8}}
    assert facts.splits == {"flux": {"test": 4, "train": 4}, "vae": {"test": 4, "train": 4}}
    assert [item["origin"] for item in facts.refusals] == ["test/flux/bad.png"]


def test_every_changed_byte_is_found_and_its_file_named(folder: Path):
    rng = np.random.default_rng(0)
    for part in sorted(folder.glob("part-*.parquet")):
        whole = part.read_bytes()
        for position in rng.integers(0, len(whole), 5):
            data = bytearray(whole)
            data[position] ^= 1
            part.write_bytes(bytes(data))
            with pytest.raises(IntegrityError, match=f"{part.name}: damaged or changed"):
                check_manifest(folder)
        part.write_bytes(whole)
    check_manifest(folder)


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [
        ("counts", {"flux": {"ok": 17}}, "its counts are not those of the parts"),
        ("rows", 18, "its counts are not those of the parts"),
        ("content_sha256", "0" * 64, "its content hash is not that of the parts"),
    ],
)
def test_a_changed_summary_is_found(folder: Path, key: str, value: object, error: str):
    info = read_json(folder / "manifest.json")
    write_json(folder / "manifest.json", signed({**info, key: value}))
    with pytest.raises(IntegrityError, match=error):
        check_manifest(folder)


WRONG = [None, [], {}, "x", 1, -1, {"x": 1}, [1], [{}], {"flux": {"ok": "x"}}, {"flux": None}, {"../x": "y"}]


@pytest.mark.parametrize("key", ["parts", "files", "dataset", "counts", "rows", "content_sha256", "ignored", "crop"])
def test_a_signed_summary_of_another_form_is_one_line(folder: Path, key: str):
    info = read_json(folder / "manifest.json")
    for value in WRONG:
        write_json(folder / "manifest.json", signed({**info, key: value}))
        try:
            check_manifest(folder)
        except (IntegrityError, ManifestError) as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017  values that happen to be right raise nothing
        else:
            assert key in ("ignored", "crop") or (key, value) == ("files", {})  # which are compared with nothing
    write_json(folder / "manifest.json", signed({k: v for k, v in info.items() if k != "files"}))
    with pytest.raises(IntegrityError, match="files missing or damaged"):
        check_manifest(folder)


def test_numbers_that_are_none_are_one_line(folder: Path):
    text = (folder / "manifest.json").read_text()
    for value in ("NaN", "1e999", "1" * 5000):
        (folder / "manifest.json").write_text(text.replace('"rows": ', f'"x": {value}, "rows": ', 1))
        with pytest.raises(IntegrityError, match=r"not valid JSON \(.*number|integer"):
            check_manifest(folder)
        with pytest.raises(ManifestError, match="not valid JSON"):
            Manifest.open(folder)
    (folder / "manifest.json").write_text(text)
    part = Manifest.open(folder).parts[0]
    rows = [{**row, "box_score": float("nan")} for row in pq.read_table(part).to_pylist()]
    commit_part(part, rows, {})
    with pytest.raises(IntegrityError, match="NaN or inf"):
        rows_hash([part])


@pytest.mark.parametrize("changes", [{"counts": 3}, {"counts": {"flux": 1}}, {"counts": {}, "rows": "x"}])
def test_a_part_whose_record_has_another_form_is_made_again(folder: Path, changes: dict[str, object]):
    part = folder / "part-00000.parquet"
    record = read_json(part.with_suffix(".json"))
    hashes = record["inputs_sha256"], record["config_sha256"]
    assert is_committed(part, *hashes)
    write_json(part.with_suffix(".json"), {**record, **changes})
    assert not is_committed(part, *hashes)


def test_a_missing_part_is_named(folder: Path):
    (folder / "part-00001.parquet").unlink()
    with pytest.raises(ManifestError, match="part-00001.parquet is missing"):
        check_manifest(folder)


def toy(**settings: object) -> Protocol:
    seen = (Group("flux", "extra", label=0), Group("vae", "extra", label=1))
    unseen = (Group("hart", "extra"), Group("real", "nobody_has_this"))
    return Protocol("toy", 1, "Toy", seen, unseen, **settings)  # type: ignore[arg-type]


def test_what_a_protocol_lacks(folder: Path):
    needs = {n.group: n for n in protocol_needs(toy(train_per_group=6, test_per_group=3), [check_manifest(folder)])}
    assert list(needs) == ["extra/flux", "extra/vae", "extra/hart", "nobody_has_this/real"]
    flux = needs["extra/flux"]
    assert (flux.role, flux.need_train, flux.need_test, flux.train, flux.test, flux.missing) == ("seen", 6, 3, 4, 4, 2)
    hart = needs["extra/hart"]
    assert (hart.role, hart.need_train, hart.need_test, hart.missing) == ("unseen", 0, 3, 3)
    assert "make the faces" in hart.obtain
    assert needs["nobody_has_this/real"].obtain == "no dataset file named 'nobody_has_this'"


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({}, [0, 0, 1, 1]),  # every face there is: only what is not there at all is missing
        ({"train_per_group": 4, "test_per_group": 4}, [0, 0, 4, 4]),
        ({"train_per_group": 5, "test_per_group": 3}, [1, 1, 3, 3]),  # a spare test face is no training face ...
        ({"train_per_group": 5, "test_per_group": 3, "split": "hash"}, [0, 0, 3, 3]),  # ... unless dealt by hash
    ],
)
def test_splits_decide_what_is_missing(folder: Path, settings: dict, missing: list[int]):
    assert [n.missing for n in protocol_needs(toy(**settings), [check_manifest(folder)])] == missing


def test_what_an_unlabelled_part_lacks(folder: Path):
    unlabelled = (Group("vae", "extra"), Group("hart", "extra", train=7))
    protocol = toy(unlabelled=unlabelled, unlabelled_per_group=5)
    needs = [n for n in protocol_needs(protocol, [check_manifest(folder)]) if n.role == "unlabelled"]
    found = [(n.group, n.need_train, n.need_test, n.train, n.missing) for n in needs]
    assert found == [("extra/vae", 5, 0, 4, 1), ("extra/hart", 7, 0, 0, 7)]
    everything = protocol_needs(toy(unlabelled=unlabelled[:1]), [check_manifest(folder)])[-1]
    assert (everything.role, everything.need_train, everything.missing) == ("unlabelled", None, 0)


@pytest.mark.heavy
def test_needs_of_the_papers_without_any_manifest():
    for name in ("gazeclip-df40", "gazeclip-celebdfpp", "gazeclip-wild", "gazeclip-recent", "bmrl-1", "bmrl-2"):
        needs = protocol_needs(load_protocol(name), [])
        assert all(need.missing and need.obtain for need in needs)
        assert not any("no dataset file" in need.obtain for need in needs)


def test_contact_sheet_has_a_row_of_faces_a_generator(folder: Path, tmp_path: Path):
    manifest = Manifest.open(folder)
    path = contact_sheet([manifest, manifest], tmp_path / "sheet.png", faces=3)
    pixels = np.array(Image.open(path).convert("RGB"))
    rows, faces = 4, 3  # two generators in each of two manifests
    assert pixels.shape[0] == rows * 116 + 4
    for row in range(rows):
        strip = pixels[4 + row * 116 : 4 + row * 116 + 112]
        for face in range(faces):
            assert strip[:, 240 + face * 116 : 240 + face * 116 + 112].std() > 5
        assert (strip[:, :240] < 128).any()  # its name
    with pytest.raises(ConfigError, match=r"must be a \.png file"):
        contact_sheet([manifest], tmp_path / "sheet.jpg")
