from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.runs import resealed
from helpers.toy import SEEN, UNSEEN, toy_protocol, toy_rows
from helpers.training import run_evaluation, run_training

from dfad_bench.api.evaluation import rescore
from dfad_bench.api.runs import record_table, scores, verify_record
from dfad_bench.core.errors import IntegrityError
from dfad_bench.core.files import read_json, write_json
from dfad_bench.core.record import ResultRecord, plain, read_record, write_record
from dfad_bench.core.run_parquet import read_predictions, write_predictions
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.data.side_table import SideTable
from dfad_bench.gaze import table as gaze_table
from dfad_bench.report.board_checks import Check
from dfad_bench.report.leaderboard import board
from dfad_bench.report.run_record import build_record
from dfad_bench.report.score import score

GENERATORS = (*SEEN, *UNSEEN)


def with_facts(rows: list[dict[str, Any]], *, known: bool = True) -> list[dict[str, Any]]:
    """Sizes and formats that tell the generators apart, as in many releases."""
    for row in rows:
        kind = GENERATORS.index(row["generator"])
        about = {"source_width": 100 + 50 * kind, "source_height": 100, "source_bytes": 9000 + 10 * kind}
        row |= {**about, "source_format": "JPEG" if kind % 2 else "PNG"} if known else {}
    return rows


def manifests(folder: Path, *, known: bool = True) -> list[Manifest]:
    made = []
    for name, generators in (("synthetic", GENERATORS), ("synthetic-outdoor", ("real",))):
        rows = with_facts(toy_rows(name, generators), known=known)
        made.append(write_manifest(folder / name, name, rows))
    return made


def store_gaze(manifest: Manifest, estimator: str = "geometric", fingerprint: str = "a" * 64) -> None:
    """A table of a gaze that tells generators apart; every third face has none."""
    rows = manifest.frame(["sample_id", "generator"])
    kinds = rows["generator"].map(GENERATORS.index).to_numpy(float)
    gone = pd.Series(range(len(rows))) % 3 == 0
    angles = {name: pd.Series(0.1 * kinds).mask(gone) for name in ("pitch_rad", "yaw_rad")}
    empty = {name: 0.0 for name in gaze_table.VALUES if name not in angles}
    identity = {"version": 1, "manifest_sha256": manifest.sha256, "estimator": estimator, "fingerprint": fingerprint}
    folder = manifest.folder / "tables"
    folder.mkdir(exist_ok=True)
    table = SideTable(folder / f"gaze-{estimator}-{fingerprint[:8]}.parquet", identity)
    table.write(rows[["sample_id"]].assign(**angles, **empty), {})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Manifest]]:
    folder = tmp_path_factory.mktemp("references")
    used = manifests(folder)
    for manifest in used:
        store_gaze(manifest)
    run_training("majority", toy_protocol(), used, folder / "run", device="cpu")
    build_record(folder / "run", resamples=20)
    return folder / "run", used


@pytest.fixture
def run(made: tuple[Path, list[Manifest]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[0], tmp_path / "run"))


def record_of(run: Path) -> ResultRecord:
    return read_record(run / "record.json")


def number(record: ResultRecord, name: str, metric: str, subset: str) -> float:
    found = [v.value for v in record.references[name] if (v.metric, v.subset) == (metric, subset)]
    assert found[0] is not None
    return found[0]


def test_a_run_keeps_predictors_of_facts_and_of_gaze(made: tuple[Path, list[Manifest]]) -> None:
    record = record_of(made[0])
    assert set(record.references) == {"facts-only", "gaze-only"}
    assert number(record, "facts-only", "seen_accuracy", "seen") == 1.0
    assert number(record, "facts-only", "auc", "seen") == 1.0
    assert 0.5 < number(record, "gaze-only", "seen_accuracy", "seen") < 1.0  # a third of the faces has no gaze
    about = record.run.references["gaze-only"]
    tested = record.samples.evaluated
    assert (about.about["estimator"], about.about["fingerprint"]) == ("geometric", "a" * 64)
    assert 0 < about.lacking < tested
    assert record.run.references["facts-only"].lacking == 0
    assert {"facts-only.parquet", "facts-only-train.parquet", "gaze-only.parquet"} <= set(record.run.files)
    assert len(read_predictions(made[0] / "facts-only.parquet")) == tested


