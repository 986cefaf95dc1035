from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from helpers.toy import RECIPE, toy_manifests, toy_protocol, toys_registered

from dfad_bench.cli.main import dfad
from dfad_bench.core.files import read_json, write_json
from dfad_bench.core.record import plain, read_record
from dfad_bench.engine.run import run_training
from dfad_bench.report.build import build_record


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
