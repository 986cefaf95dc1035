from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from helpers.runs import write_run
from helpers.toy import RECIPE, toy_manifests, toy_predictions, toy_protocol, toys_registered
from helpers.training import run_training

from dfad_bench.api.runs import leaderboards
from dfad_bench.cli.main import dfad
from dfad_bench.core.protocol import Group
from dfad_bench.core.resources import include
from dfad_bench.report.run_record import build_record


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("board")
    manifests = toy_manifests(folder)
    with toys_registered():
        for name in ("toy", "always_fake", "majority"):
            run_training(
                name, toy_protocol(), manifests, folder / "runs" / name, recipe=replace(RECIPE, epochs=1), device="cpu"
            )
            build_record(folder / "runs" / name)
        yield folder / "runs"


def leaderboard(*arguments: str | Path) -> Result:
    return CliRunner().invoke(dfad, ["leaderboard", *map(str, arguments)])


def test_a_protocol_of_a_folder_that_is_not_included_is_left_out(tmp_path: Path) -> None:
    own = tmp_path / "own" / "taxonomy.yaml"
    own.parent.mkdir()
    own.write_text("my_flow: {display: Mine, forgery: EFS, family: flow}\n", encoding="utf-8")
    protocol = toy_protocol()
    write_run(tmp_path / "runs" / "a", protocol, toy_predictions(protocol, 8), resamples=0)
    mine = replace(protocol, name="mine", unseen=(*protocol.unseen, Group("my_flow", "d")))
    with include(own.parent):
        write_run(tmp_path / "runs" / "b", mine, toy_predictions(mine, 8), resamples=0)
        assert set(leaderboards(tmp_path / "runs")) == {"toy", "mine"}
    boards = leaderboards(tmp_path / "runs")
    assert set(boards) == {"toy"}
    assert any("left out: protocol mine: " in note and "--include DIR" in note for note in boards["toy"].notes)
    result = leaderboard("--runs", tmp_path / "runs" / "b")
    assert result.exit_code == 1
    assert result.output.startswith("Error: left out: protocol mine: ")


@pytest.mark.heavy
def test_the_trained_constants_score_what_the_trivial_rows_say(runs: Path) -> None:
    result = leaderboard("--runs", runs, "--format", "json")
    assert result.exit_code == 0, result.output
    rows = {row["model"]: row for row in json.loads(result.stdout)["rows"]}
    for key in ("unseen_acc", "seen_acc", "oscr", "detection_acc", "balanced_acc", "detection_auc"):
        assert rows["always fake"][key] == pytest.approx(rows["always fake, never sure"][key]), key
    assert rows["majority"]["detection_acc"] == rows["majority class"]["detection_acc"]
    assert rows["Toy"]["rank"] == 1
    assert "rank" not in rows["always fake"]


@pytest.mark.heavy
def test_a_shipped_protocol_without_records_still_has_trivial_and_reported_rows() -> None:
    result = leaderboard("--protocol", "gazeclip-df40")
    assert result.exit_code == 0, result.output
    assert result.stdout.index("always fake") < result.stdout.index("GazeCLIP (Ours)")
    assert "90.00" in result.stdout


def test_written_to_a_file(runs: Path, tmp_path: Path) -> None:
    result = leaderboard("--runs", runs, "--format", "markdown", "--out", tmp_path / "board.md")
    assert (result.exit_code, result.stdout) == (0, "")
    assert (tmp_path / "board.md").read_text().startswith("## Toy (toy)")


def test_nothing_to_show_is_explained(tmp_path: Path) -> None:
    result = leaderboard("--runs", tmp_path)
    assert result.exit_code in (0, 1)  # shipped records, if there are any, are shown
    unknown = leaderboard("--protocol", "gazeclip-df4")
    assert unknown.exit_code == 1
    assert "Did you mean gazeclip-df40" in unknown.output
