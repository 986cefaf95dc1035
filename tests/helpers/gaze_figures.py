"""Manifests of flat faces with random gaze, and the figures of their study."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dfad_bench.data.images import encode_png
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.data.manifest_schema import sample_id
from dfad_bench.gaze.analysis import GazeReport, analyse
from dfad_bench.gaze.settings import GazeSettings
from dfad_bench.report.figures.gaze import save_gaze_figures
from dfad_bench.report.figures.gaze_fid import DrawnFace

SIDE = 64
LANDMARKS = [22.0, 26.0, 42.0, 26.0, 32.0, 38.0, 24.0, 47.0, 40.0, 47.0]
FORGERIES = ("EFS", "FS", "AM", "FR", "TF")
FAMILIES = ("gan", "diffusion", "flow", "vae", "autoregressive", "graphics", "none")
MANY = [f"generator_with_long_name-{index:02d}" for index in range(25)]


def make(
    folder: Path, generators: list[str], *, dataset: str = "toy", per: int = 4, forgery: str | None = None
) -> tuple[Manifest, pd.DataFrame]:
    """A manifest of flat faces, and its frame with random gaze; forgery types and families in turn."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for number, generator in enumerate(["real", *generators]):
        real = generator == "real"
        kind = forgery or FORGERIES[(number - 1) % len(FORGERIES)]
        for index in range(per):
            origin = f"{generator}/{index}.png"
            target = None if real or kind == "EFS" else sample_id(dataset, f"real/{index}.png")
            shade = np.broadcast_to(rng.integers(60, 200, 3).astype(np.uint8), (SIDE, SIDE, 3)).copy()
            rows.append(
                {
                    "sample_id": sample_id(dataset, origin),
                    "dataset": dataset,
                    "generator": generator,
                    "forgery": "none" if real else kind,
                    "family": "none" if real else FAMILIES[number % len(FAMILIES)],
                    "attribution_label": 0 if real else -1,
                    "detection_label": 0 if real else 1,
                    "origin": origin,
                    "target_id": target,
                    "status": "ok",
                    "image": {"bytes": encode_png(shade), "path": None},
                    "crop_sha256": hashlib.sha256(shade.tobytes()).hexdigest(),
                    "landmarks": LANDMARKS,
                    "crop_box": [0.0, 0.0, float(SIDE), float(SIDE)],
                    "crop_affine": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
                    "width": SIDE,
                    "height": SIDE,
                }
            )
    manifest = write_manifest(folder, dataset, rows)
    frame = manifest.frame(
        ["sample_id", "dataset", "generator", "forgery", "family", "detection_label", "target_id"]
    ).assign(confidence=0.9, flags=0)
    frame[["pitch_rad", "yaw_rad"]] = rng.normal(0, [0.08, 0.15], (len(frame), 2))
    return manifest, frame


def save(
    out: Path, manifest: Manifest, frames: dict[str, pd.DataFrame], seed: int = 0
) -> tuple[list[Path], dict[str, GazeReport]]:
    reports = {name: analyse(frame, resamples=20) for name, frame in frames.items()}
    return save_gaze_figures(reports, frames, [manifest], out, GazeSettings(seed=seed)), reports


def rows_of(
    count: int, tmp_path: Path, spread: float = 1.0
) -> tuple[GazeReport, list[dict[str, Any]], dict[tuple[str, str], str]]:
    _, frame = make(tmp_path / "m", MANY[:count], per=5)
    frame[["pitch_rad", "yaw_rad"]] *= spread
    report = analyse(frame, resamples=20)
    rows = report.flat()
    return report, rows, {(row["dataset"], row["generator"]): row["generator"] for row in rows[:-1]}


def shown_of(rows: list[dict[str, Any]]) -> dict[tuple[str, str], DrawnFace]:
    picture = np.full((SIDE, SIDE, 3), 90, np.uint8)
    keys = [("", "real"), *((row["dataset"], row["generator"]) for row in rows[:-1])]
    return {key: DrawnFace(picture, picture) for key in keys}
