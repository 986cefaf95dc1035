"""Networks of views on a fake GPU: all lies on it until the values come down at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.bisenet import WIDTH
from torch import nn

from dfad_bench.engine.fake_gpu import FakeGPU, GPUError
from dfad_bench.views.base import Faces
from dfad_bench.views.bisenet import BiSeNet
from dfad_bench.views.face_embedding import FaceEmbedding
from dfad_bench.views.features import Features

pytestmark = pytest.mark.heavy

CROPS = np.zeros((2, 64, 64, 3), np.uint8)
POINTS = np.tile(np.array([[20, 24], [44, 24], [32, 36], [24, 48], [40, 48]], float), (2, 1, 1))


def faces() -> Faces:
    names = ("a", "b")
    return Faces(names, 64, "cuda", pd.DataFrame({"sample_id": names}), CROPS, POINTS)


def parsed_labels(gpu: FakeGPU) -> Any:
    return gpu.take(BiSeNet(WIDTH).eval()).labels(CROPS[0], "cuda")


def made_features(gpu: FakeGPU) -> Any:
    view = Features({"backbone": "test_vit"})
    gpu.take(view.backbone)
    return view.make(faces())


def made_embedding(gpu: FakeGPU) -> Any:
    view = FaceEmbedding({"weights": "network.pt"})
    view._network = gpu.take(nn.Sequential(nn.Flatten(), nn.Linear(3 * 112 * 112, 512)))
    return view.make(faces())


@pytest.mark.parametrize(
    ("make", "place"),
    [
        (parsed_labels, r"bisenet.py line \d+: found: .*\.cpu\(\)"),
        (made_features, r"features.py line \d+: return found.*\.cpu\(\)"),
        (made_embedding, r"face_embedding.py line \d+: return ViewValues.*\.cpu\(\)"),
    ],
)
def test_values_of_views_come_down_only_at_the_end(
    make: Callable[[FakeGPU], Any], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nn.Module, "to", lambda self, *_: self)  # it is there, and fake parameters cannot be swapped
    with FakeGPU() as gpu, pytest.raises(GPUError, match=f"a tensor is brought down, {place}"):
        make(gpu)
    assert gpu.float64 == []
