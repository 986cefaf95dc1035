from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from helpers.toy import RECIPE, toy_manifests, toy_protocol, toy_rows, toys_registered
from helpers.training import run_training

from dfad_bench.cli.main import dfad
from dfad_bench.core.files import read_json, write_json
from dfad_bench.core.record import plain, read_record
from dfad_bench.data.manifest import write_manifest
from dfad_bench.report.run_record import build_record

SCHEMA = resources.files("dfad_bench.core") / "result_record.schema.json"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("evaluate")
    manifests = toy_manifests(folder)
    with toys_registered():
        run_training("toy", toy_protocol(), manifests, folder / "run", recipe=replace(RECIPE, epochs=1), device="cpu")
        build_record(folder / "run")
        yield folder


def evaluate(work: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(dfad, ["evaluate", "--run", str(work / "run"), *map(str, arguments)])


def test_without_manifests_the_record_is_checked_and_marked(work: Path) -> None:
    result = evaluate(work)
    assert result.exit_code == 0, result.output
    assert "follows from the predictions" in result.stderr
    assert read_record(work / "run" / "record.json").source.trust == "recomputed"


def test_manifests_of_other_datasets_are_named_as_given(work: Path) -> None:
    other = write_manifest(work / "flowers", "flowers", toy_rows("flowers", ["real"]))
    for partial in ((), ("--allow-partial",)):
        result = evaluate(work, "--manifest", other.folder, "--device", "cpu", *partial)
        assert result.exit_code == 1
        assert "given are flowers, with no face to test" in result.stderr


def test_another_protocol_of_the_same_classes(work: Path) -> None:
    other = replace(toy_protocol(unseen=toy_protocol().unseen[1:], test_per_group=5), name="fewer")
    (work / "fewer.yaml").write_text(yaml.safe_dump(plain(other)))
    result = evaluate(
        work,
        "--protocol",
        work / "fewer.yaml",
        "--manifest",
        work / "synthetic",
        "--device",
        "cpu",
        "--quiet",
        "--json",
    )
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["protocol"]["name"] == "fewer"
    assert {key: group["n"] for key, group in record["groups"].items()} == dict.fromkeys(
        (g.key for g in other.groups), 5
    )
    assert record["model"] == read_json(work / "run" / "record.json")["model"]


def test_a_forged_record_ends_with_4(work: Path) -> None:
    raw = read_json(work / "run" / "record.json")
    forged = json.loads(json.dumps(raw))
    forged["metrics"][0]["value"] = 1.0
    write_json(work / "run" / "record.json", forged)
    try:
        result = evaluate(work, "--rescore")
        assert result.exit_code == 4
        assert "changed after it was written" in result.output
    finally:
        write_json(work / "run" / "record.json", raw)


def test_wrong_use_is_explained(work: Path) -> None:
    assert evaluate(work, "--protocol", "synthetic").exit_code == 2
    missing = CliRunner().invoke(dfad, ["evaluate", "--run", str(work)])
    assert missing.exit_code == 1
    assert "not the folder of a finished run" in missing.output


def corrupted(work: Path, *arguments: str | Path) -> Result:
    manifests = [part for name in ("synthetic", "synthetic-outdoor") for part in ("--manifest", str(work / name))]
    common = ["--corruptions", "jpeg,contrast", "--severities", "1,5", "--device", "cpu", "--workers", "0", "--quiet"]
    command = ["evaluate", "--run", str(work / "run"), *manifests, *common, *map(str, arguments)]
    return CliRunner().invoke(dfad, command)


@pytest.mark.heavy
def test_corruptions_leave_a_record_a_grid_and_curves(work: Path) -> None:
    result = corrupted(work, "--json", "--keep-images", work / "kept")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    measured = [(row["corruption"], row["severity"]) for row in rows if row["run"] == "Toy"]
    assert measured == [
        ("none", "0"),
        *(("Contrast", level) for level in ("1", "5", "mean")),
        *(("JPEG *", level) for level in ("1", "5", "mean")),
        ("all as in the papers", "mean"),
    ]
    (folder,) = (work / "run").glob("evaluations/*/robustness-*")
    names = {path.name for path in folder.iterdir()}
    assert names >= {"robustness.json", "robustness.csv", "robustness.md", "robustness-auroc.svg", "settings.json"}
    record = read_record(folder / "robustness.json")
    jsonschema.validate(read_json(folder / "robustness.json"), json.loads(SCHEMA.read_text()))
    value = record.metric("auroc", "seen-vs-unseen", task="robustness", corruption="jpeg", severity=5)
    shown = next(row for row in rows if (row["corruption"], row.get("severity")) == ("JPEG *", "5"))
    assert value is not None
    assert value.value == shown["auroc"]
    assert (value.params["strength"], value.params["of"]) == (10, "attribution")
    assert len(list((work / "kept" / "jpeg-5").glob("*.png"))) == record.samples.evaluated
    again = corrupted(work, "--by-group", "--format", "csv")
    assert again.exit_code == 0, again.output
    assert "4 of 4 cells were finished before" in again.stderr
    assert again.stdout.startswith("run,corruption,severity,strength,group,of,metric")
    rescored = evaluate(work, "--rescore")
    assert rescored.exit_code == 0
    assert f"{folder.name}: the record follows" in rescored.stderr
    assert read_record(folder / "robustness.json").source.trust == "recomputed"


@pytest.mark.heavy
def test_several_runs_share_table_and_curves(work: Path) -> None:
    shutil.copytree(work / "run", work / "twin", dirs_exist_ok=True)
    result = corrupted(work, "--run", work / "twin", "--out", work / "both", "--format", "markdown")
    assert result.exit_code == 0, result.output
    assert "| *Toy, seed 0 (run)* |" in result.stdout  # the same model and seed: told apart by folder
    assert "| *Toy, seed 0 (twin)* |" in result.stdout
    drawn = (work / "both" / "robustness-auroc.svg").read_text()
    assert all(
        label in drawn for label in ("<!-- Toy, seed 0 (run) -->", "<!-- Toy, seed 0 (twin) -->", "<!-- Contrast -->")
    )
    assert "several --run need --out" in corrupted(work, "--run", work / "twin").output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--corruptions", "jepg"], 1, "Did you mean jpeg"),
        (["--corruptions", "all,blur", "--severities", "7"], 1, "severities 1 to 5, not 7"),
        (["--severities", "1;2"], 2, "whole numbers with commas"),
        (["--rescore"], 2, "no --rescore"),
        (["--corruptions-file", "no.yaml"], 1, "no such file"),
    ],
)
def test_wrong_corruptions_are_one_line(work: Path, arguments: list[str], code: int, message: str) -> None:
    result = corrupted(work, *arguments)
    assert result.exit_code == code
    assert message in result.output
    assert "Traceback" not in result.output


def test_corruptions_need_faces(work: Path) -> None:
    assert "needs --manifest" in evaluate(work, "--corruptions", "all").output
    assert "several --run need --corruptions" in evaluate(work, "--run", work / "run", "--rescore").output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--severities", "1"], "--severities needs --corruptions"),
        (["--seed", "0"], "--seed needs --corruptions"),
        (["--by-group"], "--by-group needs --corruptions"),
        (["--format", "csv"], "--format needs --corruptions"),
        (["--out", "somewhere"], "--out needs --corruptions"),
        (["--device", "cpu"], "--device needs --manifest"),
        (["--allow-partial"], "--allow-partial needs --manifest"),
        (["--protocol", "synthetic"], "--protocol needs --manifest"),
        (["--rescore", "--manifest", "somewhere"], "--rescore takes no --manifest"),
        (["--corruptions", ","], "nothing is named"),
    ],
)
def test_options_that_would_change_nothing_are_refused(work: Path, arguments: list[str], says: str) -> None:
    result = evaluate(work, *arguments)
    assert result.exit_code == 2
    assert says in result.stderr
