from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.trees import extra_tree, picture, save
from PIL import Image

from dfad_bench.core.errors import ConfigError, DFADError, IntegrityError, RefusedInputsError
from dfad_bench.core.files import _HOST
from dfad_bench.core.progress import NoProgress
from dfad_bench.data.contact_sheet import contact_sheet
from dfad_bench.data.images import decode_crop
from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest.build import BuildReport, build_manifest


def build(root: Path, out: Path, **options: object) -> BuildReport:
    settings = {"crop": "raw-256", "workers": 0, "shard_size": 4, **options}
    return build_manifest(str(settings.pop("dataset", "extra")), root, out, **settings)  # type: ignore[arg-type]


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return extra_tree(tmp_path / "root")


def test_rows_say_where_a_face_comes_from(root: Path, tmp_path: Path):
    report = build(root, tmp_path / "m")
    assert report.counts == {"flux": {"ok": 8}, "vae": {"ok": 8}}
    assert (report.rows, report.refused, report.parts_built, report.parts_kept) == (16, 0, 4, 0)
    manifest = Manifest.open(tmp_path / "m")
    row = manifest.frame().set_index("origin").loc["test/vae/001.png"]
    assert (row["generator"], row["family"], row["split"], row["detection_label"]) == ("vae", "vae", "test", 1)
    assert row["sample_id"] == hashlib.sha256(b"extra/test/vae/001.png").hexdigest()[:16]
    assert row["source_sha256"] == hashlib.sha256((root / "test/vae/001.png").read_bytes()).hexdigest()
    facts = row[["source_width", "source_height", "source_format", "source_bytes"]]
    assert list(facts) == [48, 40, "PNG", (root / "test/vae/001.png").stat().st_size]
    crop = decode_crop(dict(manifest.images([row["sample_id"]]))[row["sample_id"]])
    assert crop.shape == (256, 256, 3)
    assert row["crop_sha256"] == hashlib.sha256(crop.tobytes()).hexdigest()
    text = (tmp_path / "m" / "manifest.json").read_text()
    assert str(root) not in text


@pytest.mark.heavy
def test_workers_change_no_byte(root: Path, tmp_path: Path):
    for workers in (0, 2):
        build(root, tmp_path / str(workers), workers=workers)
    assert digests(tmp_path / "0") == digests(tmp_path / "2")


def test_part_size_does_not_change_the_content(root: Path, tmp_path: Path):
    one, other = build(root, tmp_path / "a"), build(root, tmp_path / "b", shard_size=100)
    assert one.manifest_sha256 == other.manifest_sha256


def test_a_second_run_redoes_only_what_is_missing_or_damaged(root: Path, tmp_path: Path):
    out = tmp_path / "m"
    build(root, out)
    before = digests(out)
    assert build(root, out).parts_kept == 4
    (out / "part-00000.json").unlink()
    (out / "part-00001.parquet").write_bytes(b"damaged")
    (out / "part-00003.json").write_text("{")
    (out / "manifest.json").unlink()
    report = build(root, out)
    assert (report.parts_built, report.parts_kept) == (3, 1)
    assert digests(out) == before


def test_changed_inputs_are_read_again(root: Path, tmp_path: Path):
    out = tmp_path / "m"
    build(root, out)
    (root / "test/vae/000.png").unlink()
    save(root / "test/vae/001.png", 99, width=64)
    for name in ("one", "two", "three"):
        save(root / f"train/hart/{name}.png", 7)
    build(root, out)
    build(root, tmp_path / "fresh")
    assert digests(out) == digests(tmp_path / "fresh")
    for name in ("one", "two", "three"):
        (root / f"train/hart/{name}.png").unlink()
    assert build(root, out).rows == 15
    assert len(list(out.glob("part-*.parquet"))) == 4


def test_a_file_replaced_by_one_of_the_same_size_is_read_again(root: Path, tmp_path: Path):
    for index in range(4):
        Image.fromarray(picture(index)).save(root / f"test/vae/9{index}.bmp")
    build(root, tmp_path / "m")
    before = {path.name: path.read_bytes() for path in (tmp_path / "m").glob("part-*")}
    changed = root / "test/vae/91.bmp"
    size = changed.stat().st_size
    Image.fromarray(picture(99)).save(changed)
    assert changed.stat().st_size == size
    assert build(root, tmp_path / "m").parts_built == 1
    row = Manifest.open(tmp_path / "m").frame().set_index("origin").loc["test/vae/91.bmp"]
    assert row["source_sha256"] == hashlib.sha256(changed.read_bytes()).hexdigest()
    assert build(root, tmp_path / "m").parts_built == 0
    after = {path.name: path.read_bytes() for path in (tmp_path / "m").glob("part-*")}
    assert sum(before[name] != after[name] for name in before) == 2  # a Parquet file and its JSON


