"""Accuracy by release month: the oldest generator first, how each month is known, and none is left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.open_runs import write_open_run
from helpers.toy import toy_protocol

import dfad_bench as dfad
from dfad_bench.api.open_world import draw_open_world
from dfad_bench.cli.main import dfad as command
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.protocol import Group
from dfad_bench.core.record import read_record
from dfad_bench.core.run_folder import RunFolder

UNSEEN = ("flux", "dfdc", "stylegan2", "midjourney")
PROTOCOL = toy_protocol(unseen=(Group("real", "synthetic-outdoor"), *(Group(name, "mine") for name in UNSEEN)))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("months") / "run"
    write_open_run(folder, PROTOCOL, spread=2.5, sources={"test": 12}, resamples=100)
    return folder


def test_generators_stand_by_month_and_those_without_one_behind_them(run: Path) -> None:
    table = dfad.open_world(run, "months", resamples=0)
    rows = {row["group"]: row for row in table.rows}
    forged = [group for group in PROTOCOL.groups if group.taxon.detection_label == 1]
    assert set(rows) == {group.key for group in forged}
    assert [row["placed"] for row in table.rows][:3] == ["2019-12", "2024-08", None]
    assert all(row["placed"] is None for row in table.rows[2:])
    assert rows["mine/flux"]["known"] in ("V", "W")
    assert rows["mine/dfdc"]["month"] is not None  # of a data set, which places no method in time
    assert "data set" in rows["mine/dfdc"]["remark"]
    assert "several versions" in rows["mine/midjourney"]["remark"]
    assert any("4 of 6 generators have no month" in note for note in table.notes)


def test_shares_and_intervals_are_those_of_the_record(run: Path) -> None:
    record = read_record(RunFolder(run).record)
    stated = {(v.metric, v.subset): v for v in record.metrics if v.params.get("threshold") in (None, 0.9)}
    for row in dfad.open_world(run, "months", resamples=0).rows:
        key = str(row["group"])
        value = stated["seen_accuracy" if row["side"] == "seen" else "unseen_accuracy", key]
        assert row["attributed"] == pytest.approx(value.value)
        assert (row["attributed_low"], row["attributed_high"]) == pytest.approx(value.ci95)
        counts = record.groups[key]
        assert row["detected"] == pytest.approx(counts.tp / (counts.tp + counts.fn))
        assert row["detected_low"] <= row["detected"] <= row["detected_high"]


def test_an_expert_that_was_not_trained_has_no_accuracy(tmp_path: Path) -> None:
    from test_report_real_sources import imported, matrix

    folder = imported(tmp_path, "theirs", matrix(2, 0))
    rows = dfad.open_world(folder, "months", resamples=0).rows
    assert all("attributed" not in row and row["detected"] is not None for row in rows)
    assert [row["placed"] for row in rows] == sorted(filter(None, (row["placed"] for row in rows))) + [None] * sum(
        row["placed"] is None for row in rows
    )


@pytest.mark.heavy
def test_the_figure_holds_every_generator(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "months.svg"
    given = ["scores", "--run", str(run), "--table", "months", "--figure", str(path), "--format", "csv"]
    result = CliRunner().invoke(command, given)
    assert result.exit_code == 0, result.output
    text = path.read_text(encoding="utf-8")
    names = [str(row["generator"]) for row in dfad.open_world(run, "months", resamples=0).rows]
    assert all(f"<!-- {name}   " in text for name in names)
    again = tmp_path / "again.svg"
    draw_open_world(run, again, table="months")
    assert again.read_bytes() == path.read_bytes()
    with pytest.raises(ConfigError, match="no figure 'kin'"):
        draw_open_world(run, again, table="kin")  # type: ignore[arg-type]  # what a user may write
