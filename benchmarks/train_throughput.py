"""Does the loader keep up? Training on real crops against the same step on one batch that is there already.

Synthetic faces are drawn into a manifest. Then, in turns in one process, a model does the same number of steps on
(1) one random batch that stays where it is, the most that any loader could reach, (2) the crops from each cache, as
`dfad train --cache` reads them, (3) the naive loop: open each PNG file, decode and resize it in the training
process. The turns are interleaved and the medians of their ratios printed, so that other work on the machine counts
for all alike. The first epoch, for which crops are decoded, and memory are given, too.

Example: python benchmarks/train_throughput.py --model xception --out benchmarks/results/train_throughput.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dfad_bench.core.contract import Batch
from dfad_bench.core.cores import usable_cores
from dfad_bench.core.files import write_json
from dfad_bench.core.protocol import Protocol, load_protocol
from dfad_bench.core.recipe import load_recipe
from dfad_bench.core.registry import model_class
from dfad_bench.core.stage_plan import plan_stage
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.dataset import FaceDataset, prefetch
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.prompts import class_prompts
from dfad_bench.data.select import select
from dfad_bench.data.view_source import HeldView
from dfad_bench.engine.devices import place
from dfad_bench.engine.distributed import Team
from dfad_bench.engine.optimisers import OptimiserSet, parameter_groups
from dfad_bench.engine.step import Stepper
from dfad_bench.ingest.build import build_manifest
from dfad_bench.synthetic.layout import synthesize
from dfad_bench.views.registry import view_class

CACHES = ("disk", "ram", "gpu", "none")
RESIDENT, NAIVE = "resident batch", "naive loop"


class Bench:
    """A model ready to train, and faces for it. `need` and `seconds` are of one step."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.place = place(options.device, options.precision)
        self.protocol, self.manifests = _faces(folder, options.faces)
        chosen = select(self.protocol, self.manifests, allow_partial=True)
        self.rows = chosen.train
        self.kind = model_class(options.model)
        torch.manual_seed(0)
        model = self.kind.build(
            self.protocol.num_generators,
            size=options.size,
            weights=None,
            class_prompts=class_prompts(self.protocol),
            options={},
        )
        self.place.move(model)
        recipe = load_recipe("default")
        plan = plan_stage(model.stages[-1], recipe)
        optimisers = OptimiserSet(parameter_groups(model, plan.name), plan.optimiser)
        self.stepper = Stepper(
            model, plan.name, optimisers, recipe,
            place=self.place, team=Team(), scaler=torch.amp.GradScaler(enabled=options.precision == "fp16"),
        )  # fmt: skip
        self.model = model
        model.train()
        rng = np.random.default_rng(0)
        self.batches = [rng.permutation(len(self.rows))[: options.batch] for _ in range(options.steps)]

    def dataset(self, store: CropStore) -> FaceDataset:
        """The training faces; views that a model needs are random: making them is not measured here."""
        views = {name: self._example(name) for name in (*self.model.needs, *self.model.needs_training)}
        return FaceDataset(
            self.rows, store, self.protocol,
            views={name: views[name] for name in self.model.needs},
            training_views={name: views[name] for name in self.model.needs_training},
            prompts=class_prompts(self.protocol) if self.model.needs_prompts else (),
        )  # fmt: skip

    def _example(self, name: str) -> HeldView:
        values = view_class(name).stand_in().example(len(self.rows), self.protocol.image_size)
        return HeldView(values.numpy() if isinstance(values, torch.Tensor) else values)

    def train(self, coming: Iterator[Batch]) -> float:
        """Seconds that one step takes, over all steps."""
        self._wait()
        began = time.perf_counter()
        for index, batch in zip(self.batches, coming, strict=True):
            self.stepper.run(batch, self.stepper.share(index), 0.1, [])
        self._wait()
        return (time.perf_counter() - began) / len(self.batches)

    def cached(self, dataset: FaceDataset) -> Iterator[Batch]:
        """Batches as training gets them."""
        return prefetch(dataset, self.batches, self.place.device, training=True)

    def naive(self, dataset: FaceDataset, files: Sequence[Path]) -> Iterator[Batch]:
        """Each face opened, decoded and resized when its batch is due."""
        side = self.protocol.image_size
        for index in self.batches:
            batch = dataset.batch(index, self.place.device)  # labels and views; its pixels are replaced
            faces = [np.asarray(Image.open(files[row]).convert("RGB").resize((side, side))) for row in index]
            images = torch.stack([torch.from_numpy(face.copy()).permute(2, 0, 1) / 255 for face in faces])
            yield replace(batch, inputs=replace(batch.inputs, images=images.to(self.place.device)))

    def _wait(self) -> None:
        if self.place.device.type == "cuda":
            torch.cuda.synchronize(self.place.device)


