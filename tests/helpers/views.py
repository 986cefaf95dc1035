"""Views for tests: gaze from a function, a toy image view and a toy string view with a model that reads both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from helpers.toy import Toy, toys_registered
from torch import Tensor, nn

from dfad_bench.core.batch import Batch, Inputs
from dfad_bench.core.progress import Progress
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.view_source import ViewValues
from dfad_bench.views.base import Faces, View, ViewTable
from dfad_bench.views.provider import ViewProvider

Angles = Callable[[Sequence[str], np.ndarray | None], np.ndarray]  # sample ids, crops if at hand -> (N, 2); nan: none


class MadeUpGaze(View):
    """Gaze from a function, for faces of a manifest and for crops at hand."""

    name, meaning, kind, dtype = "gaze", "made up", "vector", "float32"

    def __init__(self, angles: Angles, identity: Mapping[str, Any] | None = None, *, live: bool = True) -> None:
        super().__init__()
        self._angles, self._identity = angles, dict(identity or {"estimator": "fake"})
        self.asks = ("crops",) if live else ()

    def shape(self, side: int) -> tuple[int, ...]:
        return (2,)

    def identity(self) -> dict[str, Any]:
        return self._identity

    def stored_elsewhere(self, manifest: Manifest, device: str, progress: Progress) -> ViewTable:
        ids = manifest.frame(["sample_id"])["sample_id"].tolist()
        return ViewTable(ids, self._values(self._angles(ids, None)))

    def make(self, faces: Faces) -> ViewValues:
        return self._values(self._angles(faces.sample_ids, faces.crops))

    @staticmethod
    def _values(angles: np.ndarray) -> ViewValues:
        present = np.isfinite(angles).all(axis=1)
        return ViewValues(np.where(present[:, None], angles, 0).astype(np.float32), present)


def made_up(manifests: Sequence[Manifest], angles: Angles, **settings: Any) -> ViewProvider:
    """A provider whose gaze is made up."""
    return ViewProvider(manifests, views={"gaze": MadeUpGaze(angles, **settings)})


@dataclass(frozen=True)
class SlowSettings:
    """`delay_s`: how long each call of `make` sleeps, which changes no value; `bright`: what counts as bright."""

    delay_s: float = 0.0
    bright: int = 120


class ToyMap(View):
    """A mask of bright pixels (1, side, side), resized without mixing; faces that are bright on average have none."""

    name, meaning, kind, dtype = "toy_map", "1 where a pixel is bright", "image", "uint8"
    Settings = SlowSettings

    def shape(self, side: int) -> tuple[int, ...]:
        return (1, side, side)

    @property
    def levels(self) -> int:
        return 2

    def public_settings(self) -> dict[str, Any]:
        return {"bright": self.settings.bright}

    def make(self, faces: Faces) -> ViewValues:
        time.sleep(self.settings.delay_s)
        assert faces.crops is not None
        maps = (faces.crops.mean(axis=3) > self.settings.bright).astype(np.uint8)
        step = faces.crops.shape[1] // faces.side
        present = maps.mean(axis=(1, 2)) < 0.9
        return ViewValues(maps[:, None, ::step, ::step], present)


class ToyText(View):
    """A text that says how bright a face is."""

    name, meaning, kind, dtype = "toy_text", "how bright the face is", "text", "str"
    every_face = True
    Settings = SlowSettings

    def shape(self, side: int) -> tuple[int, ...]:
        return ()

    def public_settings(self) -> dict[str, Any]:
        return {"bright": self.settings.bright}

    def make(self, faces: Faces) -> ViewValues:
        time.sleep(self.settings.delay_s)
        assert faces.crops is not None
        levels = faces.crops.mean(axis=(1, 2, 3))
        texts = tuple(
            f"a {'bright' if level > self.settings.bright else 'dark'} face of {level:.3f}" for level in levels
        )
        return ViewValues(texts, np.ones(len(faces), bool))


class ToyMask(ToyMap):
    """The map again, for training only, in [0, 1]."""

    name, when, dtype = "toy_mask", "training", "float32"

    def make(self, faces: Faces) -> ViewValues:
        made = super().make(faces)
        assert isinstance(made.values, np.ndarray)
        return ViewValues(made.values * np.uint8(255), made.present)


class ToyLevel(View):
    """Mean level of the colours, computed from the crops of each batch."""

    name, meaning, kind, dtype = "toy_level", "mean of each colour, 0 to 1", "vector", "float32"
    stored = False

    def shape(self, side: int) -> tuple[int, ...]:
        return (3,)

    def make(self, faces: Faces) -> ViewValues:
        assert faces.crops is not None
        means = faces.crops.mean(axis=(1, 2)) / 255
        return ViewValues(means.astype(np.float32), np.ones(len(faces), bool))


class ViewToy(Toy):
    """The toy that sees a map and a text at test time, and whose losses read both and a mask."""

    needs = ("toy_map", "toy_text", "toy_level")
    needs_training = ("toy_mask",)
    missing_views = {"toy_map": "a map of zeros", "toy_mask": "a mask of zeros"}

    def __init__(self, num_generators: int, config: Any) -> None:
        super().__init__(num_generators, config)
        self.of_map = nn.Conv2d(1, config.width, 3, 2)
        self.of_text = nn.Embedding(2, config.width)
        self.of_level = nn.Linear(3, config.width)

    def embed(self, inputs: Inputs) -> Tensor:
        maps, texts = inputs.views["toy_map"], inputs.views["toy_text"]
        assert isinstance(maps, Tensor)
        assert maps.dtype == torch.uint8
        maps = maps * inputs.has("toy_map")[:, None, None, None]
        assert isinstance(texts, tuple)
        words = torch.tensor([int("bright" in text) for text in texts], device=maps.device)
        seen = self.of_map(maps.float()).mean(dim=(2, 3)) + self.of_text(words)
        return super().embed(inputs) + seen + self.of_level(inputs.views["toy_level"])

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        losses = super().losses(batch, stage)
        mask, maps = batch.views["toy_mask"], batch.inputs.views["toy_map"]
        assert isinstance(mask, Tensor)
        mask, maps = (
            each * has[:, None, None, None]
            for each, has in ((mask, batch.has("toy_mask")), (maps, batch.inputs.has("toy_map")))
        )
        assert torch.equal(mask, maps.float())
        lengths = torch.tensor([float(len(text)) for text in batch.inputs.views["toy_text"]])
        told = self.of_text.weight.mean(dim=1)[0] * lengths.mean() / 100
        return {**losses, "map": (self.of_map(mask).mean() - 0.1).square(), "text": (told - 0.1).square()}


class ParsingToy(Toy):
    """The toy that sees the label map of a face."""

    needs = ("parsing",)
    missing_views = {"parsing": "nothing is added"}

    def embed(self, inputs: Inputs) -> Tensor:
        labels = inputs.views["parsing"]
        assert isinstance(labels, Tensor)
        return super().embed(inputs) + labels.float().mean(dim=(2, 3)) / 19 * inputs.has("parsing")[:, None]


class ParsingTrainedToy(Toy):
    """The toy whose losses see the label map of a face, and whose forward pass does not."""

    needs_training = ("parsing",)
    missing_views = {"parsing": "counts as background"}

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        labels = batch.views["parsing"]
        assert isinstance(labels, Tensor)
        level = (labels.float().mean(dim=(1, 2, 3)) * batch.has("parsing")).mean()
        return {**super().losses(batch, stage), "labels": self.body[0].bias.square().mean() * level}


class BrightnessToy(Toy):
    """The toy that sees the view of the guide in CONTRIBUTING.md."""

    needs = ("brightness",)

    def embed(self, inputs: Inputs) -> Tensor:
        return super().embed(inputs) + inputs.views["brightness"].mean(dim=1, keepdim=True)


MODELS = {
    "view_toy": "ViewToy",
    "parsing_toy": "ParsingToy",
    "parsing_trained_toy": "ParsingTrainedToy",
    "brightness_toy": "BrightnessToy",
}
TOY_VIEWS = {view.name: f"helpers.views:{view.__name__}" for view in (ToyMap, ToyText, ToyMask, ToyLevel)}


@contextmanager
def toy_views_registered() -> Iterator[None]:
    """Have the toy views, and the toy models with the one that reads them, registered in this process for a while."""
    import baselines
    from dfad_bench.core import registry
    from dfad_bench.views import VIEWS

    before = dict(VIEWS)
    VIEWS.update(TOY_VIEWS)
    try:
        with toys_registered():
            baselines.DFAD_MODELS.update({name: f"helpers.views:{kind}" for name, kind in MODELS.items()})
            registry.model_table.cache_clear()
            yield
    finally:
        VIEWS.clear()
        VIEWS.update(before)
