"""Several models of one table, wide or long, each as a run; what lacks an answer is counted, never filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

from dfad_bench.api.imports import ImportedRun, import_models, import_predictions
from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import ConfigError
from dfad_bench.intake.settings import ImportSettings

MODELS = ("npr", "p_own", "a/b c")


def wide(count: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    forged = np.arange(count) % 2 == 1
    frame = pd.DataFrame({
        "file": [f"{k}.png" for k in range(count)], "label": np.where(forged, "fake", "real"),
        "generator": np.where(forged, "sdxl", ""), "source": np.where(forged, "", "ffhq"),
        "modality": np.where(np.arange(count) < 50, "image", "audio"),
    })  # fmt: skip
    for place, name in enumerate(MODELS):
        frame[name] = np.clip(0.5 + (0.05 + 0.1 * place) * np.where(forged, 1, -1) + 0.2 * rng.normal(size=count), 0, 1)
    return frame


def imported(folder: Path, frame: pd.DataFrame, **settings: Any) -> tuple[ImportedRun, ...]:
    frame.to_csv(folder / "t.csv", index=False)
    return import_models(folder / "t.csv", folder / "runs", ImportSettings(**settings))


def area(run: ImportedRun) -> float | None:
    return next(v.value for v in run.record.metrics if (v.metric, v.subset, v.averaging) == ("auc", "unseen", "micro"))


def test_a_column_a_model_is_a_run_each(tmp_path: Path) -> None:
    frame = wide()
    runs = imported(tmp_path, frame, models=MODELS, only={"modality": "image"})
    assert [run.folder.name for run in runs] == ["npr", "p_own", "a_b_c"]
    assert [run.record.model.display for run in runs] == list(MODELS)
    image = frame[frame["modality"] == "image"]
    for run, name in zip(runs, MODELS, strict=True):
        assert area(run) == pytest.approx(roc_auc_score(image["label"] == "fake", image[name]), abs=1e-6)
        assert run.record.model.heads == "detection"
    assert len({run.record.manifest.content_sha256 for run in runs}) == 1  # comparable: the same faces


def test_a_long_table_gives_the_same_runs(tmp_path: Path) -> None:
    frame = wide()
    about = [name for name in frame if name not in MODELS]
    long = frame.melt(about, list(MODELS), "detector", "p_fake")
    (tmp_path / "wide").mkdir()
    first = imported(tmp_path / "wide", frame, models=MODELS)
    second = imported(tmp_path, long, model_column="detector")
    assert [area(run) for run in second] == pytest.approx([area(run) for run in first])
    assert [run.folder.name for run in second] == [run.folder.name for run in first]


def test_rows_without_an_answer_are_counted_and_refused_above_the_limit(tmp_path: Path) -> None:
    frame = wide()
    frame.loc[frame["modality"] == "audio", "npr"] = np.nan
    with pytest.raises(ConfigError, match="10 rows without an answer, of 60: more than --max-missing 0.05"):
        imported(tmp_path, frame, models=("npr",))
    (run,) = imported(tmp_path, frame, models=("npr",), max_missing=0.2)
    assert run.record.status == "partial"
    assert run.record.samples.evaluated == 50


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"models": ("npr",), "model_column": "modality"}, "give one"),
        ({}, "give one"),
        ({"models": ("nobody",)}, "no column 'nobody'"),
        ({"models": ("npr",), "name": "x"}, "of one model, and here are several"),
        ({"models": ("npr",), "layout": "dfwb"}, "is of one model"),
        ({"models": ("a/b c", "a/b  c")}, "no folder for the model 'a/b  c': 'a/b c' has it"),
        ({"models": ("..",)}, "no folder for the model"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(tmp_path: Path, settings: Any, match: str) -> None:
    frame = wide().assign(**{"a/b  c": 0.5, "..": 0.5})
    with pytest.raises(ConfigError, match=match):
        imported(tmp_path, frame, **settings)
    assert not (tmp_path / "runs").exists()


def test_the_command_makes_them_and_one_function_is_not_the_other(tmp_path: Path) -> None:
    wide().to_csv(tmp_path / "t.csv", index=False)
    given = ["import-predictions", str(tmp_path / "t.csv"), "--out", str(tmp_path / "runs"), "--models", "npr,p_own"]
    result = CliRunner().invoke(dfad, given)
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"npr", "p_own"}
    with pytest.raises(ConfigError, match="make several runs"):
        import_predictions(tmp_path / "t.csv", tmp_path / "one", ImportSettings(models=("npr",)))
