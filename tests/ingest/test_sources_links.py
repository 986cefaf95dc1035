"""`--follow-links`: what links out of the source folder lead to is read by its name in there, and once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.dataset_trees import pack
from helpers.listing import TABLE, listed, own, source_folder
from helpers.trees import save
from helpers.video_trees import clip

from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import ConfigError, IntegrityError, RefusedInputsError
from dfad_bench.data.images import ImageRefused
from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest.build import build_manifest
from dfad_bench.ingest.media import read
from dfad_bench.ingest.media.base import Sampling
from dfad_bench.ingest.sources.base import LINKED, READ_ALREADY
from dfad_bench.ingest.sources.spec import load_dataset_spec
from dfad_bench.ingest.survey import survey

SETTINGS = {"crop": "raw-256", "workers": 0}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return source_folder(tmp_path)


def blob(folder: Path, name: str, seed: int) -> Path:
    """A file without an extension, as snapshots of model hubs link to."""
    file = save(folder / f"{name}.png", seed)
    return file.rename(folder / name)


@pytest.fixture
def snapshot(root: Path, tmp_path: Path) -> Path:
    for index in range(3):
        place = root / f"train/flux/{index}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(blob(tmp_path / "blobs", hashlib.sha256(str(index).encode()).hexdigest(), index))
    return root


def test_a_snapshot_of_links_is_read(snapshot: Path, tmp_path: Path):
    refused = build_manifest("extra", snapshot, tmp_path / "n", **SETTINGS)
    assert refused.counts == {"flux": {"outside_root": 3}}
    with pytest.raises(RefusedInputsError, match="3 of 3 images were refused .*; --follow-links reads them"):
        refused.check_refused(0.05)
    report = build_manifest("extra", snapshot, tmp_path / "m", follow_links=True, **SETTINGS)
    assert report.counts == {"flux": {"ok": 3}}
    rows = Manifest.open(tmp_path / "m").frame().set_index("origin")
    assert sorted(rows.index) == [f"train/flux/{index}.png" for index in range(3)]
    target = (snapshot / "train/flux/1.png").resolve()
    assert rows.loc["train/flux/1.png", "source_sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
    assert not any(str(tmp_path) in file.read_text() for file in (tmp_path / "m").glob("*.json"))


def test_the_option_is_a_setting_of_the_build(snapshot: Path, tmp_path: Path):
    for first, out in ((True, tmp_path / "m"), (False, tmp_path / "n")):
        build_manifest("extra", snapshot, out, follow_links=first, **SETTINGS)
        assert build_manifest("extra", snapshot, out, follow_links=first, **SETTINGS).parts_kept == 1
        with pytest.raises(IntegrityError, match=f"follow_links was {first or None}, is {True if not first else None}"):
            build_manifest("extra", snapshot, out, follow_links=not first, **SETTINGS)
    assert "follow_links" not in json.loads((tmp_path / "n/build.json").read_text())  # as builds of before


def test_a_link_to_other_bytes_is_read_again(snapshot: Path, tmp_path: Path):
    build_manifest("extra", snapshot, tmp_path / "m", follow_links=True, **SETTINGS)
    link = snapshot / "train/flux/1.png"
    link.unlink()
    link.symlink_to(blob(tmp_path / "blobs", "other", 77))
    assert build_manifest("extra", snapshot, tmp_path / "m", follow_links=True, **SETTINGS).parts_built == 1


def test_linked_folders_loops_and_doubles(root: Path, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    save(elsewhere / "deep/a.png")
    save(root / "own/b.png")
    (root / "a_link_to_own").symlink_to(root / "own")
    (root / "one").symlink_to(elsewhere)
    (root / "two").symlink_to(elsewhere / "deep")
    (root / "three.png").symlink_to(elsewhere / "deep/a.png")
    (root / "0.png").symlink_to(root / "own/b.png")
    (elsewhere / "back").symlink_to(root)
    (elsewhere / "loop").symlink_to(elsewhere)
    (root / "broken.png").symlink_to("nowhere")
    (root / "own/circle.png").symlink_to("circle.png")
    spec = load_dataset_spec("images").with_generator("flux")
    before = listed(spec, root)
    assert before.ignored == {LINKED: 3}
    assert before.notes == [
        "1 links to files elsewhere and 3 linked folders are not followed; --follow-links reads them"
    ]
    listing = listed(spec.with_links(), root)
    origins = sorted(s.origin for s in listing.samples)
    assert origins == ["broken.png", "one/deep/a.png", "own/b.png", "own/circle.png"]
    assert listing.ignored == {READ_ALREADY: 6}
    assert len({s.path.resolve() for s in listing.samples if s.size}) == 2
    assert not listing.notes
    assert not listing.overlooked


def test_a_link_to_a_folder_that_holds_it_is_a_loop(root: Path, tmp_path: Path):
    save(tmp_path / "private/a.png")
    save(tmp_path / "elsewhere/faces/b.png")
    (root / "up").symlink_to("..")
    (root / "faces").symlink_to(tmp_path / "elsewhere/faces")
    (tmp_path / "elsewhere/faces/up").symlink_to("..")
    listing = listed(load_dataset_spec("images").with_generator("flux").with_links(), root)
    assert [sample.origin for sample in listing.samples] == ["faces/b.png"]
    assert listing.examples[READ_ALREADY] == ["up", "faces/up"]


def test_a_link_to_nothing_says_so(root: Path, tmp_path: Path):
    (root / "gone.png").symlink_to(tmp_path / "nowhere.png")
    for spec in (load_dataset_spec("images"), load_dataset_spec("images").with_links()):
        (sample,) = listed(spec.with_generator("flux"), root).samples
        with pytest.raises(ImageRefused, match="a link to nothing"):
            next(read(sample, Sampling()))


def test_a_folder_of_links_only_names_the_option(root: Path, tmp_path: Path):
    save(tmp_path / "elsewhere/a.png")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="1 linked folder.*1 linked folders are not followed; --follow-links reads"):
        build_manifest("images", root, tmp_path / "m", **SETTINGS)
    assert build_manifest("images", root, tmp_path / "m", follow_links=True, **SETTINGS).files == 1


def test_the_doctor_follows_links_as_the_build_does(snapshot: Path):
    assert any("--follow-links" in note for note in survey("extra", snapshot).notes)
    found = survey("extra", snapshot, follow_links=True)
    assert not any("--follow-links" in note for note in found.notes)
    for options, said in (([], True), (["--follow-links"], False)):
        result = CliRunner().invoke(dfad, ["doctor", "--dataset", "extra", "--root", str(snapshot), *options])
        assert result.exit_code == 0
        assert ("--follow-links" in result.stdout) == said


def test_lists_may_name_links(root: Path, tmp_path: Path):
    (root / "x").mkdir()
    (root / "x/0.png").symlink_to(blob(tmp_path, "blob", 1))
    text = '{"d": {"FF-DF": {"train": {"v": {"label": "FF-DF", "frames": ["x/0.png", "../blob", "/etc/passwd"]}}}}}'
    (root / "list.json").write_text(text)
    (root / "list.csv").write_text("where,who,key,use\nx/0.png,flux,k,yes\n../blob,flux,k,yes\n")
    for spec in (load_dataset_spec("deepfakebench").with_index(root / "list.json"), own(tmp_path, TABLE)):
        refusals = {s.origin: s.refusal for s in listed(spec, root).samples}
        assert set(refusals.values()) == {"outside_root"}
        followed = {s.origin: s.refusal for s in listed(spec.with_links(), root).samples}
        assert followed == {origin: None if origin == "x/0.png" else "outside_root" for origin in refusals}


def test_what_a_link_leads_to_is_read_by_the_name_of_the_link(root: Path, tmp_path: Path):
    (tmp_path / "video").write_bytes(clip(3))
    kinds = ("a.tar", "b.zip", "c.tar.gz")
    for name in kinds:
        save(tmp_path / "flux/x.png")
        pack(tmp_path / "flux", tmp_path / name)
        (tmp_path / name).rename(tmp_path / f"blob-{name[0]}")
        (root / name).symlink_to(tmp_path / f"blob-{name[0]}")
    (root / "v.mp4").symlink_to(tmp_path / "video")
    images = listed(load_dataset_spec("images").with_generator("flux").with_links(), root).samples
    videos = listed(load_dataset_spec("videos").with_generator("flux").with_links(), root).samples
    assert {s.origin.split("/")[0] for s in images} == set(kinds)
    for sample in (*images, *videos):
        next(read(sample, Sampling()))
    (root / "v.txt").symlink_to(tmp_path / "video")
    assert len(videos) == 1


def test_what_was_resolved_is_followed_no_further(snapshot: Path, tmp_path: Path):
    sample = listed(load_dataset_spec("extra").with_links(), snapshot).samples[0]
    target = sample.path
    target.rename(tmp_path / "moved")
    target.symlink_to(tmp_path / "moved")  # after listing
    with pytest.raises(ImageRefused, match="a link, which is not followed"):
        next(read(sample, Sampling()))
