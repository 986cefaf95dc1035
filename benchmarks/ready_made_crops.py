"""How many ready-made crops get landmarks by the profile `crops-256-landmarks`, and how far are they from those before?

The crops of a manifest that was built from whole pictures are taken for ready-made ones: as they are, smaller, and cut
to the face's box. Landmarks found on them are compared with those found in the whole picture, in pixels of the
256-pixel crop, and so is the gaze that `geometric` reads by either. Where the picture itself cut the face, so that its
crop is narrower than the margin asks, either may be wrong: those faces are counted apart (`cut`). Prints JSON.

Example: python benchmarks/ready_made_crops.py --manifest manifests/corpus --out ready_made_crops.json
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from dfad_bench.core.cores import usable_cores
from dfad_bench.core.files import write_json
from dfad_bench.data.crop_batches import COLUMNS, crop_batches
from dfad_bench.data.manifest import Manifest
from dfad_bench.gaze.estimators.build import build_estimator
from dfad_bench.ingest.crop.affine import apply_affine
from dfad_bench.ingest.crop.cropper import FaceCropper, load_crop_profile

PROFILE = "crops-256-landmarks"
SIDE = 256
WHOLE = 1.27  # least side of a crop over the box for a face that the picture did not cut; the profile asks for 1.3
_Change = Callable[[Image.Image], tuple[Image.Image, float, float]]  # -> picture, and side and corner of it in the crop


def _resized(side: int) -> _Change:
    return lambda crop: (crop.resize((side, side), Image.Resampling.LANCZOS), float(SIDE), 0.0)


def _tight(share: float) -> _Change:
    def cut(crop: Image.Image) -> tuple[Image.Image, float, float]:
        corner = round((1 - share) / 2 * SIDE)
        inside = crop.crop((corner, corner, SIDE - corner, SIDE - corner))
        return inside, float(SIDE - 2 * corner), float(corner)

    return cut


CHANGES: dict[str, tuple[str, _Change]] = {
    "as_made": ("margin 1.3, 256 pixels", lambda crop: (crop, float(SIDE), 0.0)),
    "at_224": ("resized to 224 pixels", _resized(224)),
    "at_112": ("resized to 112 pixels", _resized(112)),
    "margin_1.15": ("cut to about 1.15 times the box", _tight(1.15 / 1.3)),
    "margin_1.0": ("cut to about the box", _tight(1 / 1.3)),
}


def found_landmarks(cropper: FaceCropper, crop: np.ndarray, change: _Change) -> np.ndarray | None:
    """The five points (5, 2) found on a changed crop, in pixels of the crop (SIDE); None where there are none."""
    picture, side, corner = change(Image.fromarray(crop))
    found = cropper.crop(picture)
    if found.landmarks is None:
        return None
    points = apply_affine(found.affine, np.asarray(found.landmarks).reshape(5, 2))  # in the new crop
    return points * side / SIDE + corner


def gaze_angle(one: Any, other: Any) -> np.ndarray:
    """Degrees (N,) between the gaze directions of two results; nan where one has none."""

    def vectors(result: Any) -> np.ndarray:
        pitch, yaw = result.pitch_rad, result.yaw_rad
        return np.stack([np.cos(pitch) * np.sin(yaw), np.sin(pitch), np.cos(pitch) * np.cos(yaw)], axis=1)

    cosine = (vectors(one) * vectors(other)).sum(axis=1)
    angles: np.ndarray = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return angles


def spread(values: np.ndarray) -> dict[str, float | int]:
    """Number, median and high quantiles."""
    if not len(values):
        return {"number": 0}
    names = {"median": 0.5, "q95": 0.95, "q99": 0.99, "largest": 1.0}
    return {"number": len(values), **{name: round(float(np.quantile(values, q)), 2) for name, q in names.items()}}


def measured(manifest: Manifest, most: int | None) -> dict[str, Any]:
    """Each change: how many faces get landmarks, and how far they are from those of the whole picture."""
    rows = manifest.frame([*COLUMNS, "box"]).set_index("sample_id")
    rows = rows[rows["landmarks"].notna()].iloc[:most]
    whole = pd.Series([_is_whole(box, affine) for box, affine in zip(rows["box"], rows["crop_affine"], strict=True)])
    whole.index = rows.index
    cropper, estimator = FaceCropper(load_crop_profile(PROFILE)), build_estimator("geometric", None)
    rows_of: dict[str, list[np.ndarray]] = {name: [] for name in CHANGES}  # (N, 3): whole, pixels, degrees apart
    seconds = dict.fromkeys(CHANGES, 0.0)
    for batches in crop_batches(manifest, rows, 64):
        for batch in batches:
            known = estimator.estimate(batch.crops, batch.landmarks, "cpu", source_scale=batch.source_scale)
            for name, (_, change) in CHANGES.items():
                begin = time.perf_counter()
                found = [found_landmarks(cropper, crop, change) for crop in batch.crops]
                seconds[name] += time.perf_counter() - begin
                points = np.stack([np.full((5, 2), np.nan) if one is None else one for one in found])
                distances = np.linalg.norm(points - batch.landmarks, axis=2).mean(axis=1)
                new_gaze = estimator.estimate(batch.crops, points, "cpu", source_scale=batch.source_scale)
                kinds = whole.loc[batch.sample_ids].to_numpy()
                rows_of[name].append(np.stack([kinds, distances, gaze_angle(known, new_gaze)], axis=1))
    result: dict[str, Any] = {"faces": len(rows), "whole": int(whole.sum()), "changes": {}}
    for name, (what, _) in CHANGES.items():
        table = np.concatenate(rows_of[name])
        result["changes"][name] = {
            "what": what,
            "ms_a_face": round(1000 * seconds[name] / len(rows), 1),
            **{kind: _part(table[table[:, 0] == flag]) for flag, kind in ((1, "whole"), (0, "cut"))},
        }
    return result


def _is_whole(box: Sequence[float], affine: Sequence[float]) -> bool:
    """Whether the crop is about as wide as the profile's margin asks, so that the picture did not cut the face."""
    longer = max(box[2] - box[0], box[3] - box[1]) * float(np.hypot(affine[0], affine[3]))  # in crop pixels
    return longer <= SIDE / WHOLE


def _part(table: np.ndarray) -> dict[str, Any]:
    found = table[np.isfinite(table[:, 1])]
    return {
        "faces": len(table),
        "with_landmarks": len(found),
        "distance_px": spread(found[:, 1]),
        "gaze_degrees": spread(found[np.isfinite(found[:, 2]), 2]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True, help="built from whole pictures by face-256-1.3")
    parser.add_argument("--most", type=int, help="faces; default all")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    given = parser.parse_args()
    torch.set_num_threads(1)
    manifest = Manifest.open(given.manifest)
    result = {
        "profile": PROFILE,
        "manifest": {"name": manifest.name, "sha256": manifest.sha256, "crop": manifest.info["crop"]["name"]},
        "hardware": {"cores": usable_cores(), "machine": platform.machine(), "python": platform.python_version()},
        **measured(manifest, given.most),
    }
    for name, found in result["changes"].items():
        print(name, found)
    if given.out:
        write_json(given.out, result)


if __name__ == "__main__":
    main()
