"""A finished run of an earlier version (see tests/fixtures) opens, verifies and renders as it did."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from dfad_bench.cli.main import dfad
from dfad_bench.core.files import read_json
from dfad_bench.core.record import read_record
from dfad_bench.engine.config import read_config

STORED = Path(__file__).resolve().parents[1] / "fixtures" / "earlier_run"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STORED, tmp_path / "xception"))


def test_settings_hash_as_they_did(run: Path) -> None:
    assert read_config(run).sha256 == read_json(run / "run.json")["run"]["config_sha256"]


def test_every_number_still_follows_from_the_predictions(run: Path) -> None:
    result = CliRunner().invoke(dfad, ["verify-record", "--run", str(run)])
    assert result.exit_code == 0, result.output


def test_it_is_checked_by_its_own_rule_and_rescored_by_todays(run: Path) -> None:
    assert (
        "made by the earlier rule of intervals" in CliRunner().invoke(dfad, ["verify-record", "--run", str(run)]).output
    )
    assert CliRunner().invoke(dfad, ["evaluate", "--run", str(run), "--rescore"]).exit_code == 0
    record = read_record(run / "record.json")
    assert record.schema_version == "1.2"
    assert "bootstrap_stratified" not in {value.ci_method for value in record.metrics}
    assert CliRunner().invoke(dfad, ["verify-record", "--run", str(run)]).exit_code == 0


def test_a_changed_prediction_is_still_found(run: Path) -> None:
    import pandas as pd

    frame = pd.read_parquet(run / "predictions.parquet")
    frame.loc[0, "p_fake"] = 1 - frame.loc[0, "p_fake"]
    frame.to_parquet(run / "predictions.parquet")
    assert CliRunner().invoke(dfad, ["verify-record", "--run", str(run)]).exit_code == 4


def test_the_leaderboard_renders_equal(run: Path) -> None:
    arguments = ["leaderboard", "--protocol", "synthetic", "--runs", str(run.parent), "--format", "json"]
    result = CliRunner().invoke(dfad, arguments)
    assert result.exit_code == 0, result.output
    now, then = json.loads(result.stdout), json.loads((STORED / "board.json").read_text(encoding="utf-8"))
    assert now["title"] == then["title"]
    for mine, before in zip(now["rows"], then["rows"], strict=True):  # rows may say more than they did
        same = {key: mine[key] for key in before if key != "ranks"}
        assert same == pytest.approx({key: value for key, value in before.items() if key != "ranks"})
    assert now["rows"][-1]["ranks"] == "1†"  # one seed
    assert now["rows"][-1]["protocol_is"] == "shipped"  # in a version of its own since then
    assert set(then["notes"][-2:]) <= set(now["notes"])  # what the notes before say of the columns may be put otherwise


@pytest.mark.heavy
def test_its_weights_still_give_the_predictions_that_were_stored(run: Path, tmp_path: Path) -> None:
    """Faces were predicted one group after another then, in a mixed order now."""
    import pandas as pd

    def command(*words: str | Path) -> None:
        result = CliRunner().invoke(dfad, [*map(str, words), "--quiet"])
        assert result.exit_code == 0, result.output

    command("synthesize", "--per-group", "16", "--seed", "0", "--out", tmp_path / "faces")
    both = [tmp_path / name for name in ("synthetic", "synthetic-outdoor")]
    for out in both:
        command("build-manifest", "--dataset", out.name, "--root", tmp_path / "faces", "--out", out, "--workers", "1")
    command("evaluate", "--run", run, "--manifest", both[0], "--manifest", both[1], "--device", "cpu")
    now = pd.read_parquet(next(run.glob("evaluations/*/predictions.parquet"))).set_index("sample_id")
    then = pd.read_parquet(run / "predictions.parquet").set_index("sample_id")
    assert now.index.tolist() == then.index.tolist()
    columns = [name for name in then if name.startswith("p_")]
    assert float((now[columns] - then[columns]).abs().max().max()) < 1e-4