def test_a_copy_of_the_source_gives_the_same_manifest_and_parts_of_earlier_versions_are_kept(
    root: Path, tmp_path: Path
):
    build(root, tmp_path / "m")
    copied = shutil.copytree(root, tmp_path / "copied", copy_function=shutil.copyfile)  # with other times
    build(copied, tmp_path / "n")
    one, other = ({p.name: p.read_bytes() for p in (tmp_path / n).glob("[!.]*")} for n in "mn")
    assert one == other
    for path in (tmp_path / "m").glob(".*.seen.json"):
        path.unlink()
    assert build(copied, tmp_path / "m").parts_kept == 4
    (tmp_path / "n/.part-00000.seen.json").write_text("damaged")
    assert build(copied, tmp_path / "n").parts_built == 1


def test_a_contact_sheet_in_the_source_is_no_face(root: Path, tmp_path: Path):
    build(root, tmp_path / "m")
    contact_sheet([Manifest.open(tmp_path / "m")], root / "test/flux/sheet.png", faces=2)
    rows = build_and_rows(root, tmp_path / "n")
    assert rows["test/flux/sheet.png"] == ("unsupported_format", "a contact sheet of this toolkit")


def build_and_rows(root: Path, out: Path) -> dict[str, tuple[str, str]]:
    build(root, out)
    rows = Manifest.open(out).frame(["origin", "status", "reason"], status=None)
    return {origin: (status, reason) for origin, status, reason in rows.itertuples(index=False)}


def test_a_manifest_folder_moved_while_it_is_built_is_named(root: Path, tmp_path: Path):
    class Mover(NoProgress):
        def advance(self, steps: int = 1, **facts: object) -> None:
            if steps and (tmp_path / "m").exists() and not (tmp_path / "n").exists():
                (tmp_path / "m").rename(tmp_path / "n")

    with pytest.raises(DFADError, match=r"/m: was moved or deleted while it was built"):
        build(root, tmp_path / "m", progress=Mover())


def test_files_of_an_unknown_generator_are_said_to_be_unlabelled(tmp_path: Path):
    save(tmp_path / "in/a.png")
    report = build(tmp_path / "in", tmp_path / "m", dataset="images")
    assert report.counts == {"unlabelled": {"ok": 1}}
    assert any("`unlabelled`; say it with --generator NAME" in note for note in report.notes)
    report = build(tmp_path / "in", tmp_path / "n", dataset="images", generator="flux")
    assert not any("unlabelled" in note for note in report.notes)


def test_changed_settings_are_refused(root: Path, tmp_path: Path):
    out = tmp_path / "m"
    build(root, out)
    with pytest.raises(IntegrityError, match=r"shard_size was 4, is 5.*another --out") as error:
        build(root, out, shard_size=5)
    assert error.value.exit_code == 4
    with pytest.raises(IntegrityError, match="crop was raw-256, is face-256-1.3"):
        build(root, out, crop="face-256-1.3")
    (out / "build.json").unlink()
    with pytest.raises(IntegrityError, match="parts of another manifest"):
        build(root, out)


def test_refusals_are_rows(root: Path, tmp_path: Path):
    (root / "test/flux/bad.png").write_bytes(b"no image")
    (root / "test/flux/empty.jpg").touch()
    save(root / "test/flux/tiny.png", width=8, height=8)
    (root / "test/flux/out.png").symlink_to("/etc/hostname")
    report = build(root, tmp_path / "m")
    assert report.counts["flux"] == {
        "ok": 8,
        "outside_root": 1,
        "too_small": 1,
        "unreadable": 1,
        "unsupported_format": 1,
    }
    frame = Manifest.open(tmp_path / "m").frame(status=None).set_index("origin")
    assert frame.loc["test/flux/empty.jpg", "reason"] == "empty file"
    assert frame.loc["test/flux/tiny.png", "reason"] == "8x8, needs 32"
    assert [item["origin"] for item in report.reasons] == sorted(item["origin"] for item in report.reasons)
    report.check_refused(0.2)
    with pytest.raises(RefusedInputsError, match=r"complete, but 4 of 20 images were refused \(20.0%, limit 5.0%\)"):
        report.check_refused(0.05)


def test_limit_takes_as_many_of_each_generator_and_split(root: Path, tmp_path: Path):
    build(root, tmp_path / "m", limit=3)
    chosen = Manifest.open(tmp_path / "m").frame()
    assert chosen.groupby(["generator", "split"]).size().tolist() == [3, 3, 3, 3]
    save(root / "test/flux/zzz.png", 5)
    build(root, tmp_path / "more", limit=3)
    more = set(Manifest.open(tmp_path / "more").frame()["sample_id"])
    assert len(more & set(chosen["sample_id"])) >= 11  # more data moves few choices


