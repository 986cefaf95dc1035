"""Manifests without pictures: what is in them, and what is said face by face of one built again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from helpers.toy import SEEN, toy_rows

from dfad_bench.api.hash_manifests import rebuild_manifest, share_manifest
from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import ConfigError, DFADError, IntegrityError
from dfad_bench.core.files import sha256_file
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.sharing import private_text
from dfad_bench.sharing.hash_manifest import ABOUT, COLUMNS, FACES, asked_build, read_hashes

INFO = {
    "dataset": {"name": "synthetic", "version": 1, "sha256": "a" * 64, "licence": "Apache-2.0", "title": "Toys"},
    "crop": {"name": "face-256-1.3", "version": 2, "sha256": "b" * 64},
    "settings": {"crop": "face-256-1.3", "dataset": "synthetic", "frames": 32, "limit": None, "shard_size": 256},
}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, object]]:
    return [dict(row, source_sha256=f"{k:064x}", phash=k << 56) for k, row in enumerate(toy_rows("synthetic", SEEN))][
        :40
    ]


@pytest.fixture(scope="module")
def manifest(rows: list[dict[str, object]], tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_manifest(tmp_path_factory.mktemp("hashes") / "m", "synthetic", rows, info=INFO)


@pytest.fixture
def hashes(manifest: Manifest, tmp_path: Path) -> Path:
    share_manifest(manifest, tmp_path / "hashes")
    return tmp_path / "hashes"


def test_a_list_holds_hashes_and_no_pictures(manifest: Manifest, hashes: Path) -> None:
    assert sorted(path.name for path in hashes.iterdir()) == sorted([FACES, ABOUT, "README.md"])
    assert set(pq.read_schema(hashes / FACES).names) == set(COLUMNS)
    assert not {"image", "landmarks", "box", "crop_box"} & set(COLUMNS)
    for crop in list(manifest.crops(manifest.frame(["sample_id"])["sample_id"]))[:3]:
        assert crop.encoded()[50:80] not in (hashes / FACES).read_bytes()
    about, rows = read_hashes(hashes)
    assert (about.rows, about.content_sha256) == (40, manifest.sha256)
    assert set(rows["crop_sha256"]) == set(manifest.frame(["crop_sha256"])["crop_sha256"])
    before = (hashes / FACES).read_bytes()
    share_manifest(manifest, hashes)
    assert (hashes / FACES).read_bytes() == before


def test_the_same_manifest_agrees(manifest: Manifest, hashes: Path) -> None:
    done = CliRunner().invoke(dfad, ["rebuild-manifest", "--hashes", str(hashes), "--out", str(manifest.folder)])
    assert done.exit_code == 0, done.output
    found = rebuild_manifest(hashes, manifest.folder)
    assert found.comparison.counts == {"same": 40}
    assert found.comparison.notes == ()


def test_every_difference_is_said_of_its_face(rows: list[dict[str, object]], hashes: Path, tmp_path: Path) -> None:
    other = [dict(row) for row in rows]
    other[0]["source_sha256"] = "f" * 64
    other[1] |= {"crop_sha256": "e" * 64, "phash": int(other[1]["phash"]) ^ 0b111}  # type: ignore[call-overload]
    other[2] |= {"crop_sha256": "e" * 64, "phash": int(other[2]["phash"]) ^ 0xFF}  # type: ignore[call-overload]
    other[3] |= {"generator": "synthetic-gan-b"}
    other[4] |= {"status": "no_face", "image": None, "crop_sha256": None}
    changed = {str(other[k]["sample_id"]): k for k in range(6)}
    del other[5]
    further = dict(rows[6], sample_id="f" * 16)
    made = write_manifest(tmp_path / "m", "synthetic", [*other, further], info=INFO)
    found = rebuild_manifest(hashes, made.folder)
    verdicts = {finding.sample_id: finding.verdict for finding in found.comparison.findings}
    expected = ["other file", "alike", "other crop", "other labels", "other status", "missing"]
    assert [verdicts[name] for name in changed] == expected
    assert verdicts["f" * 16] == "further"
    assert found.comparison.counts["same"] == 34
    assert any("content sha256" in note for note in found.comparison.notes)
    words = ["rebuild-manifest", "--hashes", str(hashes), "--out", str(made.folder)]
    done = CliRunner().invoke(dfad, words)
    assert done.exit_code == 4
    assert "generator synthetic-gan-b, listed" in done.output
    plain = json.loads(CliRunner().invoke(dfad, [*words, "--json"]).stdout)
    assert len(plain["differing"]) == 7


def test_other_settings_are_named(rows: list[dict[str, object]], hashes: Path, tmp_path: Path) -> None:
    info = {**INFO, "dataset": {**INFO["dataset"], "version": 2, "sha256": "c" * 64}, "settings": {"limit": 3}}
    made = write_manifest(tmp_path / "m", "synthetic", rows, info=info)
    notes = " ".join(rebuild_manifest(hashes, made.folder).comparison.notes)
    assert "the dataset file differs: synthetic 2, listed synthetic 1" in notes
    assert "settings differ: crop, dataset, frames, limit, shard_size" in notes


@pytest.mark.heavy
def test_built_again_from_the_release(tiny_manifests: tuple[Path, Path], tmp_path: Path) -> None:
    share_manifest(tiny_manifests[0], tmp_path / "hashes")
    faces = tiny_manifests[0].parent / "faces"
    words = [
        "rebuild-manifest",
        "--hashes",
        str(tmp_path / "hashes"),
        "--root",
        str(faces),
        "--workers",
        "0",
        "--quiet",
    ]
    done = CliRunner().invoke(dfad, [*words, "--out", str(tmp_path / "again")])
    assert done.exit_code == 0, done.output
    assert Manifest.open(tmp_path / "again").sha256 == Manifest.open(tiny_manifests[0]).sha256


@pytest.mark.heavy
@pytest.mark.corpus
def test_built_again_from_the_corpus(corpus: Path, tmp_path: Path) -> None:
    from dfad_bench.ingest.build import build_manifest

    build_manifest("corpus", corpus, tmp_path / "one", workers=0, limit=2)
    share_manifest(tmp_path / "one", tmp_path / "hashes")
    found = rebuild_manifest(tmp_path / "hashes", tmp_path / "again", corpus, workers=0)
    assert set(found.comparison.counts) == {"same"}
    assert str(corpus) not in (tmp_path / "hashes" / ABOUT).read_text(encoding="utf-8")


def test_what_tells_of_the_machine_is_not_shared(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_text, "private_words", lambda: ("id0001",))
    with pytest.raises(ConfigError, match=r"stands in origin, source_key|stands in source_key, origin"):
        share_manifest(manifest, tmp_path / "out")
    assert not (tmp_path / "out" / FACES).exists()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "a").touch()
    with pytest.raises(ConfigError, match="holds something else"):
        share_manifest(manifest, tmp_path / "thesis")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": {"name": "../../x.yaml", "sha256": "a" * 64}}, "dataset.name must be of letters"),
        ({"dataset": {"name": "x"}}, "need a sha256"),
        ({"form": 2}, "form 2, this toolkit reads 1"),
        ({"rows": 7}, "40 rows, hashes.json says 7"),
        ({"faces_sha256": "0" * 64}, "damaged or changed"),
        ({"further": 1}, "unknown key 'further'"),
    ],
)
def test_lists_of_strangers(hashes: Path, manifest: Manifest, change: dict[str, object], message: str) -> None:
    value = json.loads((hashes / ABOUT).read_text())
    (hashes / ABOUT).write_text(json.dumps({**value, **change}))
    done = CliRunner().invoke(dfad, ["rebuild-manifest", "--hashes", str(hashes), "--out", str(manifest.folder)])
    assert (done.exit_code in (1, 4), done.output.count("\n")) == (True, 1), done.output
    assert message in done.output


@pytest.mark.parametrize("change", [{"limit": 0}, {"crop": "../x.yaml"}, {"generator": "a/b"}, {"frames": 10**15}])
def test_settings_no_build_could_have(hashes: Path, change: dict[str, object]) -> None:
    value = json.loads((hashes / ABOUT).read_text())
    value["settings"] |= change
    (hashes / ABOUT).write_text(json.dumps(value))
    about, _ = read_hashes(hashes)
    with pytest.raises(ConfigError):
        asked_build(about, "hashes.json: settings")


def test_damaged_tables_of_strangers(hashes: Path, manifest: Manifest, tmp_path: Path) -> None:
    def with_table(frame: pd.DataFrame) -> Path:
        folder = Path(shutil.copytree(hashes, tmp_path / "copy", dirs_exist_ok=True))
        frame.to_parquet(folder / FACES)
        value = json.loads((folder / ABOUT).read_text())
        (folder / ABOUT).write_text(json.dumps({**value, "faces_sha256": sha256_file(folder / FACES)}))
        return folder

    rows = pd.read_parquet(hashes / FACES, dtype_backend="numpy_nullable")
    for frame, message in (
        (rows.drop(columns="origin"), "no columns origin"),
        (pd.concat([rows[:39], rows[:1]]), "a face stands there twice"),
        (rows.assign(sample_id=1), "column sample_id must hold text"),
        (rows[:0], "0 rows, hashes.json says 40"),
    ):
        with pytest.raises(IntegrityError, match=message):
            read_hashes(with_table(frame))
    odd = with_table(rows.assign(phash="zz", crop_sha256="e" * 64, origin="\x1b[2J"))
    assert set(rebuild_manifest(odd, manifest.folder).comparison.counts) == {"other crop"}
    done = CliRunner().invoke(dfad, ["rebuild-manifest", "--hashes", str(odd), "--out", str(manifest.folder)])
    assert "\x1b" not in done.output
    with pytest.raises(DFADError):
        read_hashes(tmp_path)
