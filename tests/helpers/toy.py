"""A small manifest and a small model: enough to exercise everything between a manifest and a record, in seconds."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from dfad_bench.core.contract import Batch, Card, DFADModel, Inputs, Stage
from dfad_bench.core.protocol import AttributionRule, Group, Protocol
from dfad_bench.core.recipe import Optimiser, Recipe, Schedule
from dfad_bench.data.images import encode_png
from dfad_bench.data.manifest import Manifest, write_manifest
from dfad_bench.data.manifest_schema import sample_id

SIDE = 32
SEEN = ("real", "synthetic-gan-a", "synthetic-diffusion-a")
UNSEEN = ("synthetic-flow-a",)
RECIPE = Recipe(
    "toy",
    optimiser=Optimiser("adam", 3e-3, 0.0),
    schedule=Schedule("step", 4, 0.5),
    batch_size=16,
    epochs=4,
    patience=None,
    stage_values="keep",
)


def toy_protocol(**changes: Any) -> Protocol:
    """Three seen groups, two unseen ones; `changes` replace fields."""
    seen = tuple(Group(name, "synthetic", label) for label, name in enumerate(SEEN))
    unseen = (Group("real", "synthetic-outdoor"), *(Group(name, "synthetic") for name in UNSEEN))
    base = Protocol(
        "toy", 1, "Toy", seen, unseen, image_size=SIDE, validation_share=0.2, on_short="warn",
        attribution=AttributionRule(thresholds=(0.7, 0.9), headline=0.9),
    )  # fmt: skip
    return replace(base, **changes)


def toy_face(generator: str, identity: int, shot: int) -> np.ndarray:
    """A (SIDE, SIDE, 3) uint8 picture whose generator leaves a trace a small network can learn."""
    seed = int.from_bytes(hashlib.sha256(f"{generator}/{identity}/{shot}".encode()).digest()[:4], "big")
    rng = np.random.default_rng(seed)
    face = 110 + 25 * rng.standard_normal((SIDE, SIDE, 3)) + 4 * (identity % 7)
    if "gan" in generator:
        face[::2] += 60
    if "diffusion" in generator:
        face[:, ::2] += 60
    if "flow" in generator:
        face[::3, ::3] += 90
    return face.clip(0, 255).astype(np.uint8)


def toy_row(
    dataset: str, generator: str, split: str | None, identity: int, shot: int, **changes: Any
) -> dict[str, Any]:
    """A manifest row."""
    pixels = toy_face(generator, identity, shot)
    origin = f"{split}/{generator}/id{identity:04d}_{shot}.png"
    fake = generator != "real"
    row = {
        "sample_id": sample_id(dataset, origin), "image": {"bytes": encode_png(pixels), "path": None},
        "dataset": dataset, "generator": generator, "forgery": "EFS" if fake else "none",
        "family": "gan" if fake else "none", "attribution_label": -1, "detection_label": int(fake), "split": split,
        "origin": origin, "source_key": f"id{identity:04d}", "status": "ok", "reason": "",
        "crop_sha256": hashlib.sha256(pixels.tobytes()).hexdigest(), "width": SIDE, "height": SIDE,
    }  # fmt: skip
    return {**row, **changes}


def toy_rows(dataset: str, generators: Sequence[str], *, identities: int = 10, shots: int = 3) -> list[dict[str, Any]]:
    """Train and test faces of several generators; identities do not cross the two."""
    rows = []
    for generator in generators:
        for identity in range(identities):
            split = "train" if identity < 0.7 * identities else "test"
            rows += [toy_row(dataset, generator, split, identity, shot) for shot in range(shots)]
    return rows


def toy_manifests(folder: Path, **counts: int) -> list[Manifest]:
    """The two manifests of `toy_protocol`."""
    inside = toy_rows("synthetic", (*SEEN, *UNSEEN), **counts)
    outside = toy_rows("synthetic-outdoor", ("real",), **counts)
    return [
        write_manifest(folder / "synthetic", "synthetic", inside, shard_size=64),
        write_manifest(folder / "synthetic-outdoor", "synthetic-outdoor", outside, shard_size=64),
    ]


def toy_predictions(protocol: Protocol, sizes: int | dict[str, int] = 40, seed: int = 0) -> pd.DataFrame:
    """Random predictions a little better than chance."""
    rng = np.random.default_rng(seed)
    parts = []
    for group in protocol.groups:
        n = sizes if isinstance(sizes, int) else sizes.get(group.key, 0)
        logits = rng.normal(size=(n, protocol.num_generators)) * 2
        if group.label >= 0:
            logits[:, group.label] += 2
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        fake = group.taxon.detection_label
        frame = pd.DataFrame(p, columns=[f"p_{k}" for k in range(protocol.num_generators)])
        frame["p_fake"] = 1 / (1 + np.exp(-rng.normal(size=n) - fake + 0.3))
        frame["group"], frame["attribution_label"], frame["detection_label"] = group.key, group.label, fake
        frame["sample_id"] = [f"{group.key}#{i}" for i in range(n)]
        frame["source_key"] = [f"source{i // 2}" for i in range(n)]
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class ToyConfig:
    """`delay_s`: how long each call of `losses` sleeps; `bad_step`: the call whose loss is not a number."""

    delay_s: float = 0.0
    bad_step: int = -1
    width: int = 8

    @classmethod
    def tiny(cls) -> ToyConfig:
        return cls()


class Toy(DFADModel):
    """Two convolutions with all that makes resuming hard: BatchNorm, dropout, noise drawn in `losses`, two stages."""

    card = Card("Toy", "none", 2026, "both", "A small network for tests.", "nothing")
    Config = ToyConfig
    image_size = SIDE
    stages = (Stage("warm", epochs=1, validate=False, sampler="class_balanced"), Stage("main"))

    def __init__(self, num_generators: int, config: ToyConfig) -> None:
        super().__init__(config.width, num_generators)
        self.config, self.calls = config, 0
        self.body = nn.Sequential(
            nn.Conv2d(3, config.width, 5, 2), nn.BatchNorm2d(config.width), nn.ReLU(),
            nn.Conv2d(config.width, config.width, 3, 2), nn.ReLU(), nn.Dropout(0.1),
        )  # fmt: skip

    def embed(self, inputs: Inputs) -> Tensor:
        return self.body(self.prepare(inputs.images)).mean(dim=(2, 3))

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        time.sleep(self.config.delay_s)
        images = batch.inputs.images + 0.01 * torch.randn_like(batch.inputs.images)
        noisy = replace(batch.inputs, images=images)
        losses = super().losses(Batch(noisy, batch.attribution, batch.detection), stage)
        self.calls += 1
        if self.calls == self.config.bad_step:
            losses["dfd"] = losses["dfd"] * float("nan")
        return {**losses, "size": self.body[0].weight.square().mean()}


class GazeToy(Toy):
    """The same, looking at the gaze and reading prompts, too."""

    needs = ("gaze",)
    missing_views = {"gaze": "nothing is added"}
    needs_prompts = True
    stages = (Stage("main"),)

    def embed(self, inputs: Inputs) -> Tensor:
        seen = torch.where(inputs.has("gaze"), inputs.views["gaze"].mean(dim=1), 0)
        return super().embed(inputs) + seen[:, None]

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        assert all(len(prompts) == 4 for prompts in batch.prompts)
        assert len(batch.prompts) == len(batch.attribution)
        return super().losses(Batch(batch.inputs, batch.attribution, batch.detection), stage)


TOYS = {"toy": "helpers.toy:Toy", "gaze_toy": "helpers.toy:GazeToy"}


@contextmanager
def toys_registered() -> Iterator[None]:
    """Have the toy models in the registry of this process, for a while."""
    import baselines
    from dfad_bench.core import registry

    before = dict(baselines.DFAD_MODELS)
    baselines.DFAD_MODELS.update(TOYS)
    registry.model_table.cache_clear()
    try:
        yield
    finally:
        baselines.DFAD_MODELS.clear()
        baselines.DFAD_MODELS.update(before)
        registry.model_table.cache_clear()
