from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from helpers.toy import toy_row
from helpers.trees import extra_tree
from PIL import Image

from dfad_bench.cli.main import dfad
from dfad_bench.data.audit import AUDITS
from dfad_bench.data.manifest import write_manifest
from dfad_bench.data.refused_sheet import refused_sheet
from dfad_bench.ingest.build import build_manifest


def run(*arguments: object) -> Result:
    return CliRunner().invoke(dfad, ["check-manifest", *map(str, arguments)])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("audit")
    root = extra_tree(made / "root")
    shutil.copy(root / "train/flux/001.png", root / "train/vae/copy.png")
    shutil.copy(root / "train/flux/002.png", root / "test/flux/copy.png")
    build_manifest("extra", root, made / "m", crop="raw-256", workers=0)
    return made


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    """Eight faces of flux and of vae; one file lies under both names, one in train and test."""
    return Path(shutil.copytree(built, tmp_path, dirs_exist_ok=True)) / "m"


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
    result = run(*folders, "--protocol", "synthetic@1", "--audit", "--json")
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


def test_the_verdict_of_the_whole_audit_is_in_the_json(folder: Path, tmp_path: Path):
    value = json.loads(run("--manifest", folder, "--audit", "--json").stdout)
    assert value["verdict"]["severity"] == "error"
    assert value["verdict"]["errors"] == [item["check"] for item in value["audit"] if item["severity"] == "error"]
    assert value["verdict"]["warnings"] == [item["check"] for item in value["audit"] if item["severity"] == "warning"]
    assert "verdict" not in json.loads(run("--manifest", folder, "--json").stdout)


def test_refused_pictures_are_drawn_from_their_source(tmp_path: Path):
    root = extra_tree(tmp_path / "root")
    Image.new("RGB", (16, 64), (250, 0, 0)).save(root / "train/flux/narrow.png")
    (root / "train/flux/bad.png").write_bytes(b"no image")
    build_manifest("extra", root, tmp_path / "m", crop="raw-256", workers=0)
    for arguments, drawn in (
        ((tmp_path / "one.png",), {"one.png", "one-refused.png"}),
        ((tmp_path / "both", "--audit"), {"faces.png", "refused.png"}),
    ):
        result = run("--manifest", tmp_path / "m", "--contact-sheet", *arguments, "--refused", root)
        assert result.exit_code == 0, result.output
        places = [Path(line.split("  ")[-1]) for line in result.stdout.splitlines() if line.startswith("contact sheet")]
        assert {path.name for path in places} >= drawn
        sheet = next(path for path in places if path.name.endswith("refused.png"))
        colours = {tuple(pixel) for pixel in np.array(Image.open(sheet)).reshape(-1, 3)[::7]}
        assert {(250, 0, 0), (211, 211, 211)} <= colours  # the narrow one, and a grey square for the other
    for arguments, words in (
        (("--refused", root), "--refused needs --contact-sheet"),
        (("--contact-sheet", tmp_path / "x.png", "--refused", root, "--refused", root), "2 folders for 1 manifests"),
    ):
        result = run("--manifest", tmp_path / "m", *arguments)
        assert result.exit_code == 1
        assert words in result.stderr


def test_refused_rows_that_lead_out_of_the_source_are_not_followed(tmp_path: Path):
    Image.new("RGB", (64, 64), (250, 0, 0)).save(tmp_path / "secret.png")
    rows = [toy_row("synthetic", "real", "train", n, 0) for n in range(2)]
    lost = {"status": "too_small", "image": None, "crop_sha256": None, "origin": "../secret.png"}
    rows.append(toy_row("synthetic", "real", "train", 2, 0, **lost))
    manifest = write_manifest(tmp_path / "m", "synthetic", rows)
    (tmp_path / "root").mkdir()
    sheet = refused_sheet([manifest], [tmp_path / "root"], tmp_path / "sheet.png")
    assert (250, 0, 0) not in {tuple(pixel) for pixel in np.array(Image.open(sheet)).reshape(-1, 3)}


def test_deep_compares_pixels(folder: Path):
    plain, deep = run("--manifest", folder), run("--manifest", folder, "--deep")
    assert (plain.exit_code, deep.exit_code) == (0, 0)
    assert "pixels were not decoded (--deep)" in " ".join(plain.stdout.split())
    assert "every crop has the pixels of its row" in " ".join(deep.stdout.split())
    assert run("--deep", "--protocol", "synthetic").exit_code == 1
