"""What does corrupting cost beside the model, and how much of that do processes hide?

Faces are predicted as they are, corrupted in turn with the model, and corrupted by processes while the model runs; the
three take turns, so other load on the machine meets all alike. Also milliseconds an image of every corruption.
Prints JSON.

Example: python benchmarks/corruptions.py --model xception --faces 64 --workers 1
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dfad_bench.core.contract import DFADModel
from dfad_bench.core.cores import usable_cores
from dfad_bench.core.files import write_json
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.registry import model_class
from dfad_bench.data.corruptions.spec import corrupt, corruptions
from dfad_bench.data.corruptions.stream import CorruptedFaces, Workers
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.dataset import FaceDataset
from dfad_bench.engine.devices import Place, place
from dfad_bench.engine.predict import predict
from dfad_bench.synthetic.faces import draw_face


def faces(count: int, side: int) -> np.ndarray:
    """Drawn faces (count, side, side, 3); a few, each many times."""
    from PIL import Image

    drawn = [draw_face(0, f"train/real-studio/id{k:04d}_00.png")[0] for k in range(min(count, 4))]
    few = [np.asarray(Image.fromarray(pixels).resize((side, side))) for pixels in drawn]
    return np.stack([few[k % len(few)] for k in range(count)])


def milliseconds(crop: np.ndarray, repeats: int) -> dict[str, float]:
    """Median milliseconds of one image, the mean of severities 1, 3 and 5."""
    found = {}
    for name, row in corruptions().items():
        times = []
        for severity in (1, 3, 5):
            corrupt(crop, row, severity, sample_id="warm")
            several = []
            for k in range(repeats):
                began = time.perf_counter()
                corrupt(crop, row, severity, sample_id=str(k))
                several.append(time.perf_counter() - began)
            times.append(statistics.median(several))
        found[name] = round(1000 * statistics.fmean(times), 2)
    return found


def ratios(model: DFADModel, crops: np.ndarray, where: Place, name: str, workers: int, rounds: int) -> dict[str, float]:
    """Medians over rounds of time with corruption to time without."""
    protocol = replace(load_protocol("synthetic@1"), image_size=crops.shape[1])
    ids = [f"{k:016x}" for k in range(len(crops))]
    rows = pd.DataFrame({"sample_id": ids, "group": "synthetic/real", "attribution_label": 0, "detection_label": 0})
    store, keys, row = CropStore(crops, ids), pd.Series(ids), corruptions()[name]
    clean = FaceDataset(rows, store, protocol)
    found: dict[str, list[float]] = {"in_turn": [], "by_processes": []}
    with Workers(0) as no_workers, Workers(workers) as several:

        def corrupted(pool: Workers) -> CorruptedFaces:
            return CorruptedFaces(rows, store, protocol, row, 3, workers=pool)

        variants: list[Callable[[], FaceDataset]] = [
            lambda: clean,
            lambda: corrupted(no_workers),
            lambda: corrupted(several),
        ]
        for number in range(rounds + 1):
            times = []
            for make in variants:
                began = time.perf_counter()
                predict(model, make(), keys, place=where, batch_size=32)
                times.append(time.perf_counter() - began)
            if number:  # the first round warms up
                found["in_turn"].append(times[1] / times[0])
                found["by_processes"].append(times[2] / times[0])
    return {key: round(statistics.median(values), 2) for key, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="xception", help="one that needs no views")
    parser.add_argument("--size", default="tiny", choices=["paper", "tiny"])
    parser.add_argument("--faces", type=int, default=64)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=max(usable_cores() - 1, 1))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--corruptions", default="gaussian_noise,video_compression")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    where, crops = place(options.device), faces(options.faces, options.side)
    model = model_class(options.model).build(6, size=options.size)
    result = {
        "hardware": {"machine": platform.machine(), "cores": usable_cores(), "device": where.name},
        "torch_threads": torch.get_num_threads(),
        "model": f"{options.model} {options.size}",
        "faces": options.faces,
        "side": options.side,
        "workers": options.workers,
        "milliseconds_an_image": milliseconds(crops[0], 5),
        "time_to_model_alone": {
            name: ratios(model, crops, where, name, options.workers, options.rounds)
            for name in options.corruptions.split(",")
        },
    }
    print(json.dumps(result, indent=2))
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
