"""The matrix of deepsafe-bench: its layout on made-up rows, its published areas where it is installed."""

from __future__ import annotations

import gzip
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from dfad_bench.api.imports import import_models, import_predictions
from dfad_bench.core.errors import ConfigError
from dfad_bench.intake import table
from dfad_bench.intake.deepsafe import LICENCE, matrix_table
from dfad_bench.intake.settings import ImportSettings
from dfad_bench.intake.table import read_raw_table

PUBLISHED = {"images": 0.9466, "audio": 0.8290, "video": 0.6694}  # of the ensemble, on the project's first page
DETECTORS = ("prob_npr", "prob_effort")


def made_up(count: int = 80) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    forged = np.arange(count) % 2 == 1
    images = np.arange(count) < 60
    frame = pd.DataFrame({
        "id": [f"x_{k:05d}" for k in range(count)], "modality": np.where(images, "images", "audio"),
        "label": np.where(forged, "fake", "real"),
        "generator": np.where(forged, np.where(np.arange(count) % 4 == 1, "sd21", "flux"), "coco"),
        "ensemble_score": np.clip(0.5 + 0.2 * np.where(forged, 1, -1) + 0.2 * rng.normal(size=count), 0, 1),
        "ensemble_verdict": "real", "ensemble_method": "meta_learner",
    })  # fmt: skip
    for place, name in enumerate(DETECTORS):
        values = np.clip(0.5 + 0.1 * place * np.where(forged, 1, -1) + 0.2 * rng.normal(size=count), 0, 1)
        frame[name] = np.where(images, values, np.nan)
        frame[name.replace("prob_", "lat_")] = 1.5
    return frame


def written(folder: Path, frame: pd.DataFrame) -> Path:
    path = folder / "predictions_medium.csv.gz"
    frame.to_csv(path, index=False)
    return path


def area(record: Any) -> float:
    return float(
        next(v.value for v in record.metrics if (v.metric, v.subset, v.averaging) == ("auc", "unseen", "micro"))
    )


def test_detectors_become_runs_of_the_same_files_and_real_files_keep_their_collection(tmp_path: Path) -> None:
    frame = made_up()
    settings = ImportSettings(layout="deepsafe", only={"modality": "images"}, models=(*DETECTORS, "ensemble_score"))
    runs = import_models(written(tmp_path, frame), tmp_path / "runs", settings)
    images = frame[frame["modality"] == "images"]
    for run, name in zip(runs, (*DETECTORS, "ensemble_score"), strict=True):
        assert area(run.record) == pytest.approx(roc_auc_score(images["label"] == "fake", images[name]), abs=1e-6)
        assert LICENCE in run.warnings
    assert len({run.record.manifest.content_sha256 for run in runs}) == 1
    groups = {v.subset for v in runs[0].record.metrics if v.subset.startswith("imported/")}
    assert any("sd21" in name for name in groups)
    assert any("flux" in name for name in groups)


def test_without_models_the_ensemble_is_read(tmp_path: Path) -> None:
    frame = made_up()
    made = import_predictions(written(tmp_path, frame), tmp_path / "run", ImportSettings(layout="deepsafe"))
    assert area(made.record) == pytest.approx(
        roc_auc_score(frame["label"] == "fake", frame["ensemble_score"]), abs=1e-6
    )


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda f: f.drop(columns="modality"), "no matrix of deepsafe-bench: no column 'modality'"),
        (lambda f: f.assign(label="1"), "column 'label': '1' is neither real nor fake"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, change: Any, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        matrix_table(read_raw_table(written(tmp_path, change(made_up()))))


def test_a_packed_table_is_bounded_by_what_it_unpacks_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(b"id,label\n" + b"x,real\n" * 200_000))
    monkeypatch.setattr(table, "BYTES", 1 << 20)
    with pytest.raises(ConfigError, match=r"unpacks to more than the 1,048,576 bytes"):
        read_raw_table(path)
    path.write_bytes(gzip.compress(b"id,label\nx,real\n")[:-6])
    with pytest.raises(ConfigError, match=r"bomb.csv.gz: not readable as csv"):
        read_raw_table(path)


@pytest.mark.heavy
@pytest.mark.parametrize("modality", PUBLISHED)
def test_published_areas_are_recomputed_to_the_printed_digits(tmp_path: Path, modality: str) -> None:
    try:
        files = metadata.files("deepsafe-bench") or []
    except metadata.PackageNotFoundError:
        pytest.skip("deepsafe-bench is not installed (pip install deepsafe-bench; noncommercial use)")
    path = next(Path(str(file.locate())) for file in files if file.name == "predictions_medium.csv.gz")
    whole = matrix_table(read_raw_table(path))
    mine = whole.kept_rows(whole.texts("modality") == modality)
    found = roc_auc_score(mine.texts("label") == "fake", mine.probabilities("ensemble_score"))
    assert round(float(found), 4) == PUBLISHED[modality]
