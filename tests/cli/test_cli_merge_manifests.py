from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from helpers.trees import extra_tree, save

from dfad_bench.cli.main import dfad


def run(command: str, *arguments: object) -> Result:
    return CliRunner().invoke(dfad, [command, *map(str, arguments)])


@pytest.fixture
def options(tmp_path: Path) -> list[object]:
    root = extra_tree(tmp_path / "root")
    return ["--dataset", "extra", "--root", root, "--crop", "raw-256", "--workers", 0, "--shard-size", 4]


def test_shards_then_merge(options: list[object], tmp_path: Path):
    out = tmp_path / "m"
    first = run("build-manifest", *options, "--out", out, "--shard", "0/2")
    assert first.exit_code == 0, first.output
    assert "2 of 4 parts are present; the shard that makes the last one finishes the manifest" in first.stdout
    early = run("merge-manifests", "--out", out)
    assert early.exit_code == 1
    assert "2 of 4 parts are missing or damaged (part-00001.parquet, part-00003.parquet)" in early.stderr
    last = run("build-manifest", *options, "--out", out, "--shard", "1/2", "--json")
    value = json.loads(last.stdout)
    assert (value["parts_missing"], value["rows"]) == (0, 16)
    sealed = run("merge-manifests", "--out", out, "--json")
    assert json.loads(sealed.stdout)["manifest_sha256"] == value["manifest_sha256"]


def test_two_folders_become_one(options: list[object], tmp_path: Path):
    save(tmp_path / "more/test/flux/other.png", 9)
    run("build-manifest", *options, "--out", tmp_path / "a")
    options[3] = tmp_path / "more"
    run("build-manifest", *options, "--out", tmp_path / "b")
    chosen = ["--manifest", tmp_path / "a", "--manifest", tmp_path / "b", "--out", tmp_path / "m"]
    result = run("merge-manifests", *chosen, "--quiet")
    assert result.exit_code == 0, result.output
    assert "extra: 17 images" in result.stdout
    assert run("check-manifest", "--manifest", tmp_path / "m").exit_code == 0


def test_manifests_of_two_datasets_stay_two(options: list[object], tmp_path: Path):
    run("build-manifest", *options, "--out", tmp_path / "a")
    other = ["--dataset", "images", "--root", options[3], "--crop", "raw-256", "--workers", 0]
    run("build-manifest", *other, "--out", tmp_path / "b")
    result = run("merge-manifests", "--manifest", tmp_path / "a", "--manifest", tmp_path / "b", "--out", tmp_path / "m")
    assert result.exit_code == 1
    assert "(images and extra)" in result.stderr or "(extra and images)" in result.stderr
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["--out", "nowhere"], 1, "nowhere: no such folder"),
        (["--out", "."], 1, "no plan.json; begin with `dfad build-manifest --shard I/N"),
        (["--out", "m", "--manifest", "nowhere"], 1, "two or more different manifests"),
        ([], 2, "Missing option '--out'"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], code: int, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    result = run("merge-manifests", *arguments)
    assert result.exit_code == code
    assert error in result.stderr


@pytest.mark.parametrize(
    ("change", "code", "error"),
    [
        (["--shard", "2/2"], 1, "--shard '2/2': expected I/N with I from 0 to N-1"),
        (["--device", "tpu"], 1, "device 'tpu': expected cpu, cuda or cuda:N"),
        (["--engine", "dask"], 2, "Invalid value for '--engine'"),
    ],
)
def test_mistakes_about_shards_and_engines(
    options: list[object], tmp_path: Path, change: list[str], code: int, error: str
):
    result = run("build-manifest", *options, "--out", tmp_path / "m", *change)
    assert result.exit_code == code
    assert error in result.stderr
    assert not (tmp_path / "m").exists()
