"""Videos by any template, and what the doctor says about files that fit none."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.dataset_trees import pack
from helpers.listing import SPEC, listed, own, source_folder, touch
from helpers.trees import save
from helpers.video_trees import clip

from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import ConfigError
from dfad_bench.ingest.build import build_manifest
from dfad_bench.ingest.sources.base import PACKED_VIDEO
from dfad_bench.ingest.sources.explain import explain_misfits
from dfad_bench.ingest.survey import survey

VIDEOS = """
name: clips
version: 1
title: Clips
licence: mine
layout: LAYOUT
entries: [{path: "PATH", generator: flux}]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return source_folder(tmp_path)


@pytest.mark.parametrize("layout", ["videos", "folders"])
@pytest.mark.parametrize("path", ["{video:path}", "{video:path}.mp4", "{video:path}.{ext:video}", "{a}/{b}"])
def test_a_video_is_read_as_one_whatever_the_template(root: Path, tmp_path: Path, layout: str, path: str):
    (root / "a").mkdir()
    (root / "a/x.mp4").write_bytes(clip(3))
    file = tmp_path / "clips.yaml"
    file.write_text(VIDEOS.replace("PATH", path).replace("LAYOUT", layout))
    report = build_manifest(str(file), root, tmp_path / "m", crop="raw-256", workers=0)
    assert report.counts == {"flux": {"ok": 3}}


def test_pictures_that_may_be_either_are_what_the_layout_says(root: Path, tmp_path: Path):
    touch(root, "a.gif", "b.webp", "c.png", "d.MP4")
    kinds = {}
    for layout, path in (("videos", "{x:path}"), ("folders", "{x:path}"), ("videos", "{x:path}.{ext}")):
        spec = own(tmp_path, VIDEOS.replace("PATH", path).replace("LAYOUT", layout))
        kinds[layout, path] = {s.origin: s.medium for s in listed(spec, root).samples}
    assert kinds["videos", "{x:path}"] == {
        "a.gif": "animation",
        "b.webp": "animation",
        "c.png": "image",
        "d.MP4": "video",
    }
    assert set(kinds["folders", "{x:path}"].values()) == {"image", "video"}
    assert set(kinds["videos", "{x:path}.{ext}"].values()) == {"image"}


def test_a_packed_video_is_left_out_whatever_the_template(root: Path, tmp_path: Path):
    touch(tmp_path / "packed", "x.mp4")
    pack(tmp_path / "packed", root / "a.zip")
    listing = listed(own(tmp_path, VIDEOS.replace("PATH", "{x:path}").replace("LAYOUT", "folders")), root)
    assert (listing.samples, list(listing.ignored)) == ([], [PACKED_VIDEO])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "test/flux-dev/bob_x.png",
            "'{split}/{generator}/{who:word}_' fits 'test/flux-dev/bob_', then {shot:int} (digits) does not fit 'x.",
        ),
        (
            "test/flux-dev/bob-1.png",
            "{who:word}' fits 'test/flux-dev/bob-1.png', then the path ends before '_'",
        ),
        (
            "test/flux-dev/bob_1.mp4",
            "{ext} (jpg, jpeg, jfif ...) does not fit 'mp4'",
        ),
        ("bob_1.png", "'{split}' fits 'bob_1.png', then the path ends before '/'"),
        ("a/test/flux-dev/bob_1.png", "{who:word} fits"),
        ("test/flux-dev/" + "_" * 400, None),
    ],
)
def test_the_part_that_does_not_fit_is_named(root: Path, tmp_path: Path, name: str, said: str | None):
    spec = own(tmp_path, SPEC)
    lines = list(explain_misfits(spec, [name]))
    assert bool(lines) == (said is not None)
    if said and name != "a/test/flux-dev/bob_1.png":
        assert said in lines[0]
        assert lines[0].startswith(f"{name!r}: fits no path of the layout; nearest is '{{split}}/{{generator}}/")


def test_the_doctor_and_an_empty_build_explain_it(root: Path, tmp_path: Path):
    save(root / "test/flux-dev/bob_x.png")
    own(tmp_path, SPEC)
    file = tmp_path / "mine.yaml"
    result = CliRunner().invoke(dfad, ["doctor", "--dataset", str(file), "--root", str(root)])
    assert "{shot:int} (digits) does not fit 'x.png'" in " ".join(result.stdout.split())
    with pytest.raises(ConfigError, match=r"{shot:int} \(digits\) does not fit 'x.png'"):
        build_manifest(str(file), root, tmp_path / "m", workers=0)


def test_many_misfits_are_explained_by_the_first_ones(root: Path, tmp_path: Path):
    touch(root, *(f"test/flux-dev/bob_{letter}.png" for letter in "abcdefgh"))
    notes = survey(str(write_spec(tmp_path)), root).notes
    assert sum("nearest is" in note for note in notes) == 3


def write_spec(folder: Path) -> Path:
    own(folder, SPEC)
    return folder / "mine.yaml"


@pytest.mark.parametrize("dataset", ["images", "videos"])
def test_folders_of_nobody_known_are_said_to_be_unlabelled(root: Path, tmp_path: Path, dataset: str):
    save(root / "a.png")
    (root / "b.mp4").write_bytes(clip(2))
    options = ["--dataset", dataset, "--root", str(root)]
    line = "what made these files is not known: all are `unlabelled`; say it with --generator NAME"
    built = ["build-manifest", *options, "--out", str(tmp_path / "m"), "--crop", "raw-256", "--workers", "0"]
    for arguments in (["doctor", *options], [*built, "--max-refused", "1"]):
        assert line in " ".join(CliRunner().invoke(dfad, arguments).stdout.split())
    built[7] = str(tmp_path / "n")
    assert "unlabelled" not in CliRunner().invoke(dfad, [*built, "--generator", "flux", "--max-refused", "1"]).stdout
