"""A probe on stored features against one that computes them in every epoch: seconds a face and epoch, and memory.

Both are trained by the training loop, each in a process of its own. (1) `--features` made-up features of as many faces,
in an array on the disk as the view `features` keeps them, all epochs of the recipe `probe`, validation and checkpoints
included. (2) `--faces` random crops, held in memory, with the backbone in the model (`cached=false`), one epoch. The
ratio is of one epoch of one face; the weights are random, which costs what published ones cost.

Example: python benchmarks/probe_speed.py --out benchmarks/results/probe_speed.json
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from dfad_bench.core.cores import usable_cores
from dfad_bench.core.files import write_json
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.recipe import load_recipe
from dfad_bench.core.registry import model_class
from dfad_bench.data.dataset import FaceDataset
from dfad_bench.engine.devices import place
from dfad_bench.engine.fit import Trainer
from dfad_bench.views.features import Features
from dfad_bench.views.sources import MappedView
from dfad_bench.views.store import StoredImages

STORED, COMPUTED = "stored features", "computed in every epoch"


class HeldCrops:
    """Random crops of as many faces, in memory; none where no pixel is read."""

    def __init__(self, names: list[str], side: int) -> None:
        rng = np.random.default_rng(0)
        shape = (len(names), side, side, 3) if side else (0,)
        self._pixels = torch.from_numpy(rng.integers(0, 256, shape, np.uint8))
        self._places = {name: row for row, name in enumerate(names)}

    def places(self, names: list[str]) -> np.ndarray:
        return np.array([self._places[name] for name in names], dtype=np.int64)

    def gather(self, places: np.ndarray) -> torch.Tensor:
        return self._pixels[torch.from_numpy(places)]


def made_up_rows(count: int, classes: int) -> pd.DataFrame:
    """Faces of a manifest, as a dataset reads them."""
    labels = np.arange(count) % classes
    names = [f"face-{row:06d}" for row in range(count)]
    return pd.DataFrame(
        {"sample_id": names, "group": labels.astype(str), "attribution_label": labels, "detection_label": labels > 0}
    )


def made_up_features(folder: Path, rows: pd.DataFrame, settings: dict[str, Any]) -> MappedView:
    """An array on the disk with a centre a class and noise, and the view of it."""
    view = Features(settings)
    labels, rng = rows["attribution_label"].to_numpy(), np.random.default_rng(1)
    centres = rng.normal(size=(labels.max() + 1, *view.shape(256)))
    path = folder / "features.npy"
    array = np.lib.format.open_memmap(path, "w+", view.array_dtype, (len(rows), *view.shape(256)))
    for row, label in enumerate(labels):
        array[row] = centres[label] + 2 * rng.normal(size=view.shape(256))
    array.flush()
    del array
    names = rows["sample_id"].tolist()
    return MappedView(view, [StoredImages(np.load(path, mmap_mode="r"), names, frozenset())], names)


def measure(options: argparse.Namespace, way: str) -> dict[str, Any]:
    """One of the two ways, in this process."""
    torch.set_num_threads(options.threads)
    protocol, recipe = load_protocol("synthetic"), load_recipe("probe")
    stored = way == STORED
    count = options.features if stored else options.faces
    rows = made_up_rows(count, protocol.num_generators)
    asked = {"backbone": options.backbone, "experts": options.experts, "cached": stored}
    with tempfile.TemporaryDirectory(prefix="probe_speed_") as name:
        folder = Path(name)
        torch.manual_seed(0)
        model = model_class("vfm_probe").build(protocol.num_generators, options=asked)
        views = {name: made_up_features(folder, rows, dict(about)) for name, about in model.view_settings.items()}
        store: Any = HeldCrops(rows["sample_id"].tolist(), 0 if stored else protocol.image_size)
        faces = FaceDataset(rows, store, protocol, views=views, images=not stored)
        few = FaceDataset(rows[:0], store, protocol, views={}, images=not stored)
        validation = faces if stored else few
        recipe = recipe if stored else replace(recipe, epochs=1, batch_size=32)
        before = _peak_mib()
        trainer = Trainer(
            model, faces, validation, recipe, seed=0, place=place("cpu"), folder=folder / "run", config_sha256="0" * 64
        )
        began = time.perf_counter()
        fitted = trainer.run(resume=False)
        seconds = time.perf_counter() - began
    epochs = recipe.epochs
    return {
        "faces": count,
        "epochs": epochs,
        "steps": fitted.position.step,
        "seconds": round(seconds, 2),
        "microseconds_a_face_and_epoch": round(1e6 * seconds / count / epochs, 1),
        "peak_mib": round(_peak_mib()),
        "peak_mib_before_training": round(before),
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def side_by_side(options: argparse.Namespace, arguments: list[str]) -> dict[str, Any]:
    """Both ways, each in a process of its own."""
    found = {}
    for way in (STORED, COMPUTED):
        command = [sys.executable, __file__, *arguments, "--way", way]
        found[way] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    each = {way: facts["microseconds_a_face_and_epoch"] for way, facts in found.items()}
    return {
        "question": "one epoch of a probe that computes its features over one on stored features, for each face",
        "backbone": options.backbone,
        "experts": options.experts,
        "times_faster": round(each[COMPUTED] / each[STORED]),
        "ways": found,
        "hardware": {
            "cores": usable_cores(),
            "threads": options.threads,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="vit_small_patch16_dinov3")
    parser.add_argument("--experts", choices=("linear", "attentive"), default="linear")
    parser.add_argument("--features", type=int, default=10_000, help="made-up faces whose features are stored")
    parser.add_argument("--faces", type=int, default=64, help="whose features are computed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--way", choices=(STORED, COMPUTED), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    options = parser.parse_args()
    result = measure(options, options.way) if options.way else side_by_side(options, sys.argv[1:])
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    if options.out and not options.way:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
