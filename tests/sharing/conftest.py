"""A trained toy run, once for the module's tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.toy import RECIPE, toy_manifests, toy_protocol, toys_registered
from helpers.training import run_training

from dfad_bench.report.run_record import build_record


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with toy manifests and `run`, trained on them."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained")
    with toys_registered():
        manifests = toy_manifests(folder)
        recipe = replace(RECIPE, epochs=1)
        run_training("toy", toy_protocol(), manifests, folder / "run", recipe=recipe, device="cpu")
        build_record(folder / "run", resamples=20)
        yield folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return Path(shutil.copytree(trained / "run", tmp_path / "run"))
