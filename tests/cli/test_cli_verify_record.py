from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result
from helpers.runs import resealed
from helpers.toy import RECIPE, toy_manifests, toy_protocol, toys_registered
from helpers.training import run_robustness, run_training

from dfad_bench.cli.main import dfad
from dfad_bench.core.record import read_record, write_record
from dfad_bench.report.robustness.scores import build_robustness
from dfad_bench.report.run_record import build_record

EARLIER = Path(__file__).parents[1] / "fixtures" / "earlier_run"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("verify")
    manifests = toy_manifests(folder)
    with toys_registered():
        run_training("toy", toy_protocol(), manifests, folder / "run", recipe=replace(RECIPE, epochs=1), device="cpu")
        build_record(folder / "run", resamples=50)
        found = run_robustness(folder / "run", manifests, names=["contrast"], severities=[3], device="cpu", workers=1)
        build_robustness(found.out, resamples=20)
        yield folder / "run"


def verify(*arguments: str | Path) -> Result:
    return CliRunner().invoke(dfad, ["verify-record", *map(str, arguments)])


def test_a_real_run_agrees_in_numbers_hashes_and_rows(run: Path) -> None:
    result = verify("--run", run)
    assert result.exit_code == 0, result.output
    assert "numbers and hashes agree" in result.stdout
    values = json.loads(verify("--record", run / "record.json", "--json").stdout)
    assert values["differences"] == []
    assert values["notes"] == []  # checkpoint, settings, facts and selection lie beside it: nothing is left out


def test_evaluations_say_which_faces_they_selected(run: Path) -> None:
    for record in (*run.glob("evaluations/*/record.json"), *run.glob("evaluations/*/robustness-*/robustness.json")):
        values = json.loads(verify("--record", record, "--json").stdout)
        assert values["differences"] == [], record
        assert not any("selection" in note for note in values["notes"]), record


def test_a_changed_number_or_file_ends_with_4_and_its_name(run: Path) -> None:
    record = read_record(run / "record.json")
    place = next(i for i, m in enumerate(record.metrics) if (m.metric, m.subset) == ("seen_accuracy", "seen"))
    try:
        write_record(run / "record.json", resealed(record, {("metrics", str(place), "value"): 1.0}))
        result = verify("--run", run)
        assert result.exit_code == 4
        assert "seen_accuracy of seen" in result.stderr
        assert "Differs" in result.stdout
    finally:
        write_record(run / "record.json", record)
    changes = {"manifest.splits.train.content_sha256": "0" * 64, "run.config.recipe.epochs": 99}
    for name, value in changes.items():
        try:
            write_record(run / "record.json", resealed(record, {name: value}))
            found = json.loads(verify("--run", run, "--json").stdout)["differences"]
            assert {"manifest.splits.train.content_sha256", "run.config_sha256"} & {d["name"] for d in found}
        finally:
            write_record(run / "record.json", record)
    weights = run / "checkpoint" / "model.safetensors"
    before = weights.read_bytes()
    try:
        weights.write_bytes(before[:-1] + b"x")
        assert "model.checkpoint_sha256" in verify("--run", run).stderr
    finally:
        weights.write_bytes(before)
    assert verify("--run", run).exit_code == 0


@pytest.mark.parametrize("name", ["config.yaml", "trace.csv", "selection.parquet", "checkpoint/model.json"])
def test_an_edited_file_of_the_run_is_named(run: Path, name: str) -> None:
    before = (run / name).read_bytes()
    try:
        if name == "selection.parquet":
            pd.read_parquet(run / name).iloc[::-1].to_parquet(run / name)
        else:
            (run / name).write_bytes(before.replace(b"\n", b"\n\n", 1))
        result = verify("--run", run)
        assert result.exit_code == 4
        assert f"run.files.{name}" in result.stderr
    finally:
        (run / name).write_bytes(before)
    assert verify("--run", run, "--strict").exit_code == 0


GONE = ["run.json", "config.yaml", "trace.csv", "selection.parquet", "checkpoint/model.safetensors"]