def test_two_runs_keep_the_same_predictions(made: tuple[Path, list[Manifest]], tmp_path: Path) -> None:
    run_training("majority", toy_protocol(), made[1][::-1], tmp_path / "run", device="cpu", seed=5)
    again = record_of_facts(tmp_path / "run")
    for name in ("facts-only.parquet", "gaze-only.parquet"):
        assert again[name] == record_of(made[0]).run.files[name]


def record_of_facts(run: Path) -> dict[str, str]:
    return build_record(run, resamples=0).run.files


def test_they_are_trivial_rows_that_are_never_ranked(made: tuple[Path, list[Manifest]]) -> None:
    record = record_of(made[0])
    table = board(toy_protocol(), [record])
    rows = {row["model"]: row for row in table.rows}
    assert list(rows)[:4] == ["always fake, never sure", "majority class", "facts-only", "gaze-only"]
    assert rows["facts-only"]["kind"] == "trivial"
    assert "rank" not in rows["facts-only"]
    assert rows["facts-only"]["seen_acc"] == 1.0
    assert any("facts-only: sees width, height" in note for note in table.notes)
    assert "facts-only" in record_table(record, "record").render("markdown")
    shown = next(row for row in scores(made[0], "groups").rows if row["seen"] == "yes")
    assert shown["facts-only:correct"] == 1.0
    every = scores(made[0], "metrics")
    assert any(row["facts-only"] == 1.0 for row in every.rows if row["metric"] == "seen_accuracy")


def test_the_row_of_a_reference_is_of_the_record_that_was_checked_best(made: tuple[Path, list[Manifest]]) -> None:
    honest = record_of(made[0])
    known = [place for place, value in enumerate(honest.references["facts-only"]) if value.value]
    weak = {("references", "facts-only", str(place), "value"): 0.1 for place in known}
    forged = resealed(honest, weak)
    for level, other in (("repredicted", "follows"), ("follows", "contradicted"), ("follows", "claimed")):
        checks = {honest.record_id: Check(level, ""), forged.record_id: Check(other, "")}
        table = board(toy_protocol(), [forged, honest], checks=checks)
        (row,) = [row for row in table.rows if row["model"] == "facts-only"]
        assert row["seen_acc"] == 1.0


def test_records_made_before_have_none_and_show_none(made: tuple[Path, list[Manifest]]) -> None:
    record = resealed(record_of(made[0]), {"references": {}, "run.references": {}})
    rows = [row["model"] for row in board(toy_protocol(), [record]).rows]
    assert "facts-only" not in rows


def test_verify_record_computes_them_again(run: Path) -> None:
    assert verify_record(run).differences == ()
    record = record_of(run)
    place = next(i for i, v in enumerate(record.references["facts-only"]) if v.value == 1.0)
    forged = resealed(record, {("references", "facts-only", str(place), "value"): 0.25})
    write_record(run / "record.json", forged)
    assert any(d.name.startswith("references.facts-only") for d in verify_record(run).differences)
    with pytest.raises(IntegrityError, match="references.facts-only"):
        rescore(run)


def test_edited_predictions_of_a_reference_are_named(run: Path) -> None:
    path = run / "facts-only.parquet"
    frame = read_predictions(path)
    write_predictions(path, frame.assign(p_fake=0.5))
    names = [d.name for d in verify_record(run).differences]
    assert "run.files.facts-only.parquet" in names
    assert any(name.startswith("references.facts-only") for name in names)
    write_predictions(path, frame.iloc[1:])
    with pytest.raises(IntegrityError, match="not those of the predictions"):
        verify_record(run)
    path.unlink()
    assert any("facts-only.parquet is not beside" in line for line in verify_record(run).unchecked)


