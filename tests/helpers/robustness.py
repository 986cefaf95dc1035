"""A robustness record made of random predictions, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from helpers.toy import toy_predictions, toy_protocol

from dfad_bench.core.files import write_json
from dfad_bench.core.record import ResultRecord, plain
from dfad_bench.core.run_parquet import write_predictions
from dfad_bench.report.robustness.scores import build_robustness, read_robustness

SETTINGS: dict[str, Any] = {
    "corrupt_at": 256,
    "image_size": 32,
    "seed": 0,
    "views_from": "corrupted",
    "checkpoint_sha256": "0" * 64,
    "resize": "lanczos",
    "corruptions": [
        {
            "name": "jpeg", "title": "JPEG", "meaning": "quality", "paper_exact": False, "source": "us",
            "operator": "jpeg", "values": {"1": 80, "5": 10},
        },
        {
            "name": "blur", "title": "Blur", "meaning": "pixels", "paper_exact": True, "source": "a paper",
            "operator": "blur", "values": {"3": 13},
        },
    ],
}  # fmt: skip
CELLS = [("none", 0), ("jpeg", 1), ("jpeg", 5), ("blur", 3)]


def toy_grid(seed: int = 0) -> pd.DataFrame:
    """Predictions of every cell of `SETTINGS`; cell k has those of seed `seed + k`."""
    protocol = toy_protocol()
    frames = [
        toy_predictions(protocol, seed=seed + k).assign(corruption=name, severity=severity)
        for k, (name, severity) in enumerate(CELLS)
    ]
    return pd.concat(frames, ignore_index=True)


def toy_facts(seed: int = 0) -> dict[str, Any]:
    """What the engine knows of a run, without scores and predictions."""
    protocol = toy_protocol()
    return {
        "status": "complete",
        "created_utc": "2026-01-01T00:00:00Z",
        "toolkit": {"version": "0", "git_commit": None, "git_dirty": None},
        "model": {
            "name": "toy", "registry_sha256": "0" * 64, "params_total": 1, "params_trainable": 1, "task": "both",
            "checkpoint_sha256": None, "init": {"kind": "random"},
        },
        "protocol": {"name": protocol.name, "version": "1", "sha256": protocol.sha256, "config": plain(protocol)},
        "manifest": {
            "name": "synthetic", "content_sha256": "a" * 64, "rows": 1, "leakage": {},
            "splits": {"test": {"rows": 200, "content_sha256": "0" * 64}},
        },
        "run": {
            "run_id": "r", "seed": seed, "config_sha256": f"{seed:064x}", "precision": "fp32", "world_size": 1,
            "steps": 1, "resumed": 0,
        },
        "environment": {"python": "3", "torch": "2", "device": "cpu", "deterministic": True},
        "samples": {"expected": 200, "evaluated": 200, "failed": 0},
    }  # fmt: skip


def toy_evaluation(
    folder: Path, seed: int = 0, settings: dict[str, Any] = SETTINGS, frame: pd.DataFrame | None = None
) -> tuple[ResultRecord, dict]:
    """A folder as a robustness evaluation leaves it, with its record; returns record and settings."""
    frame = toy_grid(10 * seed) if frame is None else frame
    digest = write_predictions(folder / "predictions.parquet", frame)
    predictions = {
        "path": "predictions.parquet",
        "sha256": digest,
        "rows": len(frame),
        "columns": list(frame.columns),
    }
    write_json(folder / "run.json", {**toy_facts(seed), "predictions": predictions})
    write_json(folder / "settings.json", settings)
    build_robustness(folder, resamples=20)
    return read_robustness(folder)
