"""Faces to train on, drawn or of given manifests, repeated up to any number; and a model that takes steps on them."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import zoo_throughput as zoo
from PIL import Image
from torch import Tensor

from dfad_bench.core.contract import Batch, DFADModel
from dfad_bench.core.errors import DFADError
from dfad_bench.core.labels import REAL
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.registry import model_class
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.dataset import FaceDataset, prefetch
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.view_source import HeldView
from dfad_bench.engine.devices import wait_for
from dfad_bench.ingest.build import build_manifest
from dfad_bench.synthetic.layout import synthesize
from dfad_bench.views.registry import view_class
from gpu_items.item import Bench

SIDE = 256
PROTOCOL, REAL_NAME = "synthetic@1", "real"
DRAWN = ("synthetic", "synthetic-outdoor")


@dataclass(frozen=True)
class Faces:
    """(n, 256, 256, 3) pixels and the class of each; real ones are class 0."""

    pixels: np.ndarray
    labels: np.ndarray


def drawn_manifests(bench: Bench) -> list[Path]:
    """Manifests of drawn faces, made once."""
    made = [bench.scratch / name for name in DRAWN]
    if "drawn" not in bench.kept:
        synthesize(bench.scratch / "faces", per_group=bench.choose(24, 6), seed=0)
        for name, folder in zip(DRAWN, made, strict=True):
            build_manifest(name, bench.scratch / "faces", folder, crop="raw-256", workers=0)
        bench.kept["drawn"] = True
    return made


def bench_faces(bench: Bench) -> Faces:
    """The different faces there are, 512 at most; read once.

    Raises:
        DFADError: a manifest has no usable faces.
    """
    if "faces" not in bench.kept:
        folders = list(bench.manifests) or drawn_manifests(bench)[:1]
        bench.kept["faces"] = _read(folders)
    found: Faces = bench.kept["faces"]
    return found


def _read(folders: Sequence[Path]) -> Faces:
    manifests = [Manifest.open(folder) for folder in folders]
    frame = pd.concat([manifest.frame(["sample_id", "generator"]) for manifest in manifests])
    generators = dict(zip(frame["sample_id"].astype(str), frame["generator"].astype(str), strict=True))
    order = sorted(generators, key=lambda sample: hashlib.sha256(sample.encode()).digest())
    chosen = {sample: generators[sample] for sample in order[:512]}
    names = [name for name in sorted(set(chosen.values())) if name != REAL_NAME][: zoo.GENERATORS - 1]
    classes = {name: label for label, name in enumerate((REAL_NAME, *names))}
    wanted = {sample for sample, generator in chosen.items() if generator in classes}
    crops = {sample: png for manifest in manifests for sample, png in manifest.images(wanted)}
    if not crops:
        raise DFADError(f"{folders[0]}: no usable faces")
    ids = sorted(crops)
    pixels = [np.asarray(Image.open(io.BytesIO(crops[name])).convert("RGB").resize((SIDE, SIDE))) for name in ids]
    return Faces(np.stack(pixels), np.array([classes[chosen[name]] for name in ids]))


def mapped_store(bench: Bench, count: int) -> CropStore:
    """A store of `count` faces in a memory-mapped file, as the cache `disk` is; the faces there are, repeated."""
    few, path = bench_faces(bench), bench.scratch / f"crops-{count}.npy"
    if not path.is_file():
        array = np.lib.format.open_memmap(path, "w+", np.uint8, (count, SIDE, SIDE, 3))
        for start in range(0, count, len(few.pixels)):
            array[start : start + len(few.pixels)] = few.pixels[: count - start]
        array.flush()
        del array
    return CropStore(np.load(path, mmap_mode="r"), sample_ids(count))


def sample_ids(count: int) -> list[str]:
    """Made-up ids of faces."""
    return [f"{number:016x}" for number in range(count)]


def face_rows(bench: Bench, count: int) -> pd.DataFrame:
    """The rows of `mapped_store`."""
    labels = np.resize(bench_faces(bench).labels, count)
    columns = {"group": "bench/faces", "attribution_label": labels, "detection_label": (labels != REAL).astype(int)}
    return pd.DataFrame({"sample_id": sample_ids(count), **columns})


class Training:
    """A model that takes steps on faces, as `dfad train` does: batches made ahead, results read every so many steps.

    Args:
        name: of a model whose views are small (none, or gaze).
        bench: where.
        precision: number format.
        count: of faces.
        batch: faces a step.
    """

    def __init__(self, name: str, bench: Bench, precision: str, count: int, batch: int) -> None:
        self.where, self.bench, self.count = bench.place(precision), bench, count
        torch.manual_seed(0)
        self.model: DFADModel = model_class(name).build(zoo.GENERATORS, size=bench.size, class_prompts=zoo.PROMPTS)
        self.where.move(self.model.train())
        stepper = zoo.stepper_of(self.model, self.where)
        assert stepper is not None, f"{name} learns nothing"
        self.stepper = stepper
        order = np.random.default_rng(0).permutation(count)
        self.batches = [order[start : start + batch] for start in range(0, count - batch + 1, batch)]

    def dataset(self, store: CropStore) -> FaceDataset:
        """The faces of a store; views are made up."""
        views = {name: self._view(name) for name in (*self.model.needs, *self.model.needs_training)}
        return FaceDataset(
            face_rows(self.bench, self.count), store, replace(load_protocol(PROTOCOL), image_size=SIDE),
            views={name: views[name] for name in self.model.needs},
            training_views={name: views[name] for name in self.model.needs_training},
            prompts=zoo.PROMPTS if self.model.needs_prompts else (),
        )  # fmt: skip

    def _view(self, name: str) -> HeldView:
        values = view_class(name).stand_in().example(self.count, SIDE)
        return HeldView(values.numpy() if isinstance(values, Tensor) else values)

    def coming_batches(self, dataset: FaceDataset, steps: int | None = None) -> Iterator[Batch]:
        """Batches as training gets them."""
        return prefetch(dataset, self.batches[:steps], self.where.device, training=True)

    def take_steps(self, coming: Iterator[Batch], rate: float = 0.1) -> tuple[float, list[float]]:
        """Seconds of a step on average, and the loss of each."""
        losses: list[float] = []
        wait_for(self.where.device)
        began, taken = time.perf_counter(), 0
        for batch in coming:
            self.stepper.issue(batch, self.stepper.share(np.arange(len(batch))), rate, [])
            taken += 1
            if taken % self.where.steps_unread == 0:
                losses += [values["loss"] for values, _ in self.stepper.read()]
        losses += [values["loss"] for values, _ in self.stepper.read()]
        wait_for(self.where.device)
        return (time.perf_counter() - began) / max(taken, 1), losses
