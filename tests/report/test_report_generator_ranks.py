from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.runs import write_run
from helpers.toy import toy_predictions, toy_protocol
from scipy import stats

from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.record import ResultRecord
from dfad_bench.report.generator_ranks import places_on_the_next, places_over_generators
from dfad_bench.report.leaderboard import board

PROTOCOL = replace(load_protocol("synthetic"), validation_share=0.0)
NO_SHARED = np.zeros(3)


def sharpened(frame: pd.DataFrame, amount: float) -> pd.DataFrame:
    """The same faces, where seen ones are named more surely and unseen ones less."""
    columns = [name for name in frame if name.startswith("p_") and name != "p_fake"]
    power = np.where(frame["attribution_label"] >= 0, 1 + amount, 1 / (1 + amount))[:, None]
    p = frame[columns].to_numpy() ** power
    return frame.assign(**dict(zip(columns, (p / p.sum(1, keepdims=True)).T, strict=True)))


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[ResultRecord]:
    folder, frame = tmp_path_factory.mktemp("ranks"), toy_predictions(PROTOCOL, 20)
    made = []
    for place, amount in enumerate((0.0, 0.02, 1.5)):
        record = write_run(folder / str(place), PROTOCOL, sharpened(frame, amount), resamples=100)
        digest = f"{place:064x}"
        model = replace(record.model, name=f"m{place}", display=f"M{place}", registry_sha256=digest)
        made.append(replace(record, record_id=digest, model=model, run=replace(record.run, config_sha256=digest)))
    return made


def row(rows: Any, name: str) -> dict[str, Any]:
    return dict(next(row for row in rows if row["model"] == name))


def test_a_board_shows_both_intervals_and_all_three_kinds_of_places(records: list[ResultRecord]) -> None:
    made = board(PROTOCOL, records)
    titles = [column.title for column in made.columns]
    assert {"95 % faces", "95 % generators", "# gen.", "# next"} <= set(titles)
    best = row(made.rows, "M2")
    assert best["ranks_generators"] == "1"
    assert row(made.rows, "M0")["ranks_generators"] == row(made.rows, "M1")["ranks_generators"] == "2-3"
    assert best["ranks_next"] is not None
    first = row(made.rows, "M0")
    assert first["unseen_acc_generators_low"] < first["unseen_acc"] < first["unseen_acc_generators_high"]
    assert first["generators"] == 16
    assert any("other generators of this kind" in note for note in made.notes)
    assert "_over" not in best


def test_a_protocol_of_few_generators_has_no_such_columns_and_says_why(tmp_path: Path) -> None:
    protocol = toy_protocol()
    record = write_run(tmp_path / "run", protocol, toy_predictions(protocol, 20))
    made = board(protocol, [record])
    assert "95 % generators" not in [column.title for column in made.columns]
    assert any("not estimable over generators: 1, 8 are needed" in note for note in made.notes)


def test_places_over_generators_are_those_of_paired_tests_with_holm() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 12)) * 0.1 + rng.normal(size=12) + np.array([0, 0.05, 0.1, 0.3, 0.6])[:, None]
    best, worst = places_over_generators(values, np.zeros(5)).T
    for j in range(5):
        others = [k for k in range(5) if k != j]
        ahead = sorted(stats.ttest_rel(values[k], values[j], alternative="greater").pvalue for k in others)
        behind = sorted(stats.ttest_rel(values[k], values[j], alternative="less").pvalue for k in others)
        counts = []
        for ps in (ahead, behind):
            passed = [p < 0.025 / (4 - place) for place, p in enumerate(ps)]
            counts.append(passed.index(False) if False in passed else 4)
        assert (best[j], worst[j]) == (1 + counts[0], 5 - counts[1])


def test_what_generators_share_opens_places() -> None:
    values = np.array([[0.5, 0.6] * 4, [0.55, 0.66] * 4, [0.9, 0.8] * 4])
    assert places_over_generators(values, NO_SHARED).tolist() == [[3, 3], [2, 2], [1, 1]]
    assert places_over_generators(values, NO_SHARED + 0.1).tolist() == [[1, 3]] * 3


def test_equal_rows_share_all_places() -> None:
    assert places_over_generators(np.ones((3, 8)), NO_SHARED).tolist() == [[1, 3]] * 3


@pytest.mark.parametrize(("count", "order"), [(8, None), (9, 1), (18, 1), (19, 2)])
def test_places_on_the_next_generator_take_the_exact_order(count: int, order: int | None) -> None:
    values = np.zeros((2, count))
    values[0] = np.where(np.arange(count) < 1, -1.0, 1.0)  # worse on one generator only
    found = places_on_the_next(values, np.full((2, count), 0.1))
    if order is None:
        assert found is None
        return
    assert found is not None
    assert found.tolist() == ([[1, 2], [1, 2]] if order == 1 else [[1, 1], [2, 2]])


def test_places_on_the_next_generator_hold_in_four_of_five() -> None:
    """Three rows with effects of their own on each generator, measured without noise."""
    rng, held = np.random.default_rng(1), []
    for _ in range(400):
        drawn = rng.normal(size=(3, 13)) * 0.5 + np.array([0.0, 0.4, 0.8])[:, None]
        found = places_on_the_next(drawn[:, :12], np.full((3, 12), 1e-6))
        assert found is not None
        place = 1 + (drawn[:, 12][None, :] > drawn[:, 12][:, None]).sum(axis=1)
        held += list((found[:, 0] <= place) & (place <= found[:, 1]))
    assert np.mean(held) >= 0.8


def test_a_row_without_interval_on_a_generator_may_have_any_place_there() -> None:
    values = np.array([[0.0] * 9, [1.0] * 9])
    halves = np.full((2, 9), 0.1)
    halves[1] = np.inf
    found = places_on_the_next(values, halves)
    assert found is not None
    assert found.tolist() == [[1, 2], [1, 2]]


def test_an_interval_that_lacks_what_generators_share_says_so(records: list[ResultRecord]) -> None:
    """A group with faces of one source has no interval over sources, so nothing tells the shared part from its own."""
    lone = PROTOCOL.unseen[1].key
    some = tuple(
        replace(value, ci95=None) if (value.metric, value.subset) == ("unseen_accuracy", lone) else value
        for value in records[0].metrics
    )
    lines = [note for note in board(PROTOCOL, [replace(records[0], metrics=some)]).notes if "is not counted" in note]
    assert [line for line in lines if line.startswith("Over generators, unseen_accuracy (M0)")]
    before = [note for note in board(PROTOCOL, records[:1]).notes if "is not counted" in note]
    assert not [line for line in before if "unseen_accuracy" in line]