@pytest.mark.heavy
def test_a_weakened_reference_is_found_by_fitting_it_again(
    run: Path, made: tuple[Path, list[Manifest]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its predictions and all that follows from them edited, every model of the board would stand above it."""
    monkeypatch.setenv("DFAD_CHECKS", str(tmp_path / "checks"))
    honest = verify_record(run, repredict=made[1], device="cpu")
    assert (honest.differences, honest.unchecked) == ((), ())
    facts, path = read_json(run / "run.json"), run / "facts-only.parquet"
    weakened = read_predictions(path).assign(p_fake=0.5)
    facts["run"]["files"][path.name] = write_predictions(path, weakened)
    write_json(run / "run.json", facts)
    build_record(run, resamples=20)
    assert verify_record(run).differences == ()
    (difference,) = verify_record(run, repredict=made[1], device="cpu").differences
    assert difference.name == "facts-only, fitted again: faces that it predicts otherwise"
    assert difference.found == len(weakened)


def test_an_evaluation_predicts_with_what_the_run_learnt(run: Path, made: tuple[Path, list[Manifest]]) -> None:
    result = run_evaluation(run, made[1], device="cpu")
    record = build_record(result.out, resamples=0)
    before = record_of(run)
    assert record.references.keys() == before.references.keys()
    assert number(record, "facts-only", "seen_accuracy", "seen") == 1.0
    assert record.run.references["facts-only"].fitted_on == before.run.references["facts-only"].fitted_on
    assert verify_record(result.out).differences == ()
    (run / "facts-only-train.parquet").write_bytes(b"changed")
    lacking = run_evaluation(run, made[1], device="cpu")
    assert any("no facts-only reference" in line and "facts-only-train" in line for line in lacking.warnings)
    assert "facts-only" not in build_record(lacking.out, resamples=0).references


def test_without_facts_or_gaze_there_is_none(tmp_path: Path) -> None:
    used = manifests(tmp_path, known=False)
    store_gaze(used[0])  # but not of the other manifest
    found = run_training("majority", toy_protocol(), used, tmp_path / "run", device="cpu")
    assert build_record(tmp_path / "run", resamples=0).references == {}
    assert found.warnings == ()


def test_a_gaze_table_of_another_state_of_the_manifest_is_no_table(tmp_path: Path) -> None:
    used = manifests(tmp_path)
    store_gaze(used[0])
    moved = Manifest(used[0].folder, {**used[0].info, "content_sha256": "0" * 64})
    assert gaze_table.stored_tables(moved) == {}
    assert list(gaze_table.stored_tables(used[0])) == [("geometric", "a" * 64)]
    (used[0].folder / "tables" / "gaze-odd-00000000.json").write_text("{")
    assert list(gaze_table.stored_tables(used[0])) == [("geometric", "a" * 64)]


def test_those_of_an_earlier_record_are_checked_by_its_rule_and_written_by_todays(run: Path) -> None:
    record, protocol = record_of(run), toy_protocol()
    frames = {name: read_predictions(run / f"{name}.parquet") for name in record.references}
    old = score(read_predictions(run / "predictions.parquet"), protocol, resamples=20, earlier=True)
    earlier = {
        "metrics": plain(old.metrics),
        "references": {
            name: plain(score(frame, protocol, resamples=0, earlier=True).metrics) for name, frame in frames.items()
        },
        "schema_version": "1.1",
    }
    assert earlier["references"] != plain(record.references)
    write_record(run / "record.json", resealed(record, earlier))
    assert verify_record(run).differences == ()
    rescore(run)
    assert record_of(run).references == record.references
    assert (record_of(run).schema_version, verify_record(run).differences) == ("1.2", ())