@pytest.mark.parametrize("name", GONE)
def test_a_deleted_file_of_the_run_is_said_and_refused_by_strict(run: Path, tmp_path: Path, name: str) -> None:
    before = (run / name).read_bytes()
    (run / name).unlink()
    try:
        result, strict = verify("--run", run), verify("--run", run, "--strict")
        said = {"run.json": "no run.json", "checkpoint/model.safetensors": "checkpoint is not beside"}.get(name, name)
        assert (result.exit_code, strict.exit_code) == (0, 4), strict.output
        assert said in result.stdout
        assert said in strict.stderr
        assert "not all could be checked" in strict.stderr
        assert len(strict.stderr.splitlines()) == 1
        assert any(said in text for text in json.loads(verify("--run", run, "--json").stdout)["unchecked"])
    finally:
        (run / name).write_bytes(before)


def test_what_earlier_versions_did_not_record_is_said(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(EARLIER, tmp_path / "run"))
    result = verify("--run", copy)
    assert result.exit_code == 0, result.output
    assert "config.yaml, trace.csv, model.json: not recorded" in result.stdout
    assert verify("--run", copy, "--strict").exit_code == 4
    settings = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(settings.replace("epochs: 1", "epochs: 7", 1).replace("seed: 0", "seed: 7", 1))
    assert (copy / "config.yaml").read_text() != settings
    result = verify("--run", copy)
    assert result.exit_code == 4  # what a record says of its settings is compared with the file
    assert "run.config." in result.stderr


def test_a_robustness_record_is_computed_again_too(run: Path) -> None:
    path = next(run.rglob("robustness.json"))
    assert json.loads(verify("--record", path, "--json").stdout)["differences"] == []
    record = read_record(path)
    place = next(i for i, m in enumerate(record.metrics) if m.params["severity"] == 3 and m.value is not None)
    write_record(path, resealed(record, {("metrics", str(place), "value"): 0.123}))
    result = verify("--record", path)
    assert result.exit_code == 4
    assert "corruption contrast, severity 3" in result.stderr
    write_record(path, record)


def test_wrong_use_is_explained(run: Path, tmp_path: Path) -> None:
    assert verify().exit_code == 2
    assert verify("--run", run, "--record", run / "record.json").exit_code == 2
    missing = verify("--run", tmp_path)
    assert missing.exit_code == 1
    assert "no such record" in missing.stderr


def test_scores_shows_every_table_and_draws_the_sweep(run: Path, tmp_path: Path) -> None:
    for table, text in (
        ("metrics", "prototype_retrieval"),
        ("groups", "synthetic/synthetic-flow-a"),
        ("sweep", "Seen kept and right"),
        ("confusion", "Unseen, taken for"),
    ):
        result = CliRunner().invoke(dfad, ["scores", "--run", str(run), "--table", table])
        assert result.exit_code == 0, result.output
        assert text in result.stdout
    for name in ("sweep.png", "sweep.svg"):
        drawn = CliRunner().invoke(dfad, ["scores", "--run", str(run), "--figure", str(tmp_path / name)])
        assert drawn.exit_code == 0, drawn.output
        assert (tmp_path / name).stat().st_size > 2000
    assert CliRunner().invoke(dfad, ["scores", "--run", str(tmp_path)]).exit_code == 1
    assert CliRunner().invoke(dfad, ["scores", "--run", str(run), "--figure", "x.gif"]).exit_code == 2


def test_scores_of_several_runs_are_told_apart(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = [tmp_path / side / "run" for side in "ab"]
    for copy in copies:
        copy.mkdir(parents=True)
        (copy / "record.json").write_bytes((run / "record.json").read_bytes())
    both = ["scores", "--run", str(copies[0]), "--run", str(copies[1])]
    drawn: list[str] = []
    monkeypatch.setattr("dfad_bench.report.figures.sweep.draw_sweep", lambda path, sweeps: drawn.extend(sweeps))
    result = CliRunner().invoke(dfad, [*both, "--figure", str(tmp_path / "sweep.png")])
    assert result.exit_code == 0, result.output
    assert drawn == [f"Toy, seed 0 ({copy})" for copy in copies]
    for format_ in (["--json"], ["--format", "csv"]):
        refused = CliRunner().invoke(dfad, [*both, *format_])
        assert refused.exit_code == 2
        assert "holds one run" in refused.stderr
    assert "given twice" in CliRunner().invoke(dfad, [*both[:3], "--run", both[2]]).stderr