def test_a_folder_of_any_images(tmp_path: Path):
    save(tmp_path / "in/a.png", 1)
    report = build(tmp_path / "in", tmp_path / "m", dataset="images", generator="flux")
    assert report.counts == {"flux": {"ok": 1}}
    assert build(tmp_path / "in", tmp_path / "n", dataset="images").counts == {"unlabelled": {"ok": 1}}
    assert Manifest.open(tmp_path / "n").frame()["detection_label"].tolist() == [-1]


def test_errors_name_the_expected_layout(tmp_path: Path):
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        build(tmp_path / "nowhere", tmp_path / "m")
    (tmp_path / "in").mkdir()
    with pytest.raises(ConfigError, match=r"no image of 'extra'; expected train/\{generator\}.*the folder is empty"):
        build(tmp_path / "in", tmp_path / "m")
    save(tmp_path / "in/dalle/a.png")
    with pytest.raises(ConfigError, match=r"1 unknown generator 'dalle' \('dalle/a.png' ...\)"):
        build(tmp_path / "in", tmp_path / "m")
    (tmp_path / "file").touch()
    save(tmp_path / "in/flux/a.png")
    with pytest.raises(ConfigError, match="cannot be written"):
        build(tmp_path / "in", tmp_path / "file")
    with pytest.raises(ConfigError, match="workers >= 0"):
        build(tmp_path / "in", tmp_path / "m", workers=-1)


def test_two_builds_do_not_mix(root: Path, tmp_path: Path):
    from filelock import FileLock

    (tmp_path / "m").mkdir()
    with FileLock(tmp_path / "m" / ".build.lock"), pytest.raises(ConfigError, match="another build is writing here"):
        build(root, tmp_path / "m")


@pytest.mark.heavy
def test_killed_in_the_middle_and_run_again_gives_the_same_bytes(tmp_path: Path):
    root = tmp_path / "root"
    for index in range(80):
        save(root / f"test/flux/{index:03d}.png", index)
    build(root, tmp_path / "whole", shard_size=2)
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "dfad_bench", "build-manifest", "--dataset", "extra", "--root", str(root)]
    command += ["--out", str(out), "--crop", "raw-256", "--shard-size", "2", "--workers", "1", "--quiet"]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (out / "part-00003.json").exists():
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "manifest.json").exists()
    (out / f".part-00020.{_HOST}-4194300.abcd1234.tmp.parquet").write_bytes(b"left by a killed process")
    done = len(list(out.glob("part-*.json")))
    report = build(root, out, shard_size=2)
    assert report.parts_kept >= min(done, 4)
    assert report.parts_built > 0
    assert digests(out) == digests(tmp_path / "whole")


def test_pairs_point_at_rows(tiny_manifest: Path):
    frame = Manifest.open(tiny_manifest).frame(status=None)
    pairs = frame.dropna(subset=["target_id"])
    assert set(pairs["forgery"]) == {"FS", "AM", "FR"}
    targets = frame.set_index("sample_id").loc[pairs["target_id"]]
    assert set(targets["generator"]) == {"real"}
    assert targets["source_key"].tolist() == pairs["source_key"].tolist()
    assert (frame["status"] == "ok").mean() > 0.95
    kept = frame[frame["status"] == "ok"]
    for box, landmarks in zip(kept["crop_box"], kept["landmarks"], strict=True):
        x, y = np.array(landmarks).reshape(5, 2).T
        assert ((x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])).all()


@pytest.mark.corpus
def test_broken_images_become_rows(corpus: Path, tmp_path: Path):
    files = [p for p in (corpus / "broken/images").rglob("*") if p.is_file() and not p.name.startswith(".")]
    report = build(corpus, tmp_path / "m", dataset="corpus-broken", shard_size=256)
    assert report.rows == len(files)
    assert report.refused > 30
    assert all(item["reason"] for item in report.reasons)


@pytest.mark.corpus
def test_real_photographs_become_faces(corpus: Path, tmp_path: Path):
    report = build_manifest("corpus", corpus, tmp_path / "m", workers=0, limit=1)
    assert report.rows == 26
    assert report.refused == 0


@pytest.mark.corpus
@pytest.mark.slow
def test_faces_of_the_whole_corpus_are_found(corpus: Path, tmp_path: Path):
    report = build_manifest("corpus", corpus, tmp_path / "m", workers=2)
    assert report.rows > 1500
    assert report.refused / report.rows <= 0.01


def test_tree_helper_draws_pictures_without_symmetry():
    pixels = picture(0)
    for turned in (pixels[::-1], pixels[:, ::-1], pixels[::-1, ::-1]):
        assert not np.array_equal(pixels, turned)
