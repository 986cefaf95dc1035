"""Rows of a board that are of one seed or of several: means, intervals, ranks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.boards import record
from helpers.toy import toy_protocol

from dfad_bench.core.record import ResultRecord, write_record
from dfad_bench.metrics.spread import Spread
from dfad_bench.report.leaderboard import board, find_records
from dfad_bench.report.ranks import half_width, rank_intervals, seeds_spread


def test_seeds_are_averaged_into_one_row() -> None:
    protocol = toy_protocol()
    runs = [record(protocol, seed=seed, draw=seed) for seed in range(3)]
    row = board(protocol, runs).rows[-1]
    single = [board(protocol, [run]).rows[-1] for run in runs]
    assert (row["seeds"], row["seeds_shown"]) == (3, "0, 1, 2")
    assert row["unseen_low"] < row["unseen_acc"] < row["unseen_high"]
    assert row["unseen_range"].count(" to ") == 1
    for key in (
        "unseen_acc",
        "seen_acc",
        "oscr",
        "detection_auc",
        "unseen_acc:synthetic/synthetic-flow-a",
    ):
        assert row[key] == pytest.approx(sum(r[key] for r in single) / 3)
    assert row["unseen_sd"] > 0
    assert single[0]["unseen_sd"] is None


@pytest.mark.heavy
def test_no_interval_of_a_row_leaves_what_is_possible() -> None:
    protocol = toy_protocol()

    def near_all(seed: int, value: float) -> ResultRecord:
        made = record(protocol, seed=seed)
        share = {"value": value, "ci95": (0.8, 1.0), "standard_error": 0.08, "df": 3.0}
        return record(
            protocol,
            seed=seed,
            metrics=[replace(m, **share) if m.metric == "unseen_accuracy" else m for m in made.metrics],
        )

    for values in ((1.0,), (1.0, 1.0), (1.0, 0.7), (0.99, 0.97, 1.0)):
        row = board(protocol, [near_all(seed, value) for seed, value in enumerate(values)]).rows[-1]
        assert 0 <= row["unseen_low"] < row["unseen_acc"] <= row["unseen_high"] <= 1
        assert row["unseen_range"] == f"{100 * row['unseen_low']:.2f} to {100 * row['unseen_high']:.2f}"


def test_a_row_without_an_interval_says_why() -> None:
    protocol = toy_protocol()
    few, none = "no interval: 1 sources in a group, 2 are needed", {"ci95": None, "standard_error": None, "df": None}
    wanted = {("unseen_accuracy", "unseen"), ("oscr", "seen-vs-unseen")}
    made = [
        replace(m, ci_reason=few, **none) if (m.metric, m.subset) in wanted else m for m in record(protocol).metrics
    ]
    for seeds in (1, 2):
        runs = [record(protocol, seed=seed, metrics=made) for seed in range(seeds)]
        table = board(protocol, runs)
        assert table.rows[-1]["unseen_range"] is None
        assert f"Toy, unseen ACC and OSCR: {few}." in table.notes
    assert not any("no interval" in note for note in board(protocol, [record(protocol)]).notes)


def test_seeds_of_records_that_were_read_are_averaged_too(tmp_path: Path) -> None:
    protocol = toy_protocol()
    for seed in range(2):
        write_record(tmp_path / str(seed) / "record.json", record(protocol, seed=seed, draw=seed))
    rows = board(protocol, find_records([tmp_path], with_shipped=False)[0]).rows
    assert [row["seeds"] for row in rows if row["kind"] == "measured"] == [2]


def test_seeds_that_disagree_widen_the_rank() -> None:
    of = Spread(0.005, 50)
    assert half_width(seeds_spread([of, of], [0.4, 0.6])) > 1  # two seeds: Student's t with one degree of freedom
    assert seeds_spread([of, None], [0.4, 0.6]) is None
    alike = seeds_spread([of, of, of], [0.5, 0.5, 0.5])
    assert alike == pytest.approx(of)  # seeds share their faces, so that more of them do not narrow it
    alone = seeds_spread([of], [0.6], borrowed=(0.01**2, 2))
    assert alone.error == pytest.approx((0.005**2 + 0.01**2) ** 0.5)
    assert rank_intervals([0.6, 0.5], [0.01, None]) == [(1, 2), None]  # nothing is known of the second


def test_one_seed_does_not_stand_alone_before_models_of_several() -> None:
    protocol = toy_protocol()

    def at(value: float, name: str, seed: int) -> ResultRecord:
        made = record(protocol, name, seed=seed)
        oscr = {"value": value, "ci95": (value - 0.01, value + 0.01), "standard_error": 0.005, "df": 99.0}
        return record(
            protocol, name, seed=seed, metrics=[replace(m, **oscr) if m.metric == "oscr" else m for m in made.metrics]
        )

    runs = [at(0.60 + 0.03 * seed, "several", seed) for seed in range(3)]
    rows = board(protocol, [*runs, at(0.70, "lucky", 7)]).rows
    lucky, several = (next(row for row in rows if row["model"] == name) for name in ("Lucky", "Several"))
    assert (lucky["ranks"], several["ranks"]) == ("1-2†", "1-2")
    assert (lucky["seeds_shown"], several["seeds_shown"]) == ("7", "0, 1, 2")


def test_seeds_that_are_not_the_protocols_are_said() -> None:
    protocol = replace(toy_protocol(), seeds=(0, 1))
    assert protocol.sha256 == toy_protocol().sha256
    notes = board(
        protocol, [record(protocol, "one"), *(record(protocol, "two", seed, draw=seed) for seed in (0, 1))]
    ).notes
    assert [note for note in notes if "the protocol's" in note and "seeds" in note] == [
        "One: seeds 0, the protocol's are 0, 1."
    ]
