"""`dfad reproduce`: plans that a shell takes, one-line refusals, tables made end to end on drawn faces."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner, Result
from helpers.toy_tables import TABLE, toy_tables_included

from dfad_bench.cli.main import dfad
from dfad_bench.cli.reproduce import duration


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(dfad, ["reproduce", *map(str, arguments)])


def test_each_line_of_a_plan_is_a_training_or_a_comment(tmp_path: Path) -> None:
    with toy_tables_included(tmp_path / "mine"):
        result = invoke(TABLE, "--plan", "--no-measure", "--seeds", "0,1", "--recipe", "toy_one", "--quiet")
        assert result.exit_code == 0, result.output
        lines = result.stdout.splitlines()
        commands = [line for line in lines if not line.startswith("#")]
        assert len(commands) == 2
        train = dfad.get_command(click.Context(dfad), "train")
        assert train is not None
        for line in commands:
            words = shlex.split(line, comments=True)
            assert words[:2] == ["dfad", "train"]
            train.make_context("train", words[2:])
            assert "faces, " in line.partition("#")[2]
        plain = json.loads(invoke(TABLE, "--plan", "--no-measure", "--json", "--quiet").stdout)
    assert [run["row"] for run in plain["runs"]] == ["Toy [1]", "Wide toy"]
    assert "# not trained: Nobody [2]: nobody is not a model here yet" in lines
    assert any(line.startswith("# lacks faces of synthetic: real, synthetic-gan-a") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["XIV"], "no table named 'XIV'"),
        (["4"], "no table named '4'"),
        (["gazeclip-figure-01"], "consists of no runs of its own: use `dfad gaze-fid"),
        (["bmrl-2"], "consists of no runs of its own: an image in the paper"),
        (["bmrl-5", "--view", "parsing.folder=nowhere"], "label maps in nowhere: no such folder"),
        (["bmrl-5"], "no row can be trained here: label maps of a face parser"),
        (["IX", "--size", "tiny", "--model", "clip"], "needs --manifest: faces of celeba_hq, genface, ffhq, df40"),
        (["IV", "--model", "clip"], "no model in gazeclip-table-04 named 'clip'"),
        (["IV", "--weights", "clip"], "'clip' is not MODEL=FILE"),
        (["IV", "--protocol", "nothing"], "no protocol named 'nothing'"),
        (["IX", "--size", "tiny", "--model", "clip", "--collect"], "holds no finished run of this table"),
    ],
)
def test_a_refusal_is_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = invoke(*arguments, "--quiet", "--out", tmp_path)
    assert result.exit_code in (1, 2)
    assert message in result.output
    assert "Traceback" not in result.output


def test_table_one_is_rendered_without_any_run() -> None:
    shown = invoke("I", "--format", "markdown").stdout
    assert shown.startswith("## GazeCLIP, Table I")
    assert "| unseen | df40 | EFS | gan | VQGAN |" in shown


def test_durations_are_in_the_unit_that_suits_them() -> None:
    assert [duration(s) for s in (0.2, 59, 3000, 3600 * 3, 86400 * 30)] == [
        "1 s",
        "59 s",
        "50 min",
        "3.0 h",
        "30.0 days",
    ]


@pytest.mark.heavy
@pytest.mark.parametrize(("table", "rows"), [("IV", 3), ("X", 3)])
def test_a_table_is_made_end_to_end(
    table: str, rows: int, tiny_manifests: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    torch.set_num_threads(1)
    out = tmp_path_factory.getbasetemp() / "reproduced"  # both tables have the full model in it, trained once
    line = [table, "--size", "tiny", "--recipe", "quick", "--epochs", 1, "--protocol", "synthetic@1", "--device", "cpu"]
    line += [part for path in tiny_manifests for part in ("--manifest", path)]
    result = invoke(*line, "--out", out, "--quiet", "--json")
    assert result.exit_code == 0, result.output
    made = json.loads(result.stdout)
    measured = [row for row in made["rows"] if row["kind"] == "measured"]
    assert len(measured) == rows == len([row for row in made["rows"] if row["kind"] == "printed"])
    assert all(row[f"c{place}"] is not None for row in measured for place in range(3))
    assert any("size tiny" in note and note.startswith("No difference") for note in made["notes"])
    assert {path.name for path in out.iterdir() if path.is_dir()} >= {"gazeclip"}
    again = invoke(*line, "--out", out, "--quiet", "--json")
    assert json.loads(again.stdout)["rows"] == made["rows"]
    if table == "X":
        assert [row["c3"] is not None for row in measured] == [True] * 3  # parameters of each model


@pytest.mark.heavy
def test_a_plan_measures_memory_and_time_of_each_model(tiny_manifests: tuple[Path, Path], tmp_path: Path) -> None:
    line = [
        "IX",
        "--plan",
        "--size",
        "tiny",
        "--recipe",
        "quick",
        "--protocol",
        "synthetic",
        "--device",
        "cpu",
        "--json",
    ]
    line += [str(part) for path in tiny_manifests for part in ("--manifest", path)]
    plan = json.loads(invoke(*line, "--model", "clip", "--out", tmp_path, "--quiet").stdout)
    assert len(plan["runs"]) == 2
    assert plan["device"] == "cpu"
    for run in plan["runs"]:
        assert run["seconds"] > 0
        assert 2**26 < run["memory_bytes"] < 2**34
