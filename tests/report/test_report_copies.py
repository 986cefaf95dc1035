"""Boards that somebody tries to fool: doctored copies, doubled seeds, other versions, claims of trust."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.runs import resealed, write_run
from helpers.toy import toy_predictions, toy_protocol

from dfad_bench.api.runs import leaderboard
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import content_hash, read_json, write_json
from dfad_bench.core.record import plain, read_record, write_record
from dfad_bench.core.run_parquet import write_predictions
from dfad_bench.core.version import __version__
from dfad_bench.report.board_checks import Check, note_check
from dfad_bench.report.copies import agree
from dfad_bench.report.leaderboard import board
from dfad_bench.report.repredicted import Repredicted
from dfad_bench.report.run_record import build_record
from dfad_bench.report.table import Table
from dfad_bench.report.verify import verify_record

PROTOCOL = toy_protocol()


@pytest.fixture(autouse=True)
def _own_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFAD_CHECKS", str(tmp_path / "checks"))
    monkeypatch.setattr("dfad_bench.engine.config.config_from", lambda config, where: _Config(config))


class _Config:
    """The settings of runs made from predictions: no model, no recipe."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.sha256 = content_hash(config)


def honest(folder: Path, draw: int = 0, **changes: Any) -> Path:
    write_run(folder, PROTOCOL, toy_predictions(PROTOCOL, 20, draw), resamples=20, **changes)
    return folder


