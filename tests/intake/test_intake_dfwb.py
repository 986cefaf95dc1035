"""Score files of deepfake-workbench, as its documentation lays them out: made up here, none of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from dfad_bench.api.imports import ImportedRun, import_predictions
from dfad_bench.core.errors import ConfigError
from dfad_bench.intake.settings import ImportSettings

NAMED = {"0": "real", "1": "fake"}


def rows(count: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    forged = np.arange(count) % 2 == 1
    return pd.DataFrame({
        "dataset": "ffpp", "key": [f"{k // 4:03d}_{k % 4}" for k in range(count)], "compression": "c23",
        "label": forged.astype(int), "score": np.where(forged, 0.6, 0.4) + 0.2 * rng.uniform(-1, 1, count),
        "status": "ok", "method": np.where(forged, np.array(["Deepfakes", "FaceSwap"])[np.arange(count) // 2 % 2], ""),
        "x_note": "kept out",
    })  # fmt: skip


def written(folder: Path, frame: pd.DataFrame, **meta: Any) -> Path:
    path = folder / "test-0b4c5f19.scores.csv"
    frame.to_csv(path, index=False)
    counts = {name: int((frame["status"] == name).sum()) for name in ("ok", "missing", "error")}
    counts["expected"] = len(frame)
    stated = {"schema": "dfwb.scores/1", "labels": "binary", "coverage": counts, "calibration": None, **meta}
    (folder / "test-0b4c5f19.scores.meta.json").write_text(json.dumps(stated), encoding="utf-8")
    return path


def imported(folder: Path, path: Path, **settings: Any) -> ImportedRun:
    return import_predictions(path, folder / "run", ImportSettings(layout="dfwb", **{"labels": NAMED, **settings}))


def test_a_score_file_becomes_a_run(tmp_path: Path) -> None:
    frame = rows()
    run = imported(tmp_path, written(tmp_path, frame))
    area = next(v.value for v in run.record.metrics if (v.metric, v.subset, v.averaging) == ("auc", "unseen", "micro"))
    assert area == pytest.approx(roc_auc_score(frame["label"], frame["score"]))
    groups = set(run.record.groups)
    assert "imported/real:ffpp" in groups
    assert len(groups) == 3
    assert run.record.model.display == "test-0b4c5f19"
    assert run.record.status == "complete"


def test_videos_without_a_score_are_counted_and_make_the_run_partial(tmp_path: Path) -> None:
    frame = rows()
    frame.loc[3, ["status", "score"]] = ["missing", np.nan]
    path = written(tmp_path, frame)
    with pytest.raises(ConfigError, match="1 rows of status missing, of 40: more than --max-missing 0.01"):
        imported(tmp_path, path, max_missing=0.01)
    run = imported(tmp_path, path)
    assert run.record.status == "partial"
    assert run.record.samples.evaluated == 39
    assert any("1 of 40 test faces without a prediction" in warning for warning in run.warnings)


def test_compressions_of_a_video_are_one_source(tmp_path: Path) -> None:
    both = pd.concat([rows(), rows().assign(compression="c40")], ignore_index=True)
    run = imported(tmp_path, written(tmp_path, both))
    assert run.record.samples.evaluated == 80
    assert run.record.samples.sources == 40


@pytest.mark.parametrize(
    ("change", "meta", "match"),
    [
        ({"status": "lost"}, {}, "'lost' is none of ok, missing, error"),
        ({"score": 1.5}, {}, "is no probability from 0 to 1"),
        ({}, {"labels": "method"}, "only the mapping 'binary' is read"),
        ({}, {"schema": "dfwb.scores/2"}, "no meta file of schema dfwb.scores/1"),
        ({}, {"coverage": {"expected": 41}}, "states '?41'? videos, and 40 rows"),
        ({}, {"coverage": [1]}, "states None videos|states 'None' videos"),
    ],
)  # fmt: skip
def test_what_is_no_score_file_is_refused(tmp_path: Path, change: Any, meta: Any, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        imported(tmp_path, written(tmp_path, rows().assign(**change), **meta))


def test_labels_need_names_and_columns_must_be_there(tmp_path: Path) -> None:
    path = written(tmp_path, rows())
    with pytest.raises(ConfigError, match="say --labels 0=real,1=fake"):
        imported(tmp_path, path, labels={})
    bad = tmp_path / "bad.scores.csv"
    rows().drop(columns="status").to_csv(bad, index=False)
    with pytest.raises(ConfigError, match="no column 'status'"):
        imported(tmp_path, bad)


def test_without_its_meta_file_what_is_not_known_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, rows())
    (tmp_path / "test-0b4c5f19.scores.meta.json").unlink()
    told = " ".join(imported(tmp_path, path).warnings)
    assert "label mapping, detector and number of videos are not known" in told
