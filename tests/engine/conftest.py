from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from helpers.toy import SIDE, toy_manifests, toy_protocol, toys_registered

from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.dataset import FaceDataset
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.select import select


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Manifest]]:
    """Manifests of the toy protocol, with the toy models registered and one thread."""
    torch.set_num_threads(1)
    with toys_registered():
        yield toy_manifests(tmp_path_factory.mktemp("manifests"))


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[FaceDataset, FaceDataset]:
    """Training and validation faces of the toy protocol, with one thread."""
    torch.set_num_threads(1)
    manifests = toy_manifests(tmp_path_factory.mktemp("manifests"))
    chosen = select(toy_protocol(), manifests)
    store = CropStore.open(chosen.rows, manifests, SIDE)
    return FaceDataset(chosen.train, store, toy_protocol()), FaceDataset(chosen.validation, store, toy_protocol())
