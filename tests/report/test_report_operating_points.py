"""Thresholds from validation faces: what they keep, what is said where there are too few, what corruption does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.open_runs import write_open_run
from helpers.toy import toy_protocol

import dfad_bench as dfad
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import sha256_file, write_json
from dfad_bench.core.record import plain, read_record, seal
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.core.run_parquet import write_predictions
from dfad_bench.metrics.conformal import hierarchical_p_values
from dfad_bench.metrics.unseen import UNSEEN_SCORES
from dfad_bench.report.open_world import corrupted
from dfad_bench.report.open_world.attribution_sets import LEVEL, attribution_sets
from dfad_bench.report.open_world.operating_points import operating_points
from dfad_bench.report.open_world.run_arrays import RunArrays
from dfad_bench.report.open_world.shares import mean_of_groups, share_of_sources

PROTOCOL = toy_protocol()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("open") / "run"
    write_open_run(folder, PROTOCOL, sources={"validation": 12, "test": 30})
    return folder


@pytest.fixture(scope="module")
def arrays(run: Path) -> RunArrays:
    return RunArrays(run, 100)


def test_the_papers_rule_does_what_the_sweep_of_the_record_says(arrays: RunArrays) -> None:
    (row,) = [
        row for row in dfad.open_world(arrays.folder, "operating-points", resamples=0).rows if row["level"] is None
    ]
    sweep = arrays.record.sweep
    assert sweep is not None
    at = sweep.thresholds.index(PROTOCOL.attribution.headline)
    # every source has as many faces, and every group as many sources, so both kinds of means agree
    assert row["unseen_rejected"] == pytest.approx(sweep.unseen_accuracy[at])
    assert row["seen_kept"] == pytest.approx(sweep.seen_kept[at])
    assert row["seen_right"] == pytest.approx(sweep.seen_right[at])
    assert row["threshold"] == 0.9


def test_thresholds_of_validation_reject_exactly_the_small_p_values(arrays: RunArrays) -> None:
    points = {(p.score, p.level): p for p in operating_points(arrays) if p.level is not None}
    assert set(points) == {(name, level) for name in UNSEEN_SCORES for level in (0.9, 0.95)}
    for (name, level), point in points.items():
        known, asked = (arrays.score_part(name, part).values for part in ("validation", "test"))
        p = hierarchical_p_values(-known, arrays.validation.source, -asked)
        assert point.threshold is not None
        assert np.array_equal(asked >= point.threshold, p > 1 - level + 1e-12), name
        assert point.sources == len(set(arrays.validation.source)) == 36


@pytest.mark.heavy
def test_seen_faces_of_new_sources_are_kept_as_promised_over_runs(tmp_path: Path) -> None:
    kept: list[float] = []
    for seed in range(12):
        write_open_run(tmp_path / str(seed), PROTOCOL, seed=seed, sources={"validation": 5, "test": 10})
        rows = dfad.open_world(tmp_path / str(seed), "operating-points", resamples=0).rows
        kept += [row["seen_kept"] for row in rows if (row["score"], row["level"]) == ("knn", 0.9)]
    assert len(kept) == 12
    assert np.mean(kept) > 0.9 - 2 * np.std(kept) / np.sqrt(12)


def test_fewer_sources_than_a_promise_needs_are_said(tmp_path: Path) -> None:
    write_open_run(tmp_path / "a", PROTOCOL, sources={"validation": 5})  # 15 sources in all, 5 of them real
    table = dfad.open_world(tmp_path / "a", "operating-points", resamples=0)
    short = [row for row in table.rows if row["level"] == 0.95]
    assert {row["remark"] for row in short} == {"not estimable: 15 validation sources, 19 are needed"}
    assert all(row.get("seen_kept") is None for row in short)
    assert all(row["seen_kept"] is not None for row in table.rows if row["level"] == 0.9)
    alarms = dfad.open_world(tmp_path / "a", "alarms", resamples=0)
    assert [row["remark"] for row in alarms.rows] == [
        "",
        "not estimable: 5 real validation sources, 19 are needed",
        "not estimable: 5 real validation sources, 99 are needed",
    ]
    assert "Validation faces also chose the checkpoint" in table.notes[-1]


def test_runs_without_validation_faces_say_so_in_a_line(tmp_path: Path) -> None:
    write_open_run(tmp_path / "a", PROTOCOL, sources={"validation": 0})
    for table in ("operating-points", "alarms", "sets"):
        with pytest.raises(ConfigError, match="validation.parquet: not there, and a threshold from validation faces"):
            dfad.open_world(tmp_path / "a", table, resamples=0)


def test_detection_thresholds_keep_real_faces(tmp_path: Path) -> None:
    write_open_run(tmp_path / "a", PROTOCOL, sources={"validation": 25, "test": 60})
    papers, five, one = dfad.open_world(tmp_path / "a", "alarms", resamples=0).rows
    assert (papers["threshold"], one["remark"]) == (0.5, "not estimable: 25 real validation sources, 99 are needed")
    assert five["threshold"] > 0.5
    assert five["alarms_seen"] <= papers["alarms_seen"]
    assert five["alarms_seen"] < 0.1
    assert five["found_unseen"] < papers["found_unseen"]
    record = read_record(tmp_path / "a" / "record.json")
    assert papers["found_unseen"] == pytest.approx(record.metric("tpr", "unseen").value)


@pytest.mark.parametrize("kind", ["lac", "mahalanobis"])
def test_sets_hold_the_class_and_are_empty_for_faces_like_none(arrays: RunArrays, kind: str) -> None:
    found, faces = attribution_sets(arrays, kind), arrays.test
    assert found.p is not None
    seen = faces.label >= 0
    holds = found.sets[np.flatnonzero(seen), faces.label[seen]]
    assert holds.mean() > LEVEL - 0.05
    assert np.array_equal(found.p_unseen <= 1 - LEVEL + 1e-12, found.sets.sum(axis=1) == 0)
    empty = found.sets.sum(axis=1) == 0
    if kind == "mahalanobis":  # probabilities sum to one, so that one class is nearly always likely enough
        assert empty[~seen].mean() > 0.9
    table = dfad.open_world(arrays.folder, "sets", resamples=0)
    rows = {row["group"]: row for row in table.rows if row["kind"] == kind}
    for key in faces.seen:
        mine = faces.of([key])
        shares = [holds[mine[seen]][faces.source[mine] == s].mean() for s in dict.fromkeys(faces.source[mine])]
        assert rows[key]["coverage"] == pytest.approx(np.mean(shares))
    assert all(rows[key].get("coverage") is None for key in faces.unseen)


def test_sets_of_faces_are_rows_with_a_p_value(arrays: RunArrays) -> None:
    rows = dfad.open_world(arrays.folder, "face-sets", resamples=0).rows
    assert len(rows) == len(arrays.test_frame)
    found = attribution_sets(arrays, "mahalanobis")
    assert [row["p_seen"] for row in rows] == found.p_unseen.tolist()
    assert [len(row["set"].split()) for row in rows] == found.sets.sum(axis=1).tolist()


def test_a_class_of_few_sources_is_in_every_set_and_named(tmp_path: Path) -> None:
    write_open_run(tmp_path / "a", PROTOCOL, sources={"validation": 6})
    table = dfad.open_world(tmp_path / "a", "sets", resamples=0)
    assert {row["empty"] for row in table.rows} == {0.0}
    assert sum("fewer than 9 validation sources" in note for note in table.notes) == 6


def test_corrupted_faces_stand_beside_clean_ones(run: Path, arrays: RunArrays) -> None:
    """Corrupted faces of two cells: one as clean ones, one with all confidence gone."""
    files = RunFolder(RunFolder(run).path / "evaluations" / "toy-0" / "robustness-0")
    files.path.mkdir(parents=True)
    frame, names = arrays.test_frame, ["p_0", "p_1", "p_2"]
    flat = frame.assign(**dict.fromkeys(names, np.float32(1 / 3)))
    cells = [("none", 0, frame), ("blur", 1, frame), ("blur", 2, flat)]
    both = pd.concat([part.assign(corruption=name, severity=level) for name, level, part in cells], ignore_index=True)
    digest = write_predictions(files.predictions, both)
    facts = plain(arrays.record)
    facts["predictions"] |= {"sha256": digest, "rows": len(both), "columns": list(both.columns)}
    facts.pop("record_id")
    write_json(files.path / "robustness.json", plain(seal(facts)))
    assert len(corrupted.corrupted_faces(arrays)) == 2
    rows = dfad.open_world(run, "operating-points", resamples=0).rows
    papers = rows[0]
    assert papers["corrupted_seen_kept"] == pytest.approx(papers["seen_kept"] / 2)
    assert papers["corrupted_unseen_rejected"] == pytest.approx((papers["unseen_rejected"] + 1) / 2)
    assert all(row.get("corrupted_seen_kept") is None for row in rows if row["score"] == "knn")
    assert sha256_file(files.predictions) == digest


def test_shares_count_sources_and_groups(arrays: RunArrays) -> None:
    hits = np.r_[np.ones(30), np.zeros(9)].astype(bool)
    found = share_of_sources(hits, np.r_[np.zeros(30), np.arange(1, 10)])
    assert (found.value, found.sources) == (0.1, 10)
    assert found.low < 0.1 < found.high
    assert share_of_sources(np.ones(20, bool), np.arange(20)).low < 0.9  # all alike: Wilson's, not no width
    assert share_of_sources(np.ones(3, bool), np.arange(3)).low is None
    assert share_of_sources(np.zeros(0, bool), np.zeros(0)).value is None
    below = arrays.test.confidence < 0.9
    stated = arrays.record.metric("unseen_accuracy", "unseen", threshold=0.9)
    assert mean_of_groups(arrays.test, below, arrays.test.averaged).value == pytest.approx(stated.value)
