from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from helpers import video_trees
from helpers.trees import extra_tree

from dfad_bench.cli.main import dfad
from dfad_bench.ingest.build import build_manifest


def run(*arguments: object) -> Result:
    return CliRunner().invoke(dfad, ["check-manifest", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build_manifest("extra", extra_tree(tmp_path / "root"), tmp_path / "m", crop="raw-256", workers=0)
    return tmp_path / "m"


def test_counts_by_status_and_split(folder: Path):
    result = run("--manifest", folder)
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["generator", "ok", "test", "train"] in lines
    assert ["vae", "8", "4", "4"] in lines
    assert ["total", "16", "8", "8"] in lines


def test_a_damaged_file_is_named(folder: Path):
    part = folder / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-3])
    result = run("--manifest", folder)
    assert result.exit_code == 4
    assert "part-00000.parquet: damaged or changed" in result.stderr


def test_needs_of_a_protocol_without_manifests():
    result = run("--protocol", "gazeclip-df40")
    assert result.exit_code == 0
    assert "21 of 21 groups lack faces" in result.stdout
    assert "df40: github.com/YZY-stan/DF40" in result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["ffhq/real", "unseen", "0", "1,250", "0", "0", "0", "1,250"] in lines


def test_json_with_a_contact_sheet(folder: Path, tmp_path: Path):
    sheet = tmp_path / "sheet.png"
    result = run("--manifest", folder, "--protocol", "gazeclip-recent", "--contact-sheet", sheet, "--json")
    assert result.exit_code == 0
    value = json.loads(result.stdout)
    assert value["manifests"][0]["counts"] == {"flux": {"ok": 8}, "vae": {"ok": 8}}
    found = {group["group"]: group["test"] for group in value["groups"]}
    assert found["extra/vae"] == 4
    assert sheet.read_bytes().startswith(b"\x89PNG")


def test_the_synthetic_protocol_lacks_nothing(tiny_manifests: tuple[Path, Path]):
    result = run("--manifest", tiny_manifests[0], "--manifest", tiny_manifests[1], "--protocol", "synthetic@1")
    assert result.exit_code == 0, result.output
    assert "Protocol synthetic: nothing is missing" in result.stdout


@pytest.mark.parametrize(
    ("options", "code", "error"),
    [
        ([], 2, "give --manifest, --protocol or both"),
        (["--manifest", "nowhere"], 1, "nowhere: no such manifest"),
        (["--protocol", "gazeclip-df04"], 1, "Did you mean gazeclip-df40"),
        (["--protocol", "synthetic", "--contact-sheet", "a.png"], 1, "--contact-sheet needs --manifest"),
    ],
)
def test_mistakes_are_one_line(options: list[str], code: int, error: str):
    result = run(*options)
    assert result.exit_code == code
    assert error in result.stderr


def test_refused_frames_of_a_video_are_one_line_and_nothing_to_draw_comes_last(tmp_path: Path):
    tree = video_trees.videos_tree(tmp_path / "root")
    build_manifest("videos", tree.root, tmp_path / "m", workers=0, frames=3)
    result = run("--manifest", tmp_path / "m", "--contact-sheet", tmp_path / "x.png")
    assert "'a.mp4': no_face: no face with probability 0.9 or more (3 frames)" in result.stdout
    assert "more refused" not in result.stdout
    assert result.exit_code == 1
    assert "no faces to draw" in result.stderr


def test_manifests_that_share_faces_are_refused_with_a_protocol_as_in_training(folder: Path, tmp_path: Path):
    shutil.copytree(folder, tmp_path / "copy")
    both = ("--manifest", folder, "--manifest", tmp_path / "copy")
    assert run(*both).exit_code == 0
    result = run(*both, "--protocol", "gazeclip-recent")
    assert result.exit_code == 1
    assert "are both of the dataset 'extra' and share" in result.stderr
