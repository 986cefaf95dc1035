"""How many faces a second does the geometric gaze estimator reach on 256-pixel crops, and where does the time go?

Three chains take turns on the same crops, all on one thread with their networks loaded before. Times are the
processor's (a face a second is one on a core of its own), so that other work on the machine hardly counts:

- `chain`: what a build and an extraction do to a face: detection, O-Net on the face and its mirror image, gaze;
- `plain`: one face at a time the obvious way: MTCNN of facenet-pytorch with its default settings on the face and on
  its mirror image, whose landmarks are averaged, then the same estimator with a batch of one;
- `estimator` in batches against one face at a time, which must give the same gaze.

The split is measured by calling the parts one after the other. Images are photographs of $DFAD_CORPUS cropped to 256
pixels; without it, drawn faces.

Example: DFAD_CORPUS=path python benchmarks/gaze_speed.py --out benchmarks/results/gaze_speed.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gaze_agreement import REFERENCE, Faces, crop_faces, photographs
from PIL import Image, ImageOps

from dfad_bench.core.cores import usable_cores
from dfad_bench.core.files import write_json
from dfad_bench.data.images import ImageRefused
from dfad_bench.gaze import normalize
from dfad_bench.gaze.estimators import geometric
from dfad_bench.gaze.estimators.base import GazeResult
from dfad_bench.gaze.estimators.build import build_estimator
from dfad_bench.gaze.resample import choose
from dfad_bench.ingest.crop.cropper import FaceCropper, load_crop_profile
from dfad_bench.synthetic.faces import draw_face
from dfad_bench.synthetic.layout import planned_paths

BATCH = 64  # as an extraction
NEEDED = 35.0  # faces a second
_MIRRORED = [1, 0, 2, 4, 3]


def seconds(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def portraits(corpus: Path | None, count: int) -> list[Image.Image]:
    """Pictures with a face each, before they are cropped."""
    if corpus:
        return photographs(corpus, count)
    paths = planned_paths(per_group=count)
    return [Image.fromarray(draw_face(0, paths[index])[0]) for index in choose(paths, count, seed=0)]


def found_again(images: list[Image.Image], cropper: FaceCropper) -> list[Image.Image]:
    """Those in which a face is found once more: crops of crops."""
    kept = []
    for image in images:
        try:
            cropper.crop(image)
        except ImageRefused:
            continue
        kept.append(image)
    return kept


def plain_landmarks(image: Image.Image, mtcnn: Any) -> np.ndarray:
    """The most probable face's points (5, 2), averaged with those of the mirror image; nan without a face."""
    both = []
    for picture in (image, ImageOps.mirror(image)):
        points = mtcnn.detect(picture, landmarks=True)[2]
        if points is None:
            return np.full((5, 2), np.nan)
        both.append(np.asarray(points[0], dtype=float))
    return (both[0] + both[1][_MIRRORED] * [-1, 1] + [image.width, 0]) / 2


def chain(images: list[Image.Image], cropper: FaceCropper) -> GazeResult:
    faces = crop_faces(images, cropper)
    return build_estimator(REFERENCE).estimate(faces.pixels, faces.landmarks, source_scale=faces.scale)


def plain(images: list[Image.Image], mtcnn: Any) -> None:
    estimator = build_estimator(REFERENCE)
    for image in images:
        estimator.estimate(np.asarray(image)[None], plain_landmarks(image, mtcnn)[None])


def one_by_one(faces: Faces) -> np.ndarray:
    estimator = build_estimator(REFERENCE)
    rows = range(len(faces.pixels))
    return np.array([estimator.estimate(faces.pixels[i, None], faces.landmarks[i, None]).yaw_rad[0] for i in rows])


def in_batches(faces: Faces) -> np.ndarray:
    estimator = build_estimator(REFERENCE)
    starts = range(0, len(faces.pixels), BATCH)
    parts = [estimator.estimate(faces.pixels[i : i + BATCH], faces.landmarks[i : i + BATCH]).yaw_rad for i in starts]
    return np.concatenate(parts)


