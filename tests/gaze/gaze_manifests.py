"""Small manifests of rendered eyes with a known gaze."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rendered_eyes import SIDE, draw_faces

from dfad_bench.data.images import encode_png
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.data.manifest_schema import sample_id

KINDS = {"real": ("none", "none", 0), "toy-swap": ("FS", "gan", 1), "toy-face": ("EFS", "diffusion", 1)}


def write_eyes(
    folder: Path, *, count: int, seed: int, name: str = "toy", without_landmarks: int = 0
) -> tuple[Manifest, pd.DataFrame]:
    """A manifest of `count` faces, a third real, a third swaps of these, a third synthesised, and one refused row.

    Returns:
        The manifest, and the truth: sample_id, pitch_rad, yaw_rad.
    """
    rows: list[dict[str, Any]] = [_row(name, "refused.png", "real", status="no_face", reason="none found")]
    truth = []
    crops, landmarks, gazes, _ = draw_faces(count, seed) if count else ([], [], [], [])
    generators = list(KINDS)
    for index in range(count):
        generator = generators[index % 3]
        origin = f"{generator}/{index:04d}.png"
        target = sample_id(name, f"real/{index - 1:04d}.png") if generator == "toy-swap" else None
        # the source is four times as large as the crop and begins at (10, 20)
        source = np.asarray(landmarks[index]) * 4 + [10, 20]
        seen = index >= without_landmarks
        rows.append(
            _row(
                name,
                origin,
                generator,
                status="ok",
                image={"bytes": encode_png(crops[index]), "path": None},
                target_id=target,
                crop_sha256=hashlib.sha256(crops[index].tobytes()).hexdigest(),
                landmarks=source.ravel().tolist() if seen else None,
                crop_box=[10.0, 20.0, 10.0 + 4 * SIDE, 20.0 + 4 * SIDE],
                crop_affine=[0.25, 0.0, -2.5, 0.0, 0.25, -5.0],
                width=SIDE,
                height=SIDE,
            )
        )
        truth.append({"sample_id": rows[-1]["sample_id"], "pitch_rad": gazes[index][0], "yaw_rad": gazes[index][1]})
    return write_manifest(folder, name, rows, shard_size=16), pd.DataFrame(truth)


def _row(dataset: str, origin: str, generator: str, **values: Any) -> dict[str, Any]:
    forgery, family, label = KINDS[generator]
    return {
        "sample_id": sample_id(dataset, origin),
        "dataset": dataset,
        "generator": generator,
        "forgery": forgery,
        "family": family,
        "attribution_label": 0 if label == 0 else -1,
        "detection_label": label,
        "origin": origin,
        **values,
    }
