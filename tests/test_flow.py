"""Manifest, training, prediction, score, record, table: the chain on synthetic faces, by the commands a user types."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from dfad_bench.cli.main import dfad
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.record import read_record
from dfad_bench.engine.config import read_config

FEW = ("gazeclip", "majority")  # one that needs a view and prompts, one without a parameter
ALL = ("xception", "gazeclip", "dna_det", "majority")


@pytest.fixture(scope="module", params=[FEW, pytest.param(ALL, marks=pytest.mark.heavy)], ids=len)
def models(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param


@pytest.fixture(scope="module")
def runs(models: tuple[str, ...], tiny_manifests: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs")
    sources = [argument for path in tiny_manifests for argument in ("--manifest", str(path))]
    for model in models:
        line = ["train", "--model", model, "--size", "tiny", "--protocol", "synthetic@1", "--recipe", "quick", *sources]
        line += ["--epochs", "1", "--device", "cpu", "--quiet", "--out", str(folder / model)]
        result = CliRunner().invoke(dfad, line)
        assert result.exit_code == 0, f"{model}: {result.output}"
    return folder


def test_every_run_ends_in_a_complete_record(runs: Path, models: tuple[str, ...]) -> None:
    protocol = load_protocol("synthetic@1")
    for model in models:
        record = read_record(runs / model / "record.json")
        assert record.status == "complete"
        assert set(record.groups) == {group.key for group in protocol.groups}
        frame = pd.read_parquet(runs / model / "predictions.parquet")
        assert len(frame) == record.samples.expected == sum(group.n for group in record.groups.values())
        rows = pd.read_parquet(runs / model / "selection.parquet")
        trained, tested = rows[rows["part"] != "test"], rows[rows["part"] == "test"]
        for column in ("source_key", "crop_sha256"):
            assert not set(trained[column]) & set(tested[column])


def test_gaze_was_estimated_for_the_model_that_needs_it(runs: Path, tiny_manifests: tuple[Path, Path]) -> None:
    assert read_config(runs / "gazeclip").views["estimator"] == "geometric"
    assert read_config(runs / "majority").views == {}
    assert list((tiny_manifests[0] / "tables").glob("gaze-geometric-*.parquet"))


def test_every_model_was_tested_on_the_same_faces(runs: Path, models: tuple[str, ...]) -> None:
    frames = [pd.read_parquet(runs / model / "predictions.parquet") for model in models]
    assert all(frame["sample_id"].tolist() == frames[0]["sample_id"].tolist() for frame in frames)


def test_numbers_follow_from_predictions_and_the_table_holds_them(runs: Path, models: tuple[str, ...]) -> None:
    for model in models:
        result = CliRunner().invoke(dfad, ["evaluate", "--run", str(runs / model), "--rescore"])
        assert result.exit_code == 0, result.output
    result = CliRunner().invoke(
        dfad, ["leaderboard", "--protocol", "synthetic", "--runs", str(runs), "--format", "json"]
    )
    assert result.exit_code == 0, result.output
    table = json.loads(result.stdout)
    measured = [row for row in table["rows"] if row["kind"] == "measured" and not row["trivial"]]
    assert sorted(row["rank"] for row in measured) == list(range(1, len(models)))
    assert [row["kind"] for row in table["rows"][:2]] == ["trivial", "trivial"]
    assert any("say nothing about real generators" in note for note in table["notes"])
