from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from helpers.trees import extra_tree

from dfad_bench.cli.main import dfad
from dfad_bench.data.audit import AUDITS
from dfad_bench.ingest.build import build_manifest


def run(*arguments: object) -> Result:
    return CliRunner().invoke(dfad, ["check-manifest", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight faces of flux and of vae; one file lies under both names, one in train and test."""
    root = extra_tree(tmp_path / "root")
    shutil.copy(root / "train/flux/001.png", root / "train/vae/copy.png")
    shutil.copy(root / "train/flux/002.png", root / "test/flux/copy.png")
    build_manifest("extra", root, tmp_path / "m", crop="raw-256", workers=0)
    return tmp_path / "m"


def test_findings_are_printed_and_end_well(folder: Path):
    result = run("--manifest", folder, "--audit")
    assert result.exit_code == 0, result.output
    assert "error: 1 set (2 files) of the same file with different labels" in result.stdout
    assert "error: 1 set (2 files) of the same file on both sides of the split" in result.stdout
    assert "train/vae/copy.png" in result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["same_files", "error", "2", "0", "0"] in lines
    assert {line[0] for line in lines if line} >= set(AUDITS)


def test_strict_ends_with_4(folder: Path, tmp_path: Path):
    result = run("--manifest", folder, "--audit", "--strict")
    assert result.exit_code == 4
    assert "the audit found errors: same_files" in result.stderr
    assert "same_files" in result.stdout
    build_manifest("extra", extra_tree(tmp_path / "clean"), tmp_path / "c", crop="raw-256", workers=0)
    assert run("--manifest", tmp_path / "c", "--audit", "--strict").exit_code == 0


def test_json_and_sheets(folder: Path, tmp_path: Path):
    result = run("--manifest", folder, "--audit", "--json", "--contact-sheet", tmp_path / "sheets")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    checks = {item["check"]: item for item in value["audit"]}
    assert list(checks) == list(AUDITS)
    example = checks["same_files"]["remarks"][0]["examples"][0]
    assert {face["origin"] for face in example} == {"train/flux/001.png", "train/vae/copy.png"}
    assert {face["manifest"] for face in example} == {str(folder)}
    assert {path.name for path in (tmp_path / "sheets").iterdir()} >= {"faces.png", "same_files.png"}


@pytest.mark.heavy
def test_under_a_protocol(tiny_manifests: tuple[Path, Path]):
    folders = ["--manifest", tiny_manifests[0], "--manifest", tiny_manifests[1]]
    result = run(*folders, "--protocol", "synthetic", "--audit", "--json")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    leaks = next(item for item in value["audit"] if item["check"] == "split_leaks")
    assert "protocol synthetic" in leaks["title"]
    assert {row["group"] for row in leaks["rows"]} <= {group["group"] for group in value["groups"]}
    assert not any(remark["severity"] == "error" for remark in leaks["remarks"])


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--protocol", "synthetic", "--audit"], "--audit needs --manifest"),
        (["--protocol", "synthetic", "--strict"], "--strict needs --audit"),
        (["--protocol", "synthetic", "--near-bits", "4"], "--near-bits needs --audit"),
    ],
)
def test_mistakes_of_the_audit_are_one_line(options: list[str], error: str):
    result = run(*options)
    assert result.exit_code == 1
    assert error in result.stderr
