"""Processed real faces: real, in no number but their own, a column of boards, and null where there are none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.runs import write_run
from helpers.toy import toy_predictions, toy_protocol

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.labels import REAL, Family
from dfad_bench.core.notices import collect_notices
from dfad_bench.core.protocol import Group, Protocol
from dfad_bench.core.record import MetricValue, plain
from dfad_bench.core.strict import from_mapping
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.data.processed import without_processed
from dfad_bench.report.board_columns import board_columns
from dfad_bench.report.leaderboard import board
from dfad_bench.report.mistakes import mistakes_tables
from dfad_bench.report.run_tables import groups_table
from dfad_bench.report.score import score
from dfad_bench.report.trivial import ALWAYS_FAKE, MAJORITY, trivial_scores
from dfad_bench.report.verify import verify_record

PLAIN = toy_protocol()
PROCESSED = (Group("gfpgan", "synthetic"), Group("beauty_filter", "synthetic"))
PROTOCOL = replace(PLAIN, unseen=(*PLAIN.unseen, *PROCESSED))


def predictions(seed: int = 0, per_group: int = 40) -> pd.DataFrame:
    return toy_predictions(PROTOCOL, per_group, seed)


def alarms(metrics: tuple[MetricValue, ...]) -> dict[tuple[str, str], MetricValue]:
    return {(m.subset, m.averaging): m for m in metrics if m.metric == "false_alarms"}


def test_false_alarms_are_the_share_called_forged_with_n_and_an_interval_over_sources() -> None:
    frame = predictions()
    found = alarms(score(frame, PROTOCOL, resamples=200).metrics)
    mine = frame[frame["group"].isin([group.key for group in PROCESSED])]
    whole = found["processed", "micro"]
    assert whole.value == pytest.approx((mine["p_fake"] > 0.5).mean())
    assert (whole.n, whole.sources) == (80, mine["source_key"].nunique())
    assert whole.ci95 is not None
    assert whole.value is not None
    assert whole.ci95[0] < whole.value < whole.ci95[1]
    for group in PROCESSED:
        own = frame.loc[frame["group"] == group.key, "p_fake"] > 0.5
        assert found[group.key, "none"].value == pytest.approx(own.mean())
    assert found["processed", "macro"].value == pytest.approx(whole.value)  # groups of equal size


def test_they_are_in_no_other_number() -> None:
    frame = predictions()
    with_them = score(frame, PROTOCOL, resamples=20).metrics
    without = score(frame[~frame["group"].isin([g.key for g in PROCESSED])], PLAIN, resamples=20).metrics
    assert [m for m in with_them if m.metric != "false_alarms"] == [m for m in without if m.metric != "false_alarms"]


def test_without_such_faces_the_number_is_null_and_says_why() -> None:
    for protocol in (PLAIN, PROTOCOL):  # none in the protocol, none among the predictions
        found = alarms(score(toy_predictions(PLAIN), protocol, resamples=0).metrics)
        assert {(m.value, m.null_reason) for m in found.values()} == {(None, "no processed real faces")}
        assert set(found) == {("processed", "micro"), ("processed", "macro")}


def test_trivial_rows_are_right_on_them() -> None:
    counts = {group.key: 10 for group in PROTOCOL.groups}
    trained = {"synthetic/real": 5, "synthetic/synthetic-gan-a": 9, "synthetic/synthetic-diffusion-a": 1}
    scores = trivial_scores(PROTOCOL, counts, trained)
    assert alarms(scores[ALWAYS_FAKE].metrics)["processed", "micro"].value == 1.0
    assert alarms(scores[MAJORITY].metrics)["processed", "micro"].value == 1.0  # more forged faces than real ones
    real = trivial_scores(PROTOCOL, counts, {**trained, "synthetic/real": 50})
    assert alarms(real[MAJORITY].metrics)["processed", "micro"].value == 0.0


def test_they_cannot_be_a_class() -> None:
    seen = (*PLAIN.seen, Group("gfpgan", "synthetic", 3))
    with pytest.raises(ValueError, match="synthetic/gfpgan: processed real faces are no class of attribution"):
        replace(PLAIN, seen=seen)
    raw = plain(PLAIN) | {"seen": [plain(group) for group in seen]}
    with pytest.raises(ConfigError, match=r"^mine: synthetic/gfpgan: processed real faces are no class"):
        from_mapping(Protocol, raw, "mine")


def test_manifest_rows_tell_them_apart_and_group_them_with_no_family() -> None:
    row = taxonomy()["gfpgan"]
    assert (row.detection_label, row.forgery.value, row.grouping, row.family) == (REAL, "none", Family.NONE, Family.GAN)
    frame = pd.DataFrame({"generator": ["real", "gfpgan", "stylegan2", "nobody"]})
    with collect_notices() as lines:
        assert without_processed(frame, "faces")["generator"].tolist() == ["real", "stylegan2", "nobody"]
        assert without_processed(frame[:1], "faces") is not None
    assert lines == ["faces: 1 processed real faces are left out; they are neither forged nor as they were taken"]


def test_boards_have_the_column_where_the_protocol_has_such_faces(tmp_path: Path) -> None:
    records = [write_run(tmp_path / str(seed), PROTOCOL, predictions(seed)) for seed in range(2)]
    table = board(PROTOCOL, records[:1], per_group=True)
    titles = {column.key: column.title for column in table.columns}
    assert titles["false_alarms"] == "False alarms, processed"
    assert "unseen_acc:synthetic/gfpgan" not in titles
    assert titles["false_alarms:synthetic/gfpgan"] == "False alarms, synthetic/GFPGAN"
    rows = {row["model"]: row for row in table.rows}
    assert rows[ALWAYS_FAKE]["false_alarms"] == 1.0
    (measured,) = [row for row in table.rows if row["kind"] == "measured"]
    stated = alarms(records[0].metrics)["processed", "micro"]
    assert (measured["false_alarms"], measured["alarms_n"]) == (stated.value, 80)
    assert stated.ci95 is not None
    assert measured["alarms_range"] == f"{100 * stated.ci95[0]:.2f} to {100 * stated.ci95[1]:.2f}"
    assert "false_alarms" not in [column.key for column in board_columns(PLAIN, printed=False, per_group=False)]
    chosen = board(PLAIN, [write_run(tmp_path / "plain", PLAIN, toy_predictions(PLAIN))], columns=["false_alarms"])
    assert [row["false_alarms"] for row in chosen.rows] == [None] * len(chosen.rows)


def test_a_run_verifies_and_its_tables_say_which_they_are(tmp_path: Path) -> None:
    record = write_run(tmp_path / "run", PROTOCOL, predictions())
    assert not verify_record(tmp_path / "run").differences
    assert "in no AUC: synthetic/beauty_filter, synthetic/gfpgan." in groups_table(record).notes[0]
    mistaken = mistakes_tables(record, predictions(), PROTOCOL)
    assert not {row["group"] for row in mistaken["attribution"].rows} & {group.key for group in PROCESSED}
    assert {row["group"] for row in mistaken["detection"].rows} >= {group.key for group in PROCESSED}


def test_scores_of_one_source_have_no_interval() -> None:
    frame = predictions().assign(source_key="one")
    assert np.isfinite(alarms(score(frame, PROTOCOL, resamples=20).metrics)["processed", "micro"].value or np.nan)
    found = alarms(score(frame, PROTOCOL, resamples=20).metrics)["processed", "micro"]
    assert found.ci95 is None
    assert str(found.ci_reason).startswith("no interval: 1 sources")