def split(images: list[Image.Image], cropper: FaceCropper, faces: Faces) -> dict[str, float]:
    """Milliseconds a face of each part; the cropper's by leaving parts out, the estimator's by calling them."""
    found = [cropper.find([image])[0] for image in images]
    rows: dict[str, float] = {"detection": seconds(lambda: [cropper.find([image]) for image in images])}
    rows["O-Net, crop"] = seconds(lambda: [cropper.crop(i, found=f) for i, f in zip(images, found, strict=True)])
    pixels, points = faces.pixels, faces.landmarks
    side = pixels.shape[1]
    pose, view = normalize.solve_pose(points, side, side), None
    rows["PnP"] = seconds(lambda: normalize.solve_pose(points, side, side))
    rows["virtual camera"] = seconds(lambda: normalize.virtual_camera(pose))
    view = normalize.virtual_camera(pose)
    eyes = normalize.project(view.homography, points[:, :2])
    rows["eye windows"] = seconds(lambda: geometric.eye_windows(pixels, eyes, view.homography, pose.ok))
    windows = geometric.eye_windows(pixels, eyes, view.homography, pose.ok)
    windows = windows.reshape(-1, *windows.shape[2:])
    rows["iris"] = seconds(lambda: geometric.find_irises(windows, "cpu"))
    return {name: value / len(images) * 1000 for name, value in rows.items()}


def measure(images: list[Image.Image], cropper: FaceCropper, rounds: int) -> dict[str, Any]:
    from facenet_pytorch import MTCNN

    mtcnn = MTCNN(keep_all=True, device="cpu").eval()
    faces = crop_faces(images, cropper)
    few = images[:: max(1, len(images) // 40)]
    chain(few, cropper), plain(few[:2], mtcnn), one_by_one(faces)  # warm
    times: dict[str, list[float]] = {"chain": [], "plain": [], "batched": [], "single": []}
    parts = []
    for _ in range(rounds):
        times["chain"].append(seconds(lambda: chain(few, cropper)) / len(few))
        times["plain"].append(seconds(lambda: plain(few, mtcnn)) / len(few))
        times["batched"].append(seconds(lambda: in_batches(faces)) / len(images))
        times["single"].append(seconds(lambda: one_by_one(faces)) / len(images))
        parts.append(split(few, cropper, crop_faces(few, cropper)))
    both = np.isfinite(in_batches(faces))
    return {
        "faces": len(images),
        "faces_a_second": round(1 / statistics.median(times["chain"]), 1),
        "faces_a_second_plain": round(1 / statistics.median(times["plain"]), 1),
        "ratio_to_plain": ratio(times["plain"], times["chain"]),
        "estimator_faces_a_second": round(1 / statistics.median(times["batched"]), 1),
        "ratio_of_batches_to_single": ratio(times["single"], times["batched"]),
        "largest_yaw_difference_rad": float(np.abs(in_batches(faces) - one_by_one(faces))[both].max()),
        "milliseconds_a_face": {key: round(statistics.median(p[key] for p in parts), 3) for key in parts[0]},
    }


def ratio(slow: list[float], fast: list[float]) -> dict[str, float]:
    """Of times measured turn by turn: median and range."""
    ratios = sorted(a / b for a, b in zip(slow, fast, strict=True))
    values = {"median": statistics.median(ratios), "least": ratios[0], "most": ratios[-1]}
    return {name: round(value, 2) for name, value in values.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--corpus", type=Path, default=os.environ.get("DFAD_CORPUS"), help="default: $DFAD_CORPUS")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cropper = FaceCropper(load_crop_profile("face-256-1.3"))
    crops = crop_faces(portraits(options.corpus, options.faces), cropper).pixels
    images = found_again([Image.fromarray(crop) for crop in crops], cropper)
    result = {
        "question": "faces a processor second of detection, O-Net and geometric gaze on 256-pixel crops, one thread",
        "source": "photographs" if options.corpus else "drawn faces",
        **measure(images, cropper, options.rounds),
        "needed_faces_a_second": NEEDED,
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "hardware": {"machine": platform.machine(), "cores": usable_cores(), "python": platform.python_version()},
    }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    if options.out:
        write_json(options.out, result)
    return 0 if result["faces_a_second"] >= NEEDED else 1


if __name__ == "__main__":
    raise SystemExit(main())
