"""Numbers by a column of the faces: shares are those of pandas, gaps to the best value, intervals over sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

from dfad_bench.api.by_value import scores_by
from dfad_bench.api.imports import ImportedRun, import_predictions
from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import ConfigError
from dfad_bench.intake.settings import ImportSettings
from dfad_bench.report.table import Table

TONES = ("I", "II", "III")


def annotated(rows: int = 600, per_source: int = 2, seed: int = 0) -> pd.DataFrame:
    """Real and forged faces of three tones; real ones of the third are called forged more often."""
    rng = np.random.default_rng(seed)
    real, source = rng.random(rows) < 0.5, np.arange(rows) // per_source
    tone = np.array(TONES)[source % 3]
    middle = np.where(real, np.where(tone == "III", 0.55, 0.3), 0.7)
    return pd.DataFrame(
        {
            "file": [f"{k}.png" for k in range(rows)], "label": np.where(real, "real", "fake"),
            "generator": np.where(real, "", "sdxl"), "source_key": [f"s{k}" for k in source], "tone": tone,
            "p_fake": np.clip(middle + 0.2 * rng.standard_normal(rows), 0, 1),
        }
    )  # fmt: skip


def imported(frame: pd.DataFrame, folder: Path, **settings: object) -> ImportedRun:
    frame.to_csv(folder / "t.csv", index=False)
    return import_predictions(folder / "t.csv", folder / "run", ImportSettings(**settings))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    run = imported(annotated(), tmp_path_factory.mktemp("tones"), keep=("tone",))
    return scores_by(run.folder, "tone")


def rows_of(table: Table, number: str) -> dict[str, dict]:
    return {str(row["value"]): dict(row) for row in table.rows if row["number"] == number}


def test_shares_are_those_of_pandas_and_scikit_learn(table: Table) -> None:
    frame = annotated()
    real = frame["label"] == "real"
    wanted = (frame["p_fake"][real] <= 0.5).groupby(frame["tone"][real]).mean()
    found = rows_of(table, "real faces called real")
    assert {name: row["share"] for name, row in found.items()} == pytest.approx(wanted.to_dict())
    assert next(iter(found)) == "III"  # the worst first
    assert found["III"]["gap"] == pytest.approx(wanted["III"] - wanted.max())
    for name, row in rows_of(table, "detection auc").items():
        mine = frame[frame["tone"] == name]
        assert row["share"] == pytest.approx(roc_auc_score(mine["label"] == "fake", mine["p_fake"]))


def test_shares_and_gaps_are_those_of_fairlearn(table: Table) -> None:
    metrics = pytest.importorskip("fairlearn.metrics", reason="needs fairlearn: pip install dfad-bench[test]")
    frame = annotated()
    forged, called = (frame["label"] == "fake").astype(int), (frame["p_fake"] > 0.5).astype(int)
    functions = {
        "forged faces called forged": metrics.true_positive_rate, "real faces called real": metrics.true_negative_rate,
    }  # fmt: skip
    theirs = metrics.MetricFrame(metrics=functions, y_true=forged, y_pred=called, sensitive_features=frame["tone"])
    for name in functions:
        found = rows_of(table, name)
        assert {value: row["share"] for value, row in found.items()} == pytest.approx(theirs.by_group[name].to_dict())
        worst = next(iter(found.values()))
        assert worst["share"] == pytest.approx(theirs.group_min()[name])
        assert -worst["gap"] == pytest.approx(theirs.difference(method="between_groups")[name])


def test_a_gap_that_is_there_is_told_from_one_that_is_not(table: Table) -> None:
    real, forged = (rows_of(table, name) for name in ("real faces called real", "forged faces called forged"))
    assert real["III"]["gap_high"] < 0
    assert all(row["low"] < row["share"] < row["high"] for row in real.values())
    worst = next(iter(forged.values()))
    assert worst["gap_low"] < 0 < worst["gap_high"]
    notes = " ".join(table.notes)
    assert "real faces called real: worst III" in notes
    assert "apart by chance" in notes
    assert "1 - 2e" in notes


def test_faces_of_one_source_count_as_one(tmp_path: Path) -> None:
    alone = annotated(150, per_source=1)
    copies = pd.concat([alone.assign(file=alone["file"] + f"#{k}") for k in range(4)], ignore_index=True)
    widths = []
    for name, frame in (("alone", alone), ("copies", copies)):
        (tmp_path / name).mkdir()
        run = imported(frame, tmp_path / name, keep=("tone",))
        row = rows_of(scores_by(run.folder, "tone"), "real faces called real")["III"]
        widths.append(row["high"] - row["low"])
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


def test_annotations_of_another_table_and_what_lacks_them(tmp_path: Path) -> None:
    frame = annotated()
    run = imported(frame, tmp_path)
    facts = frame[["file", "tone"]].rename(columns={"file": "sample_id"})[:-10]
    facts.to_csv(tmp_path / "facts.csv", index=False)
    found = scores_by(run.folder, "tone", facts=tmp_path / "facts.csv")
    assert any("10 of 600 faces have no value in tone" in note for note in found.notes)
    words = ["scores", "--run", str(run.folder), "--by", "tone", "--facts", str(tmp_path / "facts.csv")]
    shown = CliRunner().invoke(dfad, [*words, "--format", "csv"])
    assert shown.exit_code == 0, shown.output
    assert "real faces called real,III" in shown.output
    for column, message in (("tone", "others by --facts or --manifest"), ("source_key", "300 values in column")):
        with pytest.raises(ConfigError, match=message):
            scores_by(run.folder, column)
    with pytest.raises(ConfigError, match="no column 'age'"):
        scores_by(run.folder, "age", facts=tmp_path / "facts.csv")
    frame.assign(group="x").to_csv(tmp_path / "g.csv", index=False)
    for kept, message in (("age", "--keep 'age': no such column"), ("group", "have a column of that name")):
        with pytest.raises(ConfigError, match=message):
            import_predictions(tmp_path / "g.csv", tmp_path / "other", ImportSettings(keep=(kept,)))