def _faces(folder: Path, number: int) -> tuple[Protocol, list[Manifest]]:
    """A manifest of about `number` training faces."""
    protocol = load_protocol("synthetic@1")
    synthesize(folder / "faces", per_group=max(8, round(number / (0.675 * len(protocol.seen)))), seed=0)
    for name in ("synthetic", "synthetic-outdoor"):
        build_manifest(name, folder / "faces", folder / name, crop="raw-256", workers=0)
    return protocol, [Manifest.open(folder / name) for name in ("synthetic", "synthetic-outdoor")]


def _png_files(bench: Bench) -> list[Path]:
    """Each training crop as a file of its own."""
    place = bench.folder / "pngs"
    place.mkdir()
    wanted = set(bench.rows["sample_id"])
    for manifest in bench.manifests:
        here = wanted & set(manifest.frame(["sample_id"])["sample_id"])
        for sample, png in manifest.images(here):
            (place / f"{sample}.png").write_bytes(png)
    return [place / f"{sample}.png" for sample in bench.rows["sample_id"]]


def _memory_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _open(bench: Bench, cache: str) -> tuple[FaceDataset, dict[str, Any]]:
    before, began = _memory_mib(), time.perf_counter()
    side, device = bench.protocol.image_size, bench.place.device
    store = CropStore.open(bench.rows, bench.manifests, side, folder=bench.folder, cache=cache, device=device)
    facts = {"opening_s": round(time.perf_counter() - began, 2), "memory_mib": round(_memory_mib() - before)}
    return bench.dataset(store), facts | ({"note": store.note} if store.note else {})


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    bench = Bench(options, folder)
    opened = {cache: _open(bench, cache) for cache in options.caches}
    datasets = {cache: dataset for cache, (dataset, _) in opened.items()}
    first = datasets[options.caches[0]]
    files = _png_files(bench)
    fixed_batch = first.batch(bench.batches[0], bench.place.device)
    fixed_batch = replace(
        fixed_batch, inputs=replace(fixed_batch.inputs, images=torch.rand_like(fixed_batch.inputs.images))
    )
    ways: dict[str, Callable[[], Iterator[Batch]]] = {RESIDENT: lambda: iter([fixed_batch] * len(bench.batches))}
    ways |= {name: (lambda data=data: bench.cached(data)) for name, data in datasets.items()}
    ways[NAIVE] = lambda: bench.naive(first, files)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(options.turns + 1):
        for name in list(ways) if turn % 2 else list(ways)[::-1]:
            took = bench.train(ways[name]())
            if turn:  # the first turn warms up
                seconds[name].append(took)

    def speed_ratio(name: str, other: str) -> float:
        return round(statistics.median(a / b for a, b in zip(seconds[name], seconds[other], strict=True)), 3)

    pixels = len(bench.rows) * bench.protocol.image_size**2 * 3
    return {
        "question": "rate of training on crops over the rate of the same step on a resident batch",
        "model": {"name": options.model, "size": options.size, "batch": options.batch, "steps": options.steps},
        "faces": len(bench.rows),
        "rate_over_resident": {name: speed_ratio(RESIDENT, name) for name in ways if name != RESIDENT},
        "times_faster_than_naive": {name: speed_ratio(NAIVE, name) for name in datasets},
        "step_ms": {name: round(1000 * statistics.median(values), 1) for name, values in seconds.items()},
        "decoded_mib": round(pixels / 2**20),
        "caches": {cache: facts for cache, (_, facts) in opened.items()},
        "first_epoch_over_later": _first_epoch(bench, seconds, opened, options.caches[0]),
        "hardware": {
            "device": bench.place.name,
            "precision": options.precision,
            "cores": usable_cores(),
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    }


def _first_epoch(bench: Bench, seconds: dict[str, list[float]], opened: dict[str, Any], cache: str) -> float:
    """How much longer the first epoch is, with everything decoded for it."""
    epoch = len(bench.rows) / bench.options.batch * statistics.median(seconds[cache])
    return round((epoch + opened[cache][1]["opening_s"]) / epoch, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="xception")
    parser.add_argument("--size", choices=("paper", "tiny"), default="paper")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4, help="of each turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--faces", type=int, default=160, help="to train on, about")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--caches", nargs="+", choices=CACHES, default=list(CACHES))
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="train_throughput_") as folder:
        result = measure(options, Path(folder))
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
