from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from helpers.trees import extra_tree, save

from dfad_bench.cli.main import dfad


def run(*arguments: object) -> Result:
    return CliRunner().invoke(dfad, ["build-manifest", *map(str, arguments)])


@pytest.fixture
def options(tmp_path: Path) -> list[object]:
    root = extra_tree(tmp_path / "root")
    return ["--dataset", "extra", "--root", root, "--out", tmp_path / "m", "--crop", "raw-256", "--workers", 0]


def test_prints_counts_and_reasons(options: list[object], tmp_path: Path):
    (tmp_path / "root/test/flux/bad.png").write_bytes(b"no image")
    (tmp_path / "root/notes.txt").touch()
    result = run(*options, "--max-refused", 0.5)
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["flux", "8", "1"] in lines
    assert ["total", "16", "1"] in lines
    assert "'test/flux/bad.png': unsupported_format: no image of the formats" in result.stdout
    assert "1 files left out: fits no path of the layout ('notes.txt')" in result.stdout
    assert "1 parts made, 0 kept" in result.stdout


def test_json_is_json(options: list[object], tmp_path: Path):
    result = run(*options, "--json", "--limit", 2)
    assert result.exit_code == 0
    value = json.loads(result.stdout)
    assert value["counts"] == {"flux": {"ok": 4}, "vae": {"ok": 4}}
    assert value["notes"] == ["limited to 2 images of each generator and split"]


def test_sampling_without_videos_is_said(options: list[object]):
    note = "no video or animation is among these files: --frames and --stride change nothing here"
    assert note in run(*options, "--frames", 4).stdout


def test_too_many_refusals_end_with_3_after_everything_is_written(options: list[object], tmp_path: Path):
    (tmp_path / "root/test/flux/bad.png").write_bytes(b"no image")
    result = run(*options)
    assert result.exit_code == 3
    assert "1 of 17 images were refused (5.9%, limit 5.0%)" in result.stderr
    assert (tmp_path / "m/manifest.json").is_file()
    assert "total" in result.stdout


@pytest.mark.parametrize(
    ("change", "code", "error"),
    [
        (["--dataset", "exra"], 1, "no dataset named 'exra'. Did you mean extra"),
        (["--crop", "face-256-1.4"], 1, "Did you mean face-256-1.6 or face-256-1.3"),
        (["--root", "nowhere"], 1, "nowhere: no such folder"),
        (["--generator", "flux"], 1, "--generator is for `images`"),
        (["--limit", "0"], 2, "Invalid value for '--limit'"),
        (["--dataset", "mine.yaml"], 1, "mine.yaml: no such file"),
    ],
)
def test_mistakes_are_one_line(options: list[object], change: list[str], code: int, error: str):
    result = run(*options, *change)
    assert result.exit_code == code
    assert error in result.stderr
    assert "Traceback" not in result.output


def test_other_settings_end_with_4(options: list[object]):
    assert run(*options).exit_code == 0
    result = run(*options, "--shard-size", 3)
    assert result.exit_code == 4
    assert "shard_size was 256, is 3" in result.stderr


@pytest.mark.heavy
def test_images_of_ones_own_with_two_workers(tmp_path: Path):
    for index in range(3):
        save(tmp_path / f"in/{index}.png", index)
    options = ["--dataset", "images", "--generator", "FLUX.1", "--root", tmp_path / "in", "--out", tmp_path / "m"]
    result = run(*options, "--crop", "raw-256", "--workers", 2, "--shard-size", 2, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["counts"] == {"flux": {"ok": 3}}
