"""Tables say which class is positive, and show no certainty where faces do not vary."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from helpers.runs import write_run
from helpers.toy import toy_predictions, toy_protocol

from dfad_bench.cli.main import dfad
from dfad_bench.core.record import MetricValue
from dfad_bench.metrics.spread import Spread
from dfad_bench.report.compare import Compared, compare_runs, comparison_table
from dfad_bench.report.ranks import spread_of
from dfad_bench.report.table import Column, cell

PROTOCOL = toy_protocol()


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(dfad, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A perfect and a constant detector on two faces a group, each of a source of its own."""
    folder = tmp_path_factory.mktemp("pair")
    frame = toy_predictions(PROTOCOL, 2)
    frame = frame.assign(source_key=frame["sample_id"])
    noise = np.linspace(0, 0.1, len(frame))
    perfect = frame.assign(p_fake=np.where(frame["detection_label"] == 1, 0.9, 0.1) - noise * 0.1)
    write_run(folder / "perfect", PROTOCOL, perfect, resamples=20)
    write_run(folder / "constant", PROTOCOL, frame.assign(p_fake=0.4), resamples=20)
    return folder


def row(rows: tuple[Compared, ...], metric: str) -> Compared:
    (found,) = [r for r in rows if (r.metric, r.subset, r.averaging) == (metric, "unseen", "micro")]
    return found


def test_perfect_against_constant_is_counted_not_taken_for_certain(pair: Path) -> None:
    found = compare_runs(pair / "perfect", pair / "constant", resamples=200)
    area = row(found.rows, "auc")
    assert (area.difference, area.p, area.test, area.assignments) == (0.5, 2 / 6, "permutation exact", 6)
    assert area.ci95 is None  # no width: nothing is known of its spread
    balanced = row(found.rows, "balanced_accuracy")
    assert (balanced.difference, balanced.p, balanced.test, balanced.better) == (0.5, None, None, None)
    assert balanced.null_reason == "no test: every resample has the same difference"
    assert all(r.p is not None or r.null_reason for r in found.rows)
    assert all(r.p is None or r.p > 0.1 for r in found.rows)  # four faces show nothing at all


def test_reason_and_size_are_shown_in_the_table_and_in_json(pair: Path) -> None:
    runs = ("--run", pair / "perfect", "--run", pair / "constant", "--resamples", 200)
    table = comparison_table(compare_runs(pair / "perfect", pair / "constant", resamples=200)).render(width=300)
    assert "permutation exact (6)" in table
    assert "no test: every resample has the same difference" in table
    rows = {
        (r["metric"], r["subset"], r["averaging"]): r for r in json.loads(invoke("compare", *runs, "--json"))["rows"]
    }
    assert rows["auc", "unseen", "micro"]["assignments"] == 6
    assert rows["balanced_accuracy", "unseen", "micro"]["null_reason"].startswith("no test")


def test_one_source_a_class_has_a_reason(tmp_path: Path) -> None:
    frame = toy_predictions(PROTOCOL, 4)
    real = frame["detection_label"] == 0
    frame = frame.assign(source_key=np.where(real, "only", frame["sample_id"]))
    write_run(tmp_path / "a", PROTOCOL, frame, resamples=0)
    write_run(tmp_path / "b", PROTOCOL, frame.assign(p_fake=frame["p_fake"][::-1].to_numpy()), resamples=0)
    area = row(compare_runs(tmp_path / "a", tmp_path / "b", resamples=100).rows, "auc")
    assert (area.p, area.test, area.null_reason) == (None, None, "no test: a class has fewer than two sources")


def test_few_sources_bound_what_a_test_can_show(tmp_path: Path) -> None:
    frame = toy_predictions(PROTOCOL, 40)
    number = pd.Series(range(len(frame)))
    for few in (3, 40):
        some = frame.assign(source_key=("s" + (number % few).astype(str)).to_numpy())
        right = (number % 7 > 0).to_numpy()
        write_run(tmp_path / f"a{few}", PROTOCOL, some.assign(
            p_fake=0.5 + 0.49 * (2 * some["detection_label"] - 1) * right
        ), resamples=0)  # fmt: skip
        write_run(tmp_path / f"b{few}", PROTOCOL, some, resamples=0)
    found = {few: compare_runs(tmp_path / f"a{few}", tmp_path / f"b{few}", resamples=500).rows for few in (3, 40)}
    assert min(r.p for r in found[3] if r.test == "bootstrap t") >= 2 / 2**3
    drawn = [r for r in found[40] if r.test == "bootstrap t"]
    assert drawn
    assert min(r.p for r in drawn if r.p is not None) >= 2 / 2**40
    assert min(r.p for r in drawn if r.p is not None) < 0.05


def test_small_p_values_are_not_shown_as_zero() -> None:
    column = Column("p", "p", "p_value", 4)
    assert [cell(column, p) for p in (1e-300, 0.00009, 0.0001, 0.5, None)] == [
        "<0.0001", "<0.0001", "0.0001", "0.5000", "–",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        ("scores", "--run", "perfect", "--table", "metrics"),
        ("compare", "--run", "perfect", "--run", "constant", "--resamples", "100", "--all"),
        ("leaderboard", "--runs", ".", "--columns", "fpr95,fpr95_openood"),
    ],
    ids=lambda command: command[0],
)
def test_tables_say_which_class_is_positive(pair: Path, command: tuple[str, ...]) -> None:
    shown = invoke(*(str(pair / word) if word in ("perfect", "constant", ".") else word for word in command))
    text = " ".join(shown.split())
    assert "fpr95: seen faces are the positive class" in text
    assert "fpr95_openood: unseen faces are the positive class, as in OpenOOD" in text


def test_records_without_a_standard_error_have_that_of_their_interval() -> None:
    value = MetricValue("detection", "auc", "unseen", 0.7, 4, True)
    assert spread_of(value) is None
    found = spread_of(replace(value, ci95=(0.7 - 1.96 * 0.05, 0.7 + 1.96 * 0.05)))
    assert found is not None
    assert found.error == pytest.approx(0.05, rel=1e-4)
    assert spread_of(replace(value, ci95=(0.6, 0.8), standard_error=0.04, df=7.0)) == Spread(0.04, 7.0)
