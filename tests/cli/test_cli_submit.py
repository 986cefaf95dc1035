"""`dfad submit` and `dfad leaderboard --verify`: reasons all at once, entries whole or absent."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from helpers.entries import entry_run, forged_record, only_entry

from dfad_bench.cli.main import dfad
from dfad_bench.core.record import read_record


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(dfad, [str(word) for word in words])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "seed-0"
    entry_run(folder, warnings=["weights of /home/ada/vit/w.pt are old"])
    return folder


def test_an_entry_is_written_once_and_verified(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "records"
    first = invoke("submit", run, "--out", out, "--quiet")
    assert first.exit_code == 0, first.output
    assert "written" in first.output
    assert "left out of the record: warnings[0]" in first.output
    entry = only_entry(out)
    text = (entry / "entry.json").read_text(encoding="utf-8")
    record = read_record(entry / "record.json.gz")
    assert record.warnings == ("weights of [path]/w.pt are old",)
    stated = json.loads(text)
    assert stated["left_out"] == ["warnings[0]"]
    assert stated["run_record_id"] == read_record(run / "record.json").record_id != record.record_id
    assert "ada" not in text
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    again = invoke("submit", run, "--out", out, "--quiet", "--json")
    assert json.loads(again.output)[0]["outcome"] == "unchanged"
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    seen = invoke("leaderboard", "--verify", "--records", out, "--quiet")
    assert seen.exit_code == 0, seen.output
    assert "numbers and hashes follow" in seen.output
    forged_record(entry, {("metrics", "0", "value"): 0.999})
    wrong = invoke("leaderboard", "--verify", "--records", out, "--quiet", "--format", "json")
    assert wrong.exit_code == 4
    assert "1 of 1 entries wrong" in wrong.output


def test_all_reasons_against_a_run_are_said_at_once(tmp_path: Path) -> None:
    entry_run(
        tmp_path / "bad", status="partial", model__checkpoint_sha256=None, model__display="Other",
        model__init={"kind": "local_file", "id": "mine.pt", "sha256": "e" * 64}, run__stopped="--max-steps",
        samples__without_view={"parsing": {"test": 0}},
    )  # fmt: skip
    entry_run(tmp_path / "good")
    out = tmp_path / "records"
    found = invoke("submit", tmp_path / "bad", tmp_path / "good", tmp_path / "none", "--out", out, "--quiet")
    assert found.exit_code == 1
    for reason in (
        "the run is partial (--max-steps)", "no hash of a checkpoint", "the licence of weights mine.pt is not named",
        "its card is of Xception, the record of Other", "its view parsing is not stated", "no record.json",
    ):  # fmt: skip
        assert reason in found.output
    assert "Error: 2 of 3 runs refused" in found.output
    assert "Traceback" not in found.output
    assert only_entry(out).is_dir()  # the good one
    assert [path.name for path in out.iterdir()] == ["synthetic"]


@pytest.mark.heavy
def test_a_licence_may_be_named(tmp_path: Path) -> None:
    entry_run(tmp_path / "run", model__init={"kind": "local_file", "id": "mine.pt", "sha256": "e" * 64})
    out = tmp_path / "records"
    bad = invoke("submit", tmp_path / "run", "--out", out, "--licence", "mine.pt")
    assert (bad.exit_code, "mine.pt is not FILE=TEXT" in bad.output) == (2, True)
    assert invoke("submit", tmp_path / "run", "--out", out, "--licence", "mine.pt=MIT", "--quiet").exit_code == 0
    stated = json.loads((only_entry(out) / "entry.json").read_text(encoding="utf-8"))
    assert stated["weights"] == [{"file": "mine.pt", "sha256": "e" * 64, "licence": "MIT"}]


@pytest.mark.heavy
def test_another_run_of_the_same_seed_needs_replace(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "records"
    assert invoke("submit", run, "--out", out, "--quiet").exit_code == 0
    entry_run(tmp_path / "other", draw=5)
    refused = invoke("submit", tmp_path / "other", "--out", out, "--quiet")
    assert refused.exit_code == 1
    assert "of these settings and seed; --replace takes its place" in refused.output
    replaced = invoke("submit", tmp_path / "other", "--out", out, "--quiet", "--replace")
    assert "in the place of an earlier one" in replaced.output
    assert read_record(only_entry(out) / "record.json.gz") == read_record(tmp_path / "other" / "record.json")


@pytest.mark.heavy
def test_one_set_of_weights_under_two_seeds_and_forged_runs(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "records"
    assert invoke("submit", run, "--out", out, "--quiet").exit_code == 0
    entry_run(tmp_path / "copy", seed=1, draw=0)
    assert "one set of weights under two seeds" in invoke("submit", tmp_path / "copy", "--out", out, "--quiet").output
    shutil.copytree(run, tmp_path / "forged")
    (tmp_path / "forged" / "facts-only.parquet").write_bytes((run / "predictions.parquet").read_bytes())
    assert "does not follow: " in invoke("submit", tmp_path / "forged", "--out", out, "--quiet").output


def test_a_folder_that_cannot_be_written_or_is_none(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    found = invoke("submit", run, "--out", tmp_path / "file" / "records", "--quiet")
    assert found.exit_code == 1
    assert found.output.count("\n") == 1
    absent = invoke("leaderboard", "--verify", "--records", tmp_path / "none")
    assert (absent.exit_code, absent.output.count("\n")) == (1, 1)
