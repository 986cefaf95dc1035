"""Finished run folders made from given predictions, without training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from dfad_bench.core.files import content_hash, write_json
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ResultRecord, plain, seal
from dfad_bench.core.run_parquet import write_predictions
from dfad_bench.report.run_record import build_record


def run_facts(protocol: Protocol, frame: pd.DataFrame, digest: str, **changes: Any) -> dict[str, Any]:
    """What the engine writes to `run.json`; `changes` replace whole parts."""
    groups = {str(key): int(n) for key, n in frame["group"].value_counts().sort_index().items()}
    config = {"model": "toy", "seed": 0}
    return {
        "status": "complete",
        "created_utc": "2026-01-01T00:00:00Z",
        "toolkit": {"version": "0", "git_commit": None, "git_dirty": None},
        "model": {
            "name": "toy", "display": "Toy", "registry_sha256": "0" * 64, "params_total": 1, "params_trainable": 1,
            "checkpoint_sha256": None, "init": {"kind": "random"}, "task": "both",
        },
        "protocol": {"name": protocol.name, "version": "1", "sha256": protocol.sha256, "config": plain(protocol)},
        "manifest": {
            "name": "synthetic", "content_sha256": "a" * 64, "rows": len(frame), "leakage": {},
            "splits": {"test": {"rows": len(frame), "content_sha256": "0" * 64, "generators": groups}},
        },
        "run": {
            "run_id": "r", "seed": 0, "config_sha256": content_hash(config), "precision": "fp32", "world_size": 1,
            "steps": 7, "resumed": 0, "config": config,
        },
        "environment": {"python": "3", "torch": "2", "device": "cpu", "deterministic": True},
        "samples": {"expected": len(frame), "evaluated": len(frame), "failed": 0},
        "predictions": {
            "path": "predictions.parquet", "sha256": digest, "rows": len(frame), "columns": list(frame.columns),
        },
        "warnings": [],
        **changes,
    }  # fmt: skip


def write_run(
    folder: Path, protocol: Protocol, frame: pd.DataFrame, *, resamples: int = 50, **changes: Any
) -> ResultRecord:
    """A finished run of these predictions, scored."""
    folder.mkdir(parents=True, exist_ok=True)
    digest = write_predictions(folder / "predictions.parquet", frame)
    write_json(folder / "run.json", run_facts(protocol, frame, digest, **changes))
    return build_record(folder, resamples=resamples)


def resealed(record: ResultRecord, changes: Mapping[str | tuple[str, ...], Any]) -> ResultRecord:
    """A record with plain fields replaced, by dotted name or path, and an identity that fits: a careful forger's."""
    raw = plain(record)
    for name, value in changes.items():
        inner, *path = raw, *(name.split(".") if isinstance(name, str) else name)
        for key in path[:-1]:
            inner = inner[int(key) if isinstance(inner, list) else key]
        inner[int(path[-1]) if isinstance(inner, list) else path[-1]] = value
    return seal(raw)
