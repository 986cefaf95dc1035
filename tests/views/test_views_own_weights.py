"""Views whose network starts from the run's weight file, and mapped vectors: a view and a model as from outside."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.toy import RECIPE, Toy, ToyConfig, toy_manifests, toy_protocol
from helpers.train_faults import Forked
from helpers.training import run_evaluation, run_robustness, run_training
from safetensors.torch import load_file, save_file
from torch import Tensor

import baselines
from dfad_bench.api.views import views_of_run
from dfad_bench.core import registry
from dfad_bench.core.batch import Inputs
from dfad_bench.core.contract import Stage, WeightFiles
from dfad_bench.core.errors import ConfigError, WeightsError
from dfad_bench.core.files import sha256_file
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.view_source import ViewValues
from dfad_bench.engine.config import read_config
from dfad_bench.engine.contract_checks.building import check_views
from dfad_bench.engine.contract_checks.forward import check_output
from dfad_bench.engine.contract_checks.subject import Subject
from dfad_bench.engine.needs import needs_of, with_view_weights
from dfad_bench.views import VIEWS, provider, store
from dfad_bench.views.base import Faces, View
from dfad_bench.views.own_weights import OwnWeights
from dfad_bench.views.provider import ViewProvider

WIDTH = 6


@dataclass(frozen=True)
class ProjectionSettings:
    """`delay_s`: how long each call of `make` sleeps, which changes no value."""

    weights: str | None = None
    weights_sha256: str | None = None
    delay_s: float = 0.0


class Projection(View):
    """A face's mean colours, multiplied by a matrix from the run's weight file: (2, 6), kept as float16."""

    name, meaning, kind, dtype = "projection", "numbers", "vector", "float32"
    mapped = every_face = True
    exact_pixels = "have the model project"
    Settings = ProjectionSettings

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        self.own = OwnWeights(self.name, self.settings.weights, self.settings.weights_sha256)

    @property
    def array_dtype(self) -> str:
        return "float16"

    def shape(self, side: int) -> tuple[int, ...]:
        return (2, WIDTH)

    def files(self) -> str:
        return self.own.sha256 or ""

    def public_settings(self) -> dict[str, Any]:
        return {"weights_sha256": self.own.sha256}

    def make(self, faces: Faces) -> ViewValues:
        time.sleep(self.settings.delay_s)
        assert faces.crops is not None
        matrix = load_file(self.own.file())["matrix"].numpy() if self.own.sha256 else np.ones((3, WIDTH))
        halves = [part.mean(axis=(1, 2)) / 255 @ matrix for part in (faces.crops[:, :16], faces.crops[:, 16:])]
        return ViewValues(np.stack(halves, axis=1).astype(np.float16), np.ones(len(faces), bool))


class Projected(Toy):
    """The toy that reads the projection and no pixel."""

    needs = ("projection",)
    view_weights = ("projection",)
    needs_images = False
    stages = (Stage("main"),)

    def __init__(self, num_generators: int, config: ToyConfig) -> None:
        super().__init__(num_generators, config)
        self.body = torch.nn.Sequential(torch.nn.Linear(2 * WIDTH, config.width))

    def load_weights(self, weights: WeightFiles) -> None:
        """The view reads them."""

    def embed(self, inputs: Inputs) -> Tensor:
        seen = inputs.views["projection"]
        assert isinstance(seen, Tensor)
        assert seen.dtype == torch.float32
        return self.body(seen.flatten(1))

    def losses(self, batch, stage="main"):
        assert batch.inputs.images.shape[2:] in {(0, 0), (144, 144)}, "no pixels are gathered (144: the contract check)"
        return super(Toy, self).losses(batch, stage)


class Unnamed(Projected):
    """It names a view that it does not need."""

    view_weights = ("toy_map",)


class Looking(Projected):
    """It reads pixels, and says that it does not."""

    def embed(self, inputs: Inputs) -> Tensor:
        return super().embed(inputs) + (inputs.images.mean() if inputs.images.numel() else 0)


MODELS = {"projected": Projected, "unnamed": Unnamed, "looking": Looking}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    torch.set_num_threads(1)
    monkeypatch.setitem(VIEWS, "projection", f"{__name__}:Projection")
    monkeypatch.delenv("DFAD_CACHE", raising=False)
    for name, kind in MODELS.items():
        monkeypatch.setitem(baselines.DFAD_MODELS, name, f"{__name__}:{kind.__name__}")
    registry.model_table.cache_clear()
    yield
    registry.model_table.cache_clear()


@pytest.fixture
def manifests(tmp_path: Path) -> list[Manifest]:
    return toy_manifests(tmp_path / "manifests", identities=6, shots=1)


def matrix(folder: Path, seed: int) -> Path:
    path = folder / f"matrix-{seed}.safetensors"
    save_file({"matrix": torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(seed))}, path)
    return path


def arrays(manifests: list[Manifest]) -> dict[str, str]:
    paths = [path for each in manifests for path in (each.folder / "tables").glob("projection-*.npy")]
    return {str(path): sha256_file(path) for path in paths}


@pytest.mark.heavy
def test_the_runs_weight_file_makes_the_view(manifests: list[Manifest], tmp_path: Path) -> None:
    file, out = matrix(tmp_path, 1), tmp_path / "run"
    one = {"recipe": RECIPE, "epochs": 1, "device": "cpu", "leak_check": False}
    run_training("projected", toy_protocol(), manifests, out, views=ViewProvider(manifests), weights=str(file), **one)
    kept = read_config(out)
    assert kept.views["projection"]["weights_sha256"] == kept.init["sha256"] == sha256_file(file)
    before = arrays(manifests)
    assert len(before) == 2
    assert all("-32px-2x6-" in path for path in before), "made of images of 32 pixels, which its shape does not say"
    file.rename(tmp_path / "moved.safetensors")

    def views(**asked: str) -> ViewProvider:
        return ViewProvider(manifests, views_of_run(kept.views, {"projection": asked} if asked else {}))

    assert run_evaluation(out, manifests, device="cpu", views=views()).status == "complete"
    assert arrays(manifests) == before, "stored values are found by the hash of the file"
    with pytest.raises(WeightsError, match=r"by the weight file of the run.*--view projection\.weights=FILE"):
        run_robustness(out, manifests, names=["contrast"], severities=(1,), device="cpu", views=views())
    with pytest.raises(WeightsError, match="is not the file it was made with before"):
        run_evaluation(out, manifests, device="cpu", views=views(weights=str(matrix(tmp_path, 2))))
    with pytest.raises(ConfigError, match="would hide every corruption"):
        run_robustness(
            out, manifests, names=["contrast"], severities=(1,), device="cpu", views=views(), views_from="clean"
        )
    moved = views(weights=str(tmp_path / "moved.safetensors"))
    run_robustness(out, manifests, names=["contrast"], severities=(1,), device="cpu", views=moved)


def test_only_the_run_says_which_weights_a_view_has(manifests: list[Manifest], tmp_path: Path) -> None:
    file = str(matrix(tmp_path, 1))
    one = {"recipe": RECIPE, "epochs": 1, "device": "cpu", "leak_check": False}
    asked = ViewProvider(manifests, {"projection": {"weights": file}})
    with pytest.raises(ConfigError, match=r"settings say None; leave it out, or give the file by --weights"):
        run_training("projected", toy_protocol(), manifests, tmp_path / "run", views=asked, **one)
    other = ViewProvider(manifests, {"projection": {"weights": file}})
    with pytest.raises(ConfigError, match="give the file by --weights"):
        run_training(
            "projected",
            toy_protocol(),
            manifests,
            tmp_path / "run",
            views=other,
            weights=str(matrix(tmp_path, 2)),
            **one,
        )
    assert not arrays(manifests)


def test_of_several_files_a_view_gets_the_one_of_its_name(tmp_path: Path) -> None:
    needs = needs_of("projected", 3)
    several = with_view_weights(needs, {"projection": tmp_path / "a", "other": tmp_path / "b"})
    assert several.view_settings["projection"] == {"weights": str(tmp_path / "a")}
    none = with_view_weights(needs, {"other": tmp_path / "b"})
    assert none.view_settings["projection"] == {"weights": None, "weights_sha256": None}
    assert with_view_weights(needs_of("xception", 3, "tiny"), tmp_path / "a").view_settings == {}


def test_the_contract_check_finds_what_does_not_fit() -> None:
    assert check_views(Subject("projected")) == ""
    assert check_output(Subject("projected")) == ""
    assert "needs_images is False, and attribution_logits" in check_output(Subject("looking"))
    with pytest.raises(ConfigError, match="view_weights names 'toy_map', a view that it does not need"):
        check_views(Subject("unnamed"))


@pytest.mark.heavy
@pytest.mark.skipif(os.name == "nt", reason="needs fork")
def test_mapped_vectors_killed_in_the_middle_go_on(
    manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "BATCH", 4)
    monkeypatch.setattr(store, "PART_ROWS", 4)
    manifest, file = manifests[0], str(matrix(tmp_path, 1))
    ids = manifest.frame(["sample_id"])["sample_id"].tolist()
    settings = {"projection": {"weights": file, "delay_s": 0.1}}
    process = Forked(lambda: ViewProvider([manifest], settings).source("projection", ids, 32))
    tables, deadline = manifest.folder / "tables", time.monotonic() + 60
    while len(list(tables.glob("projection-*.parts/0*.json"))) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    assert process.wait(timeout=60) == -9
    assert not arrays(manifests)
    made: list[str] = []
    plain = Projection.make
    monkeypatch.setattr(Projection, "make", lambda self, faces: (made.extend(faces.sample_ids), plain(self, faces))[1])
    source = ViewProvider([manifest], {"projection": {"weights": file}}).source("projection", ids, 32)
    assert len(made) <= len(ids) - 8, "committed rows are not made again"
    resumed, found = arrays(manifests), source.gather(np.arange(len(ids)), list)
    for path in tables.glob("projection-*"):
        path.unlink()
    whole = ViewProvider([manifest], {"projection": {"weights": file}}).source("projection", ids, 32)
    assert arrays(manifests) == resumed
    assert torch.equal(whole.gather(np.arange(len(ids)), list), found)
