"""`dfad sensitivity`: one run on faces of other crop profiles and qualities, as a record that is computed again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from helpers.toy import RECIPE, SEEN, UNSEEN, toy_protocol, toy_rows, toys_registered
from helpers.training import run_training

from dfad_bench.api.manifests import open_manifest
from dfad_bench.cli.main import dfad
from dfad_bench.core.record import read_record
from dfad_bench.data.images import decode_crop, encode_png
from dfad_bench.data.manifest import write_manifest

pytestmark = pytest.mark.heavy
QUALITY = ("--corruptions", "jpeg", "--severities", "5", "--workers", "0")


def crop(name: str, version: int = 1) -> dict[str, Any]:
    return {"crop": {"name": name, "version": version, "sha256": name[0] * 64, "size": 32}}


def manifests(folder: Path, name: str, change: Any = None, lost: int = 0, **info: Any) -> list[Path]:
    """The toy faces of one profile; `change` is done to their pixels, the last `lost` of each dataset are refused."""
    made = []
    for dataset, generators in (("synthetic", (*SEEN, *UNSEEN)), ("synthetic-outdoor", ("real",))):
        rows = toy_rows(dataset, generators)
        for row in rows if change is not None else ():
            pixels = change(decode_crop(row["image"]["bytes"]))
            row["image"] = {"bytes": encode_png(pixels), "path": None}
            row["crop_sha256"] = hashlib.sha256(pixels.tobytes()).hexdigest()
        for row in rows[len(rows) - lost :]:
            row |= {"status": "too_small", "reason": "small", "image": None, "crop_sha256": None}
        about = {**crop(name), **info}
        made.append(write_manifest(folder / name / dataset, dataset, rows, shard_size=64, info=about).folder)
    return made


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("sensitivity")
    mine = manifests(folder, "mine")
    manifests(folder, "dark", lambda pixels: (pixels * 0.5).astype(np.uint8), lost=2)
    with toys_registered():
        recipe = replace(RECIPE, epochs=2)
        opened = [open_manifest(path) for path in mine]
        run_training("toy", toy_protocol(), opened, folder / "run", recipe=recipe, device="cpu")
        yield folder


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(dfad, [*map(str, words)])


def sensitivity(work: Path, *words: str | Path, profiles: tuple[str, ...] = ("mine", "dark")) -> Result:
    given = [word for name in profiles for path in sorted((work / name).iterdir()) for word in ("--manifest", path)]
    return invoke("sensitivity", "--run", work / "run", *given, "--device", "cpu", "--quiet", *words)


@pytest.fixture(scope="module")
def result(work: Path) -> dict[str, Any]:
    found = sensitivity(work, *QUALITY, "--json")
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_one_table_of_crops_and_quality_on_common_faces(work: Path, result: dict[str, Any]) -> None:
    assert [about["condition"] for about in result["counts"]] == ["mine@1", "dark@1", "jpeg 5 (10)"]
    lost = result["counts"][1]["lost"]
    assert lost > 0
    assert result["faces"] == result["counts"][0]["faces"] - lost
    shown = sensitivity(work, *QUALITY)
    assert f"dark@1: {lost} of the faces the run was tested on are lost" in shown.stdout
    assert "Holds?" in shown.stdout
    assert "Record:" in shown.stderr


def test_each_profile_is_tested_under_a_protocol_that_names_it(work: Path, result: dict[str, Any]) -> None:
    record = read_record(work / "run" / Path(result["conditions"][0]["path"]).parent / "record.json")
    assert record.protocol.name == "toy-dark"
    assert record.protocol.config["crops"] == [{"dataset": None, "profiles": ["dark@1"]}]


def test_the_record_is_computed_again_and_an_edit_is_found(work: Path, result: dict[str, Any], tmp_path: Path) -> None:
    path = Path(result["path"])
    verified = invoke("verify-record", "--record", path)
    assert verified.exit_code == 0, verified.output
    assert "numbers and hashes agree" in verified.stdout
    copy = shutil.copytree(work / "run", tmp_path / "run")
    values = json.loads(path.read_text())
    row = next(row for row in values["rows"] if row["difference"])
    row["difference"] = -row["difference"]
    (copy / path.name).write_text(json.dumps(values))
    found = invoke("verify-record", "--record", copy / path.name)
    assert found.exit_code == 4
    assert "difference" in found.stderr
    (copy / path.name).write_bytes(path.read_bytes())
    (copy / values["conditions"][0]["path"]).unlink()
    assert invoke("verify-record", "--record", copy / path.name).exit_code == 4
    again = invoke("verify-record", "--record", path, "--repredict", "--manifest", work / "mine" / "synthetic")
    assert again.exit_code == 1
    assert "holds numbers of several evaluations" in again.stderr


@pytest.mark.parametrize("path", ["../../../etc/passwd", "/etc/passwd"])
def test_a_record_of_strangers_reads_nothing_outside_its_run(result: dict[str, Any], tmp_path: Path, path: str) -> None:
    values = {key: value for key, value in result.items() if key != "path"}
    values["learnt"] = {**values["learnt"], "path": path}
    file = tmp_path / "sensitivity-00000000.json"
    file.write_text(json.dumps(values))
    found = invoke("verify-record", "--record", file)
    assert found.exit_code in (1, 4)
    assert found.stderr.count("\n") == 1


def test_nothing_that_is_stored_is_predicted_again(work: Path, result: dict[str, Any]) -> None:
    files = [*(work / "run").rglob("predictions.parquet"), *(work / "run").rglob("cells/*.parquet")]
    before = {path: path.stat().st_mtime_ns for path in files if "robustness" not in path.parent.name}
    again = sensitivity(work, *QUALITY, "--json")
    assert json.loads(again.stdout) == result
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    ("profiles", "words", "expected"),
    [
        (("dark",), QUALITY, "none of the manifests (dark@1) is cropped by mine version 1"),
        (("mine",), ("--corruptions", "none"), "nothing to compare with mine@1; give manifests of other crop profiles"),
        (("mine", "dark"), ("--corruptions", "jpg"), "did you mean"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    work: Path, profiles: tuple[str, ...], words: tuple[str, ...], expected: str
) -> None:
    found = sensitivity(work, *words, profiles=profiles)
    assert found.exit_code == 1
    assert expected.lower() in found.stderr.lower()
    assert found.stderr.strip().count("\n") == 0


def test_a_profile_whose_manifests_lack_a_dataset_is_refused(work: Path, tmp_path: Path) -> None:
    manifests(tmp_path, "half")
    shutil.rmtree(tmp_path / "half" / "synthetic-outdoor")
    found = sensitivity(work, "--corruptions", "none", "--manifest", tmp_path / "half" / "synthetic")
    assert found.exit_code == 1
    assert "toy-half lacks 1 of" in found.stderr


@pytest.mark.parametrize("name", ["../up", "a b", "x" * 300, "two\nlines"])
def test_a_profile_of_strangers_gives_no_folder_its_name(work: Path, tmp_path: Path, name: str) -> None:
    folder = manifests(tmp_path, "odd", **crop(name))
    found = sensitivity(work, "--corruptions", "none", "--manifest", folder[0], "--manifest", folder[1])
    assert found.exit_code == 1
    assert "has no usable name" in found.stderr
    assert found.stderr.strip().count("\n") == 0
