"""A finished run opened again, and what its model needs."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.toy import RECIPE, Toy, ToyConfig, toy_manifests, toy_protocol, toys_registered
from helpers.training import run_training

from dfad_bench.core.contract import Inputs
from dfad_bench.core.errors import ConfigError, IntegrityError
from dfad_bench.core.files import read_json, sha256_file, write_json
from dfad_bench.data.images import decode_crop
from dfad_bench.engine.load import load_run
from dfad_bench.engine.needs import Needs, needs_of
from dfad_bench.report.run_record import build_record


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("load")
    manifests = toy_manifests(folder / "manifests")
    with toys_registered():
        run_training("toy", toy_protocol(), manifests, folder / "run", recipe=replace(RECIPE, epochs=1), device="cpu")
        yield folder


def test_the_model_predicts_as_the_run_did_and_needs_no_manifest(work: Path, tmp_path: Path) -> None:
    shutil.copytree(work / "run", tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert not run.model.training
    assert run.record is None
    assert run.protocol == toy_protocol()
    assert run.generators == ("real", "synthetic-gan-a", "synthetic-diffusion-a")
    stored = pd.read_parquet(tmp_path / "run" / "predictions.parquet").set_index("sample_id")
    from dfad_bench.data.manifest import Manifest

    crops = dict(Manifest.open(work / "manifests" / "synthetic").images(set(stored.index[:8])))
    pixels = torch.from_numpy(np.stack([decode_crop(png) for png in crops.values()]))
    with torch.no_grad():
        output = run.model(Inputs(pixels.permute(0, 3, 1, 2).float() / 255))
    rows = stored.loc[list(crops)]
    assert np.allclose(rows[["p_0", "p_1", "p_2"]], output.attribution_logits.softmax(1), atol=1e-5)
    assert np.allclose(rows["p_fake"], output.detection_logits.softmax(1)[:, 1], atol=1e-5)
    record = build_record(tmp_path / "run")
    assert load_run(str(tmp_path / "run")).record == record


def test_a_run_of_an_earlier_version_opens() -> None:
    folder = Path(__file__).resolve().parents[1] / "fixtures" / "earlier_run"
    run = load_run(folder)
    assert run.record is not None
    assert run.record.model.checkpoint_sha256 == sha256_file(folder / "checkpoint" / "model.safetensors")
    with torch.no_grad():
        output = run.model(Inputs(torch.rand(2, 3, 256, 256)))
    assert output.attribution_logits.shape == (2, len(run.generators))


def test_opening_a_run_draws_nothing(work: Path) -> None:
    def states() -> tuple:
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002

    before = states()
    load_run(work / "run")
    needs_of("toy", 3)
    assert states() == before


def test_what_cannot_be_opened_is_one_line(work: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not the folder of a finished run"):
        load_run(tmp_path)
    with pytest.raises(ConfigError, match="no device named"):
        load_run(work / "run", device="tpu")
    shutil.copytree(work / "run", tmp_path / "run")
    path = tmp_path / "run" / "checkpoint" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match="damaged or changed"):
        load_run(tmp_path / "run")
    facts = read_json(tmp_path / "run" / "run.json")
    facts["protocol"]["config"]["seen"] = []
    write_json(tmp_path / "run" / "run.json", facts)
    with pytest.raises((ConfigError, IntegrityError)):
        load_run(tmp_path / "run")


def test_needs_are_of_the_settings_not_of_the_class(work: Path) -> None:
    assert needs_of("toy", 3) == Needs()
    assert needs_of("gaze_toy", 3) == Needs(("gaze",), (), True, missing_views={"gaze": "nothing is added"})
    with_gaze, without = (needs_of("gazeclip", 3, "tiny", {"use_gaze": on}) for on in (True, False))
    assert with_gaze.views == with_gaze.all_views == ("gaze",)
    assert without.all_views == ()
    with pytest.raises(ConfigError, match="unknown key 'widht'"):
        needs_of("toy", 3, options={"widht": 3})


def test_a_model_that_looks_at_values_while_it_is_built(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = []

    class Looking(Toy):
        def __init__(self, num_generators: int, config: ToyConfig) -> None:
            super().__init__(num_generators, config)
            devices.append(self.body[0].weight.device.type)
            float(self.body[0].weight.sum())
            self.needs_training = ("mask",)

    monkeypatch.setattr("helpers.toy.Toy", Looking)
    assert needs_of("toy", 3) == Needs((), ("mask",), False)
    assert devices == ["meta", "cpu"]
