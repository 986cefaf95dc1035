"""How well does a gaze estimator agree with itself on real photographs, and with the truth on synthetic faces?

Real photographs: the same picture mirrored, and compressed as JPEG of quality 60, goes through the whole chain
(face detection, crop, gaze) again. Synthetic faces: the gaze they were drawn with. Prints JSON.

Example: DFAD_CORPUS=path python benchmarks/gaze_agreement.py --out benchmarks/results/gaze_agreement.json
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import platform
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from dfad_bench.core.files import write_json
from dfad_bench.data.faces import FaceCropper, load_crop_profile
from dfad_bench.data.images import ImageRefused, decode_image
from dfad_bench.data.synthetic.faces import draw_face
from dfad_bench.data.synthetic.layout import planned_paths
from dfad_bench.gaze.estimators.base import GazeEstimator, GazeResult, build_estimator
from dfad_bench.gaze.resample import choose


def gaze_of(images: Iterable[Image.Image], cropper: FaceCropper, estimator: GazeEstimator) -> tuple[GazeResult, float]:
    """Gaze through the whole chain (nan where no face is found), and seconds a face of the estimator alone."""
    crops, points, scales = [], [], []
    side = cropper.profile.size
    for image in images:
        try:
            crop = cropper.crop(image)
        except ImageRefused:
            crops.append(np.zeros((side, side, 3), np.uint8))
            points.append(np.full((5, 2), np.nan))
            scales.append(np.nan)
            continue
        scale = (crop.crop_box[2] - crop.crop_box[0]) / side
        crops.append(crop.pixels)
        points.append((np.reshape(crop.landmarks, (5, 2)) - crop.crop_box[:2]) / scale)
        scales.append(scale)
    stacked, landmarks, scale = np.stack(crops), np.stack(points), np.array(scales)
    began = time.perf_counter()
    result = estimator.estimate(stacked, landmarks, source_scale=scale)
    return result, (time.perf_counter() - began) / len(crops)


def agreement(found: GazeResult, other_pitch: np.ndarray, other_yaw: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
    """Correlation, and median and mean difference in degrees, of the rows where both know a gaze."""
    rows = rows & np.isfinite(found.yaw_rad) & np.isfinite(other_yaw)
    facts: dict[str, Any] = {"n": int(rows.sum())}
    for name, first, second in (("yaw", found.yaw_rad, other_yaw), ("pitch", found.pitch_rad, other_pitch)):
        difference = np.degrees(first[rows] - second[rows])
        facts[f"{name}_r"] = round(float(np.corrcoef(first[rows], second[rows])[0, 1]), 4)
        facts[f"{name}_median_abs_deg"] = round(float(np.median(np.abs(difference))), 3)
        facts[f"{name}_mean_deg"] = round(float(difference.mean()), 3)
    return facts


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def photographs(corpus: Path, count: int) -> list[Image.Image]:
    with (corpus / "SOURCES.csv").open(encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["kind"] == "real" and row["media"] == "image"]
    paths = sorted(row["path"] for row in rows if row["mtcnn_faces"] == "1")
    return [decode_image(corpus / paths[index]) for index in choose(paths, count, seed=0)]


def on_photographs(images: list[Image.Image], cropper: FaceCropper, estimator: GazeEstimator) -> dict[str, Any]:
    plain, seconds = gaze_of(images, cropper, estimator)
    mirrored, _ = gaze_of([ImageOps.mirror(image) for image in images], cropper, estimator)
    coded, _ = gaze_of([jpeg(image, 60) for image in images], cropper, estimator)
    large = (plain.flags & 2) == 0
    return {
        "images": len(images),
        "faces": int(np.isfinite(plain.yaw_rad).sum()),
        "head_only": int((~large).sum()),
        "eyes_disagree": int(((plain.flags & 4) != 0).sum()),
        "mirrored": agreement(plain, mirrored.pitch_rad, -mirrored.yaw_rad, large),
        "jpeg60": agreement(plain, coded.pitch_rad, coded.yaw_rad, large),
        "estimator_milliseconds_a_face": round(seconds * 1000, 3),
    }


def on_synthetic(count: int, cropper: FaceCropper, estimator: GazeEstimator) -> dict[str, Any]:
    paths = planned_paths(per_group=count)
    drawn = [draw_face(0, paths[index]) for index in choose(paths, count, seed=0)]
    images = [Image.fromarray(image) for image, _ in drawn]
    plain, _ = gaze_of(images, cropper, estimator)
    mirrored, _ = gaze_of([ImageOps.mirror(image) for image in images], cropper, estimator)
    truth = np.array([(face.pitch_rad, face.yaw_rad) for _, face in drawn])
    every = np.ones(count, dtype=bool)
    return {
        "truth": agreement(plain, truth[:, 0], truth[:, 1], every),
        "mirrored": agreement(plain, mirrored.pitch_rad, -mirrored.yaw_rad, every),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--estimator", default="geometric")
    parser.add_argument("--weights", help="weight file of the estimator")
    parser.add_argument("--photographs", type=int, default=200, help="real photographs of the corpus")
    parser.add_argument("--synthetic", type=int, default=300, help="synthetic faces")
    parser.add_argument("--corpus", type=Path, default=os.environ.get("DFAD_CORPUS"), help="default: $DFAD_CORPUS")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cropper = FaceCropper(load_crop_profile("face-256-1.3"))
    estimator = build_estimator(options.estimator, options.weights)
    result: dict[str, Any] = {
        "question": "agreement of gaze with its mirrored and JPEG-60 self (photographs) and with the truth (synthetic)",
        "estimator": options.estimator,
        "fingerprint": estimator.fingerprint,
        "synthetic": on_synthetic(options.synthetic, cropper, estimator),
        "hardware": {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
    }
    if options.corpus:
        images = photographs(options.corpus, options.photographs)
        result["photographs"] = on_photographs(images, cropper, estimator)
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
