from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from helpers.runs import write_run
from helpers.toy import toy_predictions, toy_protocol

from dfad_bench.cli.main import dfad


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    for seed, name in enumerate("ab"):
        write_run(folder / name, toy_protocol(), toy_predictions(toy_protocol(), 20, seed), resamples=0)
    write_run(folder / "other", toy_protocol(seed=9), toy_predictions(toy_protocol(), 20), resamples=0)
    return folder


def compare(*arguments: str | Path) -> Result:
    return CliRunner().invoke(dfad, ["compare", *map(str, arguments)])


def test_table_and_json(runs: Path) -> None:
    pair = ("--run", runs / "a", "--run", runs / "b", "--resamples", 100)
    result = compare(*pair)
    assert result.exit_code == 0, result.output
    assert "attribution oscr, seen-vs-unseen" in result.stdout
    assert "Holm" in result.stdout
    values = json.loads(compare(*pair, "--json").stdout)
    assert (values["a"], values["faces"]) == ("Toy, seed 0", 100)
    assert len(json.loads(compare(*pair, "--json", "--all").stdout)["rows"]) > 3 * len(values["rows"])


def test_wrong_use_is_explained(runs: Path) -> None:
    one = compare("--run", runs / "a")
    assert (one.exit_code, "needed twice" in one.output) == (2, True)
    same = compare("--run", runs / "a", "--run", runs / "other" / ".." / "a")
    assert (same.exit_code, "twice" in same.output) == (2, True)
    other = compare("--run", runs / "a", "--run", runs / "other")
    assert other.exit_code == 1
    assert "other protocols" in other.output