def run_of(seed: int = 0, config: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """`run` facts."""
    config = {"model": "toy", "seed": seed} if config is None else config
    return {
        "run_id": "r", "seed": seed, "config_sha256": content_hash(config), "precision": "fp32", "world_size": 1,
        "steps": 7, "resumed": 0, "config": config, **changes,
    }  # fmt: skip


def doctor_numbers(folder: Path) -> None:
    """Better numbers in the record, with a hash that fits; predictions as they were."""
    record = read_record(folder / "record.json")
    better = [replace(m, value=0.99, ci95=(0.98, 1.0)) if m.metric == "oscr" else m for m in record.metrics]
    changes = {"metrics": plain(tuple(better)), "source.trust": "reproduced"}
    write_record(folder / "record.json", resealed(record, changes))


def doctor_predictions(folder: Path) -> None:
    """Better predictions, and all that follows from them."""
    frame = toy_predictions(PROTOCOL, 20, 0)
    right = frame["attribution_label"].to_numpy()[:, None] == np.arange(PROTOCOL.num_generators)
    sure = np.where(right, 0.98, 0.01)
    sure[frame["attribution_label"] < 0] = 1 / PROTOCOL.num_generators
    frame = frame.assign(**{f"p_{k}": sure[:, k] for k in range(PROTOCOL.num_generators)})
    facts = read_json(folder / "run.json")
    facts["predictions"]["sha256"] = write_predictions(folder / "predictions.parquet", frame)
    write_json(folder / "run.json", facts)
    build_record(folder, resamples=20)


def predicted_again(folder: Path) -> None:
    """What `verify-record --repredict` notes of an honest run."""
    found = verify_record(folder, config_hash=content_hash)
    note_check(replace(found, repredicted=(Repredicted(100, True, 0.0, 1e-4),)))


def shown(runs: Path) -> tuple[list[dict[str, Any]], Table]:
    table = leaderboard(PROTOCOL, runs)
    return [dict(row) for row in table.rows if row["kind"] == "measured"], table


def oscr(folder: Path) -> float | None:
    value = read_record(folder / "record.json").metric("oscr", "seen-vs-unseen")
    return None if value is None else value.value


def conflict(table: Table) -> str:
    (line,) = [note for note in table.notes if "records with other numbers" in note]
    return line


def test_a_doctored_record_does_not_replace_the_honest_run(tmp_path: Path) -> None:
    mine, theirs = honest(tmp_path / "runs" / "b"), tmp_path / "runs" / "a"  # the first path won
    shutil.copytree(mine, theirs)
    doctor_numbers(theirs)
    (row,), table = shown(tmp_path / "runs")
    assert (row["oscr"], row["checked"], row["rank"]) == (oscr(mine), "follows", 1)
    assert f"{theirs} (does not follow)" in conflict(table)
    assert f"shown is {mine}" in conflict(table)


def test_edited_predictions_dispute_the_run_until_it_is_predicted_again(tmp_path: Path) -> None:
    mine, theirs = honest(tmp_path / "runs" / "b"), tmp_path / "runs" / "a"
    shutil.copytree(mine, theirs)
    doctor_predictions(theirs)
    assert oscr(theirs) > oscr(mine)
    (row,), table = shown(tmp_path / "runs")
    assert (row.get("rank"), row["settled"]) == (None, False)
    assert "not ranked: `dfad verify-record --repredict` finds" in conflict(table)
    assert "complete, disputed" in table.render("markdown")
    predicted_again(mine)
    (row,), table = shown(tmp_path / "runs")
    assert (row["oscr"], row["checked"], row["rank"]) == (oscr(mine), "repredicted", 1)
    assert str(theirs) in conflict(table)


def test_claims_alone_are_said_and_two_that_differ_are_not_ranked(tmp_path: Path) -> None:
    mine, theirs = honest(tmp_path / "runs" / "b"), tmp_path / "runs" / "a"
    (mine / "predictions.parquet").unlink()
    (row,), table = shown(tmp_path / "runs")
    assert (row["checked"], row["rank"]) == ("claimed", 1)
    assert "claimed (no predictions.parquet beside the record)" in "".join(table.notes)
    shutil.copytree(mine, theirs)
    doctor_numbers(theirs)
    (row,), table = shown(tmp_path / "runs")
    assert row.get("rank") is None
    assert "2 records with other numbers" in conflict(table)


def test_a_record_that_does_not_follow_is_never_ranked_and_enters_no_mean(tmp_path: Path) -> None:
    for seed in range(3):
        honest(tmp_path / "runs" / str(seed), seed, run=run_of(seed))
    doctor_numbers(tmp_path / "runs" / "1")
    rows, table = shown(tmp_path / "runs")
    assert [(row["seeds"], row.get("rank"), row["checked"]) for row in rows] == [
        (2, 1, "follows"),
        (1, None, "contradicted"),
    ]
    assert any("does not follow (metrics: oscr" in note for note in table.notes)


def test_what_a_record_says_of_its_trust_is_a_claim(tmp_path: Path) -> None:
    folder = honest(tmp_path / "runs" / "a")
    record = read_record(folder / "record.json")
    write_record(folder / "record.json", resealed(record, {"source.trust": "reproduced"}))
    assert shown(tmp_path / "runs")[0][0]["checked"] == "follows"
    table = board(PROTOCOL, [read_record(folder / "record.json")])
    assert table.rows[-1]["checked"] == "claimed"
    (folder / "check.json").write_text('{"form": 1, "level": "repredicted"}')  # nothing beside a record is believed
    assert shown(tmp_path / "runs")[0][0]["checked"] == "follows"


def test_a_noted_check_is_not_believed_of_other_predictions_or_records(tmp_path: Path) -> None:
    folder = honest(tmp_path / "runs" / "a")
    predicted_again(folder)
    assert shown(tmp_path / "runs")[0][0]["checked"] == "repredicted"
    doctor_predictions(folder)
    assert shown(tmp_path / "runs")[0][0]["checked"] == "follows"
    (note,) = [path for path in (tmp_path / "checks").iterdir() if "repredicted" in path.read_text()]
    for text in ("{", '{"form": 99, "level": "repredicted"}', '{"form": 1, "level": "trusted"}', "[]"):
        note.write_text(text)
        shown(tmp_path / "runs")  # one bad note breaks no board


def test_one_seed_with_other_settings_is_named_not_averaged(tmp_path: Path) -> None:
    """Two records of seed 0 whose settings differ in what no row shows were a mean of 'Seeds 1'."""
    longer = {"model": "toy", "seed": 0, "extended": [{"from_epochs": 1}]}
    runs = [honest(tmp_path / "runs" / "a", 0), honest(tmp_path / "runs" / "b", 7, run=run_of(0, longer))]
    (row,), table = shown(tmp_path / "runs")
    assert (row["seeds"], row["oscr"], row.get("rank")) == (1, min(oscr(run) or 0 for run in runs), None)
    assert "Toy, seed 0: 2 records with other numbers" in conflict(table)


def test_settings_that_are_not_stated_are_no_seeds_of_each_other(tmp_path: Path) -> None:
    runs = [honest(tmp_path / "runs" / str(n), n, run=run_of(n, {}, config_sha256=f"{n}" * 64)) for n in range(2)]
    table = board(PROTOCOL, [read_record(run / "record.json") for run in runs])
    assert [row["seeds"] for row in table.rows if row["kind"] == "measured"] == [1, 1]


def test_other_versions_of_the_toolkit_are_rows_of_their_own(tmp_path: Path) -> None:
    for n, version in enumerate((__version__, "0.0.9", "0.0.9")):
        toolkit = {"version": version, "git_commit": None, "git_dirty": None}
        honest(tmp_path / "runs" / str(n), n, toolkit=toolkit, run=run_of(n // 2))
    rows, table = shown(tmp_path / "runs")
    assert sorted((row["model"], row["seeds"]) for row in rows) == [
        ("Toy (dfad_bench 0.0.9)", 2),
        (f"Toy (dfad_bench {__version__})", 1),
    ]
    assert any("0.0.9, 0.1.0 are rows of their own" in note for note in table.notes)
    assert any(f"dfad_bench 0.0.9 (this is {__version__})" in note for note in table.notes)


def test_of_runs_that_were_trained_twice_the_least_counts(tmp_path: Path) -> None:
    runs = [honest(tmp_path / "runs" / str(n), n) for n in range(2)]
    records = [read_record(run / "record.json") for run in runs]
    checks = {record.record_id: Check("repredicted", "") for record in records}
    row = board(PROTOCOL, records, checks=checks).rows[-1]
    assert (row["oscr"], row["rank"]) == (min(oscr(run) or 0 for run in runs), 1)


def test_settings_that_cannot_be_read_are_a_claim_and_damaged_predictions_are_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = honest(tmp_path / "runs" / "a")

    def strange(config: dict[str, Any], where: str) -> _Config:
        raise ConfigError(f"{where}: key 'x' is unknown")

    with monkeypatch.context() as patched:
        patched.setattr("dfad_bench.engine.config.config_from", strange)
        (row,), _ = shown(tmp_path / "runs")
    assert (row["checked"], "key 'x' is unknown" in row["why_not"]) == ("claimed", True)
    (folder / "predictions.parquet").write_bytes(b"PAR1")
    (row,), _ = shown(tmp_path / "runs")
    assert (row["checked"], row.get("rank")) == ("contradicted", None)


def test_a_machine_without_a_home_still_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest(tmp_path / "runs" / "a")
    monkeypatch.delenv("DFAD_CHECKS")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert shown(tmp_path / "runs")[0][0]["checked"] == "follows"


def test_boards_can_do_without_checking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest(tmp_path / "runs" / "a")
    monkeypatch.setattr("dfad_bench.report.verify.verify_record", lambda *args, **kwargs: pytest.fail("checked"))
    (row,) = [row for row in leaderboard(PROTOCOL, tmp_path / "runs", check=False).rows if row["kind"] == "measured"]
    assert row["checked"] == "claimed"


def test_a_number_that_one_record_leaves_open_is_not_the_number_of_the_other(tmp_path: Path) -> None:
    record = read_record(honest(tmp_path / "a") / "record.json")
    assert agree(record, record, 0.0)
    opened = [
        replace(m, value=None, ci95=None, null_reason="left open") if m.metric == "oscr" else m for m in record.metrics
    ]
    other = replace(record, metrics=tuple(opened))
    assert not agree(record, other, 0.005)
    assert not agree(other, record, 0.005)
    assert agree(other, other, 0.0)


def test_one_checkpoint_under_several_seeds_is_one_run(tmp_path: Path) -> None:
    """Its seeds would not vary, and its mean would have the interval of the best-known model of the board."""
    for seed in (0, 1, 2):
        config = {"model": "toy", "seed": seed}
        folder = tmp_path / "runs" / str(seed)
        honest(folder, run=run_of(seed, config))
        facts, frame = read_json(folder / "run.json"), toy_predictions(PROTOCOL, 20, 0)
        frame["p_fake"] += seed * 1e-6 * (1 - frame["p_fake"])  # noise that puts no face before another
        facts["predictions"]["sha256"] = write_predictions(folder / "predictions.parquet", frame)
        write_json(folder / "run.json", facts)
        build_record(folder, resamples=20)
        predicted_again(folder)
    honest(tmp_path / "runs" / "other", draw=1, run=run_of(3, {"model": "toy", "seed": 3}))
    (row,), table = shown(tmp_path / "runs")
    assert row["seed_list"] == [0, 3]
    assert sum("has the numbers of seed 0: one run, counted once." in note for note in table.notes) == 2


def test_a_claimed_seed_is_in_no_mean_with_runs_that_were_checked(tmp_path: Path) -> None:
    for seed in (0, 1):
        honest(tmp_path / "runs" / str(seed), draw=seed, run=run_of(seed))
    (before,), _ = shown(tmp_path / "runs")
    claim = honest(tmp_path / "runs" / "claim", draw=9, run=run_of(2))
    (claim / "predictions.parquet").unlink()
    rows = {row["checked"]: row for row in shown(tmp_path / "runs")[0]}
    assert rows["follows"]["seed_list"] == [0, 1]
    assert rows["follows"]["oscr"] == before["oscr"]
    assert rows["claimed"]["seed_list"] == [2]
