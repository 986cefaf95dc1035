"""Settings as they are stored: equal hashes for runs made before, and what the names of weights and views come to."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from helpers.toy import RECIPE, Toy, toy_protocol
from helpers.training import run_training

from dfad_bench.core.errors import ConfigError, UnknownNameError
from dfad_bench.core.files import sha256_file
from dfad_bench.core.record import plain
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine.config import RunConfig, config_from, read_config
from dfad_bench.engine.run import Plan
from dfad_bench.engine.settings import ModelSettings, TrainSettings
from dfad_bench.report.run_record import build_record

SCHEMA = resources.files("dfad_bench.core") / "result_record.schema.json"

# config.yaml and config_sha256 of a run made before settings had a file of their own
BEFORE = """
allow_partial: false
channels_last: null
compiled: false
device: cpu
epochs: 1
heads: both
init: {kind: random}
manifests:
  synthetic: 20dd5e9f60981f15f9da225d6dabf56680a95302ce3a8f768b5e912eca825fdc
  synthetic-outdoor: dbe3739ceda393514ce04df31cb719feffddc2e8b0e81a7c43dd738798f6dacc
model: xception
options: {}
precision: fp32
protocol: synthetic
protocol_sha256: c447af7e2f236e62b6e79c0230daf0cd9a7362654c52a4d606bbcb69a2273ca2
recipe:
  batch_size: 32
  clip_norm: null
  epochs: 1
  loss_weights: {cmc: 0.2}
  name: quick
  notes:
  - 'cmc counts a fifth: the frozen text tower of a tiny model is random and hardly tells captions apart.'
  - 'For tiny models on a CPU: quickstart, tests and trying things out. Numbers made with it belong in no table.'
  optimiser: {lr: 0.001, momentum: 0.9, name: adam, weight_decay: 0.0001}
  paper: null
  patience: 8
  schedule: {every: 6, gamma: 0.3, name: step, unit: epoch, warmup_steps: 0}
  version: 2
seed: 0
size: tiny
views: {}
"""
BEFORE_SHA256 = "6868eba3074f029a4ae64b6508a94e801f09c284f05b1b5124d13ded7362d665"


def test_a_run_made_before_has_the_same_identity() -> None:
    config = config_from(yaml.safe_load(BEFORE), "config.yaml")
    assert config.sha256 == BEFORE_SHA256
    assert replace(config, compiled=True).sha256 != BEFORE_SHA256
    without_later = {key: value for key, value in yaml.safe_load(BEFORE).items() if key not in ("compiled", "views")}
    assert config_from(without_later, "config.yaml").sha256 == BEFORE_SHA256


@pytest.mark.parametrize("key", ["seed", "size", "epochs", "init", "model", "heads"])
def test_a_key_that_was_always_there_is_needed(key: str) -> None:
    raw = {name: value for name, value in yaml.safe_load(BEFORE).items() if name != key}
    with pytest.raises(ConfigError, match=f"c.yaml: key '{key}' is missing"):
        config_from(raw, "c.yaml")


def test_settings_are_written_down_once() -> None:
    shared = {field.name for field in fields(ModelSettings)}
    for owner in (RunConfig, TrainSettings):
        assert issubclass(owner, ModelSettings)
        assert not shared & set(vars(owner)["__annotations__"])


class Named(Toy):
    """A toy that starts from two files."""

    weight_names = ("image", "text")

    @classmethod
    def build(cls, num_generators: int, *, weights: Any = None, **more: Any) -> Named:
        assert weights is None or set(weights) <= {"image", "text"}
        return super().build(num_generators, **more)


@pytest.mark.heavy
def test_several_weight_files_are_stored_by_name_and_hash(
    manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("helpers.toy.Toy", Named)
    files = {name: tmp_path / f"{name}.pt" for name in ("image", "text")}
    for name, path in files.items():
        path.write_bytes(name.encode())
    recipe, out = replace(RECIPE, epochs=1), tmp_path / "run"
    given = {name: str(path) for name, path in files.items()}
    run_training("toy", toy_protocol(), manifests, out, recipe=recipe, device="cpu", weights=given)
    config = read_config(out)
    about = {name: {"id": path.name, "sha256": sha256_file(path)} for name, path in files.items()}
    assert config.init == {"kind": "local_files", "files": about}
    jsonschema.validate(plain(build_record(out)), json.loads(SCHEMA.read_text(encoding="utf-8")))
    again = run_training("toy", toy_protocol(), manifests, out, recipe=recipe, device="cpu", weights=given)
    assert not again.fresh
    with pytest.raises(UnknownNameError, match="Did you mean image"):
        Plan.of(TrainSettings(model="toy", protocol=toy_protocol(), weights={"imag": given["image"]}))
    single = Plan.of(TrainSettings(model="toy", protocol=toy_protocol(), weights=given["text"]))
    made = single.config(TrainSettings(model="toy", protocol=toy_protocol()), manifests)
    assert made.init == {"kind": "local_file", **about["text"]}
