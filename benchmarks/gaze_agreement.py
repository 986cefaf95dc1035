"""How well does a gaze estimator agree with itself, with the truth, and with another estimator?

Real photographs: the same picture mirrored, and compressed as JPEG of quality 60, goes through the whole chain
(face detection, crop, gaze) again. Synthetic faces: the gaze they were drawn with, and whether the distances of the
stand-in generators come in the order of the gaze noise they were made with. The crops are the same for all
estimators; one that is not installed, or whose weights are missing, is said to be and left out. Prints JSON; what is
asked of `geometric` stands under `required`, and the command fails where it is not met.

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageOps

from dfad_bench.core.cores import usable_cores
from dfad_bench.core.errors import MissingDependencyError, WeightsError
from dfad_bench.core.files import write_json
from dfad_bench.core.labels import ForgeryType
from dfad_bench.data.images import ImageRefused, decode_image
from dfad_bench.gaze.analysis import analyse
from dfad_bench.gaze.estimators.base import GazeEstimator, GazeFlag, GazeResult
from dfad_bench.gaze.estimators.build import build_estimator
from dfad_bench.gaze.resample import choose
from dfad_bench.gaze.table import crop_landmarks
from dfad_bench.ingest.crop.cropper import FaceCropper, load_crop_profile
from dfad_bench.synthetic import GAZE_NOISE_RAD, GENERATORS
from dfad_bench.synthetic.faces import OUTDOOR, STUDIO, draw_face, plan_face
from dfad_bench.synthetic.layout import planned_paths

REFERENCE = "geometric"  # the one that must meet `required`
WIDEST_RAD = np.radians(25)  # yaw of the synthetic faces that are compared with the truth
NAN_ROW = {"landmarks": None, "crop_affine": None}


@dataclass(frozen=True)
class Faces:
    """Crops as an estimator takes them; black and without landmarks where no face was found."""

    pixels: np.ndarray  # (N, side, side, 3) uint8
    landmarks: np.ndarray  # (N, 5, 2)
    scale: np.ndarray  # (N,) source pixels a crop pixel


def crop_faces(images: Iterable[Image.Image], cropper: FaceCropper) -> Faces:
    side = cropper.profile.size
    pixels, rows = [], []
    for image in images:
        try:
            crop = cropper.crop(image)
        except ImageRefused:
            pixels.append(np.zeros((side, side, 3), np.uint8))
            rows.append(NAN_ROW)
            continue
        pixels.append(crop.pixels)
        rows.append({"landmarks": crop.landmarks, "crop_affine": crop.affine})
    return Faces(np.stack(pixels), *crop_landmarks(pd.DataFrame(rows)))


def gaze_of(faces: Faces, estimator: GazeEstimator) -> GazeResult:
    return estimator.estimate(faces.pixels, faces.landmarks, source_scale=faces.scale)


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
    return decode_image(buffer.getvalue())


def photographs(corpus: Path, count: int) -> list[Image.Image]:
    with (corpus / "SOURCES.csv").open(encoding="utf-8-sig", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["kind"] == "real" and row["media"] == "image"]
    paths = sorted(row["path"] for row in rows if row["mtcnn_faces"] == "1")
    return [decode_image(corpus / paths[index]) for index in choose(paths, count, seed=0)]


def has_large_irises(found: GazeResult) -> np.ndarray:
    """Faces whose irises are large enough to be seen."""
    return (found.flags & GazeFlag.HEAD_ONLY) == 0


class Photographs:
    """The same photographs plain, mirrored and compressed."""

    def __init__(self, images: list[Image.Image], cropper: FaceCropper) -> None:
        self.plain = crop_faces(images, cropper)
        self.mirrored = crop_faces([ImageOps.mirror(image) for image in images], cropper)
        self.coded = crop_faces([jpeg(image, 60) for image in images], cropper)

    def facts(self, estimator: GazeEstimator) -> dict[str, Any]:
        began = time.perf_counter()
        plain = gaze_of(self.plain, estimator)
        seconds = (time.perf_counter() - began) / len(plain.yaw_rad)
        mirrored, coded = gaze_of(self.mirrored, estimator), gaze_of(self.coded, estimator)
        return {
            "images": len(plain.yaw_rad),
            "faces": int(np.isfinite(plain.yaw_rad).sum()),
            "head_only": int((~has_large_irises(plain)).sum()),
            "eyes_disagree": int(((plain.flags & GazeFlag.EYES_DISAGREE) != 0).sum()),
            "mirrored": agreement(plain, mirrored.pitch_rad, -mirrored.yaw_rad, has_large_irises(plain)),
            "jpeg60": agreement(plain, coded.pitch_rad, coded.yaw_rad, has_large_irises(plain)),
            "estimator_milliseconds_a_face": round(seconds * 1000, 3),
        }

    def agreement_between(self, first: GazeEstimator, second: GazeEstimator) -> dict[str, Any]:
        """Agreement of two estimators on the same faces, and where the first finds that the eyes agree."""
        one, other = gaze_of(self.plain, first), gaze_of(self.plain, second)
        rows = has_large_irises(one) & has_large_irises(other)
        confident = rows & (one.confidence > 0.5)
        return {
            "all": agreement(one, other.pitch_rad, other.yaw_rad, rows),
            "confidence_above_half": agreement(one, other.pitch_rad, other.yaw_rad, confident),
        }


class Synthetic:
    """Drawn faces, plain and mirrored, and faces of each stand-in generator."""

    def __init__(self, count: int, per_group: int, cropper: FaceCropper) -> None:
        paths = [path for path in planned_paths(per_group=count) if abs(plan_face(0, path).truth.yaw_rad) <= WIDEST_RAD]
        images, self.truth = _draw([paths[index] for index in choose(paths, count, seed=0)])
        self.plain = crop_faces(images, cropper)
        self.mirrored = crop_faces([ImageOps.mirror(image) for image in images], cropper)
        paths = [path for path in planned_paths(per_group=per_group) if OUTDOOR not in path]
        images, self.group_truth = _draw(paths)
        self.groups = crop_faces(images, cropper)

    def facts(self, estimator: GazeEstimator) -> dict[str, Any]:
        plain, mirrored = gaze_of(self.plain, estimator), gaze_of(self.mirrored, estimator)
        every = np.ones(len(self.truth), dtype=bool)
        pitch, yaw = (self.truth[name].to_numpy() for name in ("pitch_rad", "yaw_rad"))
        return {
            "faces": len(self.truth),
            "largest_yaw_deg": round(float(np.degrees(np.abs(yaw).max())), 1),
            "truth": agreement(plain, pitch, yaw, every),
            "mirrored": agreement(plain, mirrored.pitch_rad, -mirrored.yaw_rad, every),
            "generators": self._order(estimator),
        }

    def _order(self, estimator: GazeEstimator) -> dict[str, Any]:
        found = gaze_of(self.groups, estimator)
        rows = self.group_truth.assign(
            pitch_rad=found.pitch_rad, yaw_rad=found.yaw_rad, confidence=found.confidence, flags=found.flags
        )
        report = analyse(rows, resamples=50)
        fids = {row.generator: row.fid.fid_rad2 for row in report.rows}
        noise = sorted(fids, key=GAZE_NOISE_RAD.__getitem__)
        return {
            "n_each": int(rows["generator"].eq("real").sum()),
            "fid_rad2_by_rising_noise": {name: round(fids[name], 6) for name in noise},
            "same_order": sorted(fids, key=fids.__getitem__) == noise,
        }


def _draw(paths: list[str]) -> tuple[list[Image.Image], pd.DataFrame]:
    """Pictures, and their truth as rows of a study."""
    drawn = [draw_face(0, path) for path in paths]
    groups = [truth.generator for _, truth in drawn]
    rows = pd.DataFrame(
        {
            "sample_id": paths,
            "dataset": "synthetic",
            "generator": ["real" if group in (STUDIO, OUTDOOR) else group for group in groups],
            "forgery": [(GENERATORS[g].forgery if g in GENERATORS else ForgeryType.NONE).value for g in groups],
            "family": [GENERATORS[g].family.value if g in GENERATORS else "none" for g in groups],
            "detection_label": [int(group in GENERATORS) for group in groups],
            "target_id": [truth.target for _, truth in drawn],
            "pitch_rad": [truth.pitch_rad for _, truth in drawn],
            "yaw_rad": [truth.yaw_rad for _, truth in drawn],
        }
    )
    return [Image.fromarray(image) for image, _ in drawn], rows


def required(result: dict[str, Any]) -> dict[str, bool]:
    """What the reference estimator must reach."""
    own = result["estimators"][REFERENCE]
    checks = {
        "synthetic yaw r >= 0.85": own["synthetic"]["truth"]["yaw_r"] >= 0.85,
        "synthetic mirrored yaw median <= 2.5 deg": own["synthetic"]["mirrored"]["yaw_median_abs_deg"] <= 2.5,
        "generators in the order of their noise": own["synthetic"]["generators"]["same_order"],
    }
    if "photographs" in own:
        checks["photographs mirrored yaw median <= 2.5 deg"] = (
            own["photographs"]["mirrored"]["yaw_median_abs_deg"] <= 2.5
        )
        checks["photographs JPEG-60 yaw r >= 0.9"] = own["photographs"]["jpeg60"]["yaw_r"] >= 0.9
    against = result["between"].get(f"{REFERENCE} and mediapipe")
    if against:
        checks["photographs yaw r against mediapipe >= 0.7"] = against["all"]["yaw_r"] >= 0.7
    return checks


def measure(names: list[str], synthetic: Synthetic, real: Photographs | None) -> dict[str, Any]:
    result: dict[str, Any] = {"estimators": {}, "between": {}}
    usable: dict[str, GazeEstimator] = {}
    for name in names:
        try:
            estimator = build_estimator(name)
            facts: dict[str, Any] = {"fingerprint": estimator.fingerprint, "synthetic": synthetic.facts(estimator)}
        except (MissingDependencyError, WeightsError) as error:
            result["estimators"][name] = {"left_out": str(error)}
            continue
        if real is not None:
            facts["photographs"] = real.facts(estimator)
            for other, earlier in usable.items():
                result["between"][f"{other} and {name}"] = real.agreement_between(earlier, estimator)
        usable[name] = estimator
        result["estimators"][name] = facts
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--estimator", action="append", help=f"beside {REFERENCE}; default: mediapipe; repeatable")
    parser.add_argument("--photographs", type=int, default=200, help="real photographs of the corpus")
    parser.add_argument("--synthetic", type=int, default=300, help="synthetic faces")
    parser.add_argument("--per-generator", type=int, default=100, help="synthetic faces of each stand-in generator")
    parser.add_argument("--corpus", type=Path, default=os.environ.get("DFAD_CORPUS"), help="default: $DFAD_CORPUS")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cropper = FaceCropper(load_crop_profile("face-256-1.3"))
    real = Photographs(photographs(options.corpus, options.photographs), cropper) if options.corpus else None
    names = [REFERENCE, *(options.estimator or ["mediapipe"])]
    result = {
        "question": "agreement of gaze with its mirrored and JPEG-60 self, with the truth and with another estimator",
        **measure(names, Synthetic(options.synthetic, options.per_generator, cropper), real),
        "hardware": {"machine": platform.machine(), "cores": usable_cores(), "python": platform.python_version()},
    }
    result["required"] = required(result)
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    if options.out:
        write_json(options.out, result)
    return 0 if all(result["required"].values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
