"""Real faces of six collections or more are drawn beside the generators; of fewer they are held fixed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfad_bench.api.imports import import_predictions
from dfad_bench.api.runs import scores, verify_record
from dfad_bench.core.record import MetricValue, ResultRecord, read_record
from dfad_bench.core.run_folder import RunFolder
from dfad_bench.intake.settings import ImportSettings
from dfad_bench.metrics.spread import Spread
from dfad_bench.report.compare import compare_runs, comparison_tables
from dfad_bench.report.leaderboard import board as make_board
from dfad_bench.report.over_generators import over_generators
from dfad_bench.report.real_sources import OVER_REALS, spread_of_real_groups, stated_spread, without_real_sources
from dfad_bench.report.run_record import protocol_of

AUC = ("detection", "auc", "unseen", "macro", None)
GENERATORS = ("stylegan2", "flux", "sdxl", "midjourney", "dalle3", "imagen", "simswap", "faceswap", "ddpm")


def matrix(collections: int, seed: int, hardness: float = 0.25) -> pd.DataFrame:
    """Forged faces of nine generators, real ones of so many collections, some of which are harder than others."""
    rng, rows = np.random.default_rng(seed), 24 * (9 + collections)
    place = np.arange(rows) % (9 + collections)
    generator = np.array([*GENERATORS, *[""] * collections])[place]
    source = np.array([*[""] * 9, *(f"reals{k}" for k in range(collections))])[place]
    hard = np.where(generator == "", np.random.default_rng(9).normal(size=9 + collections)[place], 0.0)
    score = np.where(generator == "", 0.4, 0.6) + hardness * hard + 0.2 * rng.standard_normal(rows)
    return pd.DataFrame({
        "file": [f"{k}.png" for k in range(rows)], "label": np.where(generator == "", "real", "fake"),
        "generator": generator, "source": source, "source_key": np.arange(rows) // 2, "p_fake": np.clip(score, 0, 1),
    })  # fmt: skip


def imported(folder: Path, name: str, frame: pd.DataFrame) -> Path:
    frame.to_csv(folder / f"{name}.csv", index=False)
    return import_predictions(folder / f"{name}.csv", folder / name, ImportSettings(name=name)).folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reals")
    imported(folder, "seven", matrix(7, 0))
    imported(folder, "again", matrix(7, 1))
    imported(folder, "two", matrix(2, 0))
    return folder


def record_of(folder: Path) -> ResultRecord:
    return read_record(RunFolder(folder).record)


def estimate(record: ResultRecord):  # noqa: ANN201
    return over_generators(record.metrics, protocol_of({"protocol": {"config": record.protocol.config}}, ""))[AUC]


def test_seven_collections_are_drawn_and_widen_the_interval(runs: Path) -> None:
    record = record_of(runs / "seven")
    drawn = estimate(record)
    fixed = estimate(replace(record, metrics=tuple(map(without_real_sources, record.metrics))))
    assert (drawn.real_sources, drawn.reals_drawn, fixed.real_sources, fixed.reals_drawn) == (7, True, 7, False)
    assert drawn.values == fixed.values
    assert drawn.ci95 is not None
    assert fixed.ci95 is not None
    assert drawn.ci95[1] - drawn.ci95[0] > 1.5 * (fixed.ci95[1] - fixed.ci95[0])


def test_two_collections_are_held_fixed(runs: Path) -> None:
    found = estimate(record_of(runs / "two"))
    assert (found.real_sources, found.reals_drawn) == (2, False)
    assert found.ci95 is not None


def test_tables_and_boards_say_which(runs: Path) -> None:
    assert "7, drawn as generators are (auc of unseen)" in scores(runs / "seven", "metrics").render(width=200)
    assert "2, held fixed (fewer than 6) (auc of unseen)" in scores(runs / "two", "metrics").render(width=200)
    records = [record_of(runs / name) for name in ("seven", "again")]
    board = make_board(protocol_of({"protocol": {"config": records[0].protocol.config}}, ""), records)
    assert any("7, drawn as generators are (auc)" in note for note in board.notes)
    assert not any(key.startswith("_real") for row in board.rows for key in row)


def test_two_models_are_compared_over_the_same_collections(runs: Path) -> None:
    both = compare_runs(runs / "seven", runs / "again", resamples=100)
    found = both.over_generators[0]
    assert (found.metric, found.real_sources, found.reals_drawn) == ("auc", 7, True)
    assert found.ci95 is not None
    alone = estimate(record_of(runs / "seven"))
    assert alone.ci95 is not None
    assert found.ci95[1] - found.ci95[0] < alone.ci95[1] - alone.ci95[0]  # hard collections are hard for both
    assert "7, drawn as generators are (auc, unseen)" in comparison_tables(both)[1].render(width=200)


def test_a_record_made_before_is_verified_and_one_that_lies_is_not(runs: Path, tmp_path: Path) -> None:
    assert not verify_record(runs / "seven").differences
    path = RunFolder(runs / "seven").record
    text = path.read_text(encoding="utf-8")
    stated = next(v.params[OVER_REALS] for v in record_of(runs / "seven").metrics if OVER_REALS in v.params)
    try:
        path.write_text(text.replace(str(stated["standard_error"]), "0.0"), encoding="utf-8")
        named = [d.name for d in verify_record(runs / "seven").differences]
        assert any(OVER_REALS in name for name in named)
    finally:
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("error", "df"), [("x", 6), (-1, 6), (float("nan"), 6), (float("inf"), 6), (0.1, 2), (True, 6), (None, None)]
)
def test_what_is_no_spread_counts_as_not_stated(error: object, df: object) -> None:
    stated = {"standard_error": error, "df": df}
    value = MetricValue("detection", "auc", "unseen", 0.5, 9, True, averaging="macro", params={OVER_REALS: stated})
    assert stated_spread([value]) is None
    for nothing in (None, 3, {}):
        assert stated_spread([replace(value, params={OVER_REALS: nothing})]) is None


def test_real_groups_of_a_mean_are_drawn_from_six_on() -> None:
    values = [0.5, 0.6, 0.7, 0.8, 0.9, 0.4]
    found = spread_of_real_groups([(value, None) for value in values], 16)
    assert found == Spread(pytest.approx(float(np.std(values, ddof=1)) * 6**0.5 / 16), 5.0)
    assert spread_of_real_groups([(value, None) for value in values[1:]], 16) is None
    assert spread_of_real_groups([*((value, None) for value in values), (None, None)], 16) is None
