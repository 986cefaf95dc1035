"""`--include` before and after a command, DFAD_INCLUDE, and what `dfad list` says of the folders."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from dfad_bench.cli.main import COMMANDS, dfad
from dfad_bench.core.resources import INCLUDE, include
from dfad_bench.engine import launch

ROW = "gen_x: {display: Gen X, forgery: EFS, family: flow}\n"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "recipes").mkdir(parents=True)
    (folder / "taxonomy.yaml").write_text(ROW, encoding="utf-8")
    (folder / "recipes" / "slow.yaml").write_text("name: slow\nepochs: 500\n", encoding="utf-8")
    return folder


def run(*arguments: str | Path, **environment: str) -> Result:
    return CliRunner().invoke(dfad, [str(argument) for argument in arguments], env=environment)


def test_before_the_command_after_it_and_from_the_environment(mine: Path) -> None:
    listings = [
        run("--include", mine, "list", "recipes"),
        run("list", "recipes", "--include", mine),
        run("list", "--include", mine, "recipes"),
        run("--include", mine, "list", "recipes", "--include", mine),
        run("list", "recipes", **{INCLUDE: str(mine)}),
        run("--include", mine, "list", "recipes", **{INCLUDE: str(mine)}),
    ]
    for result in listings:
        assert result.exit_code == 0, result.output
        assert "slow" in result.stdout.splitlines()
    assert "slow" not in run("list", "recipes").stdout.splitlines()
    assert INCLUDE not in os.environ


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_it(name: str) -> None:
    assert "--include DIR" in run(name, "--help").output


def test_several_folders(mine: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "recipes").mkdir(parents=True)
    (other / "recipes" / "slower.yaml").write_text("name: slower\n", encoding="utf-8")
    for result in (
        run("--include", mine, "--include", other, "list", "recipes", "--long", "--json"),
        run("--include", mine, "list", "recipes", "--long", "--json", "--include", other),
        run("list", "recipes", "--long", "--json", **{INCLUDE: os.pathsep.join([str(mine), str(other)])}),
    ):
        rows = {row["name"]: row["origin"] for row in json.loads(result.stdout)["rows"]}
        assert (rows["slow"], rows["slower"], rows["quick"]) == (str(mine), str(other), "dfad_bench")


def test_training_processes_get_the_folders(mine: Path) -> None:
    with include(mine):
        assert launch._environment(0, 2, 1, 3)[INCLUDE] == str(mine)
    assert INCLUDE not in launch._environment(0, 2, 1, 3)


def test_a_bad_folder_is_one_line_whatever_the_command(mine: Path) -> None:
    (mine / "taxonomy.yaml").write_text("gen_x: {display: Gen X, forgery: EFS, famly: flow}\n", encoding="utf-8")
    for result in (
        run("--include", mine, "list", "models"),
        run("list", "models", "--include", mine),
        run("list", "models", **{INCLUDE: str(mine)}),
    ):
        assert result.exit_code == 1
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"Error: {mine / 'taxonomy.yaml'}: gen_x: unknown key 'famly'")
    missing = run("--include", mine / "nowhere", "list", "models")
    assert missing.exit_code == 1
    assert missing.stderr == f"Error: {mine / 'nowhere'}: no such folder to include\n"


def test_nothing_is_left_included_after_an_error(mine: Path) -> None:
    for line in (["list", "--include", mine, "nothing"], ["--include", mine, "list", "nothing"], ["--include", mine]):
        assert run(*line).exit_code == 2
        assert INCLUDE not in os.environ
    (mine / "taxonomy.yaml").write_text("- x\n", encoding="utf-8")
    for line in (["list", "models", "--include", mine], ["--include", mine, "list", "models"]):
        assert run(*line).exit_code == 1
        assert INCLUDE not in os.environ


def completions(*words: str) -> list[str]:
    complete = ShellComplete(dfad, {}, "dfad", "_DFAD_COMPLETE")
    return [item.value for item in complete.get_completions(list(words[:-1]), words[-1])]


def test_the_shell_completes_included_names(mine: Path) -> None:
    train = ("train", "--recipe", "s")
    assert completions(*train) == []
    assert completions("--include", str(mine), *train) == ["slow"]
    assert completions("--include", str(mine / "nowhere"), *train) == []
    assert INCLUDE not in os.environ


@pytest.mark.heavy
def test_the_doctor_reads_every_file(mine: Path) -> None:
    (mine / "recipes" / "bad.yaml").write_text("name: bad\nepoch: 1\n", encoding="utf-8")
    result = run("--include", mine, "doctor", "--json")
    rows = {row["name"]: row for row in json.loads(result.stdout)["findings"] if row["topic"] == "include"}
    assert {Path(name).name: row["level"] for name, row in rows.items()} == {
        "taxonomy.yaml": "ok", "slow.yaml": "ok", "bad.yaml": "problem",
    }  # fmt: skip
    hint = rows[str(mine / "recipes" / "bad.yaml")]["hint"]
    assert hint.startswith("unknown key 'epoch'; did you mean 'epochs'")  # the file is named beside it


def test_control_characters_of_a_file_do_not_reach_the_terminal(mine: Path) -> None:
    (mine / "weights.yaml").write_text('"\\e[2J": {file: x, origin: y, licence: z}\n', encoding="utf-8")
    result = CliRunner().invoke(dfad, ["--include", str(mine), "doctor"], color=True)
    assert result.exit_code == 1
    assert "\\x1b[2J: name" in result.output
    assert "\x1b" not in result.output


def test_unknown_names_offer_included_ones(mine: Path) -> None:
    (mine / "protocols").mkdir()
    text = "name: close_by\nversion: 1\ntitle: t\nseen: [{label: 0, generator: gen_x, dataset: d}]\n"
    (mine / "protocols" / "close_by.yaml").write_text(text, encoding="utf-8")
    result = run("leaderboard", "--protocol", "close_buy", "--include", mine)
    assert result.exit_code == 1
    assert "no protocol named 'close_buy'. Did you mean close_by?" in result.stderr
