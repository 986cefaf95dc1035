"""A run with a prompt file that is not the default one: chosen by name or path, kept whole with the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import toy
from helpers.toy import RECIPE, Toy, toy_manifests, toy_protocol, toys_registered
from helpers.training import run_training
from torch import Tensor

from dfad_bench.core.contract import Batch
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import read_json
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.resources import include
from dfad_bench.core.strict import read_yaml, yaml_text
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.prompts import class_prompts, load_prompts
from dfad_bench.engine.config import RunConfig, config_from, read_config
from dfad_bench.engine.run import Plan
from dfad_bench.engine.settings import TrainSettings

SHORT = replace(RECIPE, epochs=1, batch_size=16)


class PromptToy(Toy):
    """The toy whose losses go by how long a face's prompts are."""

    needs_prompts = True

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        """The toy's, the last of them times the mean length of the prompts."""
        found, length = super().losses(batch, stage), sum(len(row[-1]) for row in batch.prompts)
        return {name: value * (length / (40 * len(batch.prompts))) for name, value in found.items()}


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Manifest]]:
    torch.set_num_threads(1)
    toy.TOYS["prompt_toy"] = f"{__name__}:PromptToy"
    try:
        with toys_registered():
            yield toy_manifests(tmp_path_factory.mktemp("manifests"), identities=4)
    finally:
        del toy.TOYS["prompt_toy"]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An included folder with the prompt file `mine`."""
    folder = tmp_path_factory.mktemp("own") / "mine"
    (folder / "prompts").mkdir(parents=True)
    values = {**load_prompts().plain_values, "name": "mine", "real": "a face", "L4": "{name}"}
    (folder / "prompts" / "mine.yaml").write_text(yaml_text(values), encoding="utf-8")
    return folder


def trained(manifests: list[Manifest], out: Path, model: str = "prompt_toy", **changes: Any) -> RunConfig:
    run_training(model, toy_protocol(), manifests, out, recipe=SHORT, device="cpu", **changes)
    return read_config(out)


@pytest.fixture(scope="module")
def runs(manifests: list[Manifest], own: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    trained(manifests, folder / "default")
    with include(own):
        trained(manifests, folder / "mine", prompts="mine")
    return folder


def test_prompts_decide_numbers_and_identity_and_are_kept_whole(runs: Path, own: Path) -> None:
    one, other = (read_json(runs / name / "run.json") for name in ("default", "mine"))
    assert one["predictions"]["sha256"] != other["predictions"]["sha256"]
    config = read_config(runs / "mine")
    assert config.sha256 != read_config(runs / "default").sha256
    assert config.templates == load_prompts(str(own / "prompts" / "mine.yaml"))
    assert other["run"]["config"]["prompts"]["L4"] == "{name}"
    assert class_prompts(toy_protocol(), config.templates)[0] == ("a face",) * 4


def test_a_run_with_default_prompts_is_as_it_was_before_there_was_the_setting(
    manifests: list[Manifest], runs: Path, tmp_path: Path
) -> None:
    assert "prompts" not in read_yaml(runs / "default" / "config.yaml")
    assert "prompts" not in read_json(runs / "default" / "run.json")["run"]["config"]
    copy = tmp_path / "copy.yaml"
    copy.write_text(yaml_text(load_prompts().plain_values), encoding="utf-8")
    for name in ("ftg-4", str(copy)):
        settings = TrainSettings(model="prompt_toy", protocol=toy_protocol(), recipe=SHORT, prompts=name)
        assert Plan.of(settings).config(settings, manifests).prompts == {}


def test_another_run_started_from_it_says_where_prompts_differ(
    manifests: list[Manifest], runs: Path, tmp_path: Path
) -> None:
    trained(manifests, tmp_path / "child", finetune_from=runs / "mine")
    assert any(
        "was trained with prompts mine, this run is with ftg-4" in line
        for line in read_json(tmp_path / "child" / "run.json")["warnings"]
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"L4": "no place"}, "L4 must hold {name}"),
        ({"L5": "x"}, "L5"),
        ({"L2": {"EFS": "x"}}, "L2 lacks"),
        ({"real": 7}, "real"),
    ],
)
def test_settings_with_damaged_prompts_are_one_line(runs: Path, change: dict[str, Any], said: str) -> None:
    raw = read_yaml(runs / "mine" / "config.yaml")
    raw["prompts"] |= change
    with pytest.raises(ConfigError, match=said) as caught:
        config_from(raw, "config.yaml")
    assert "\n" not in str(caught.value)


def test_shipped_models_that_read_text_and_those_that_do_not() -> None:
    """As `--prompts` tells them apart: by what they say they need, or by how they are built."""
    protocol = load_protocol("synthetic")
    read = {}
    for name in ("clip", "mfclip", "xception"):
        settings = TrainSettings(model=name, protocol=protocol, size="tiny")
        read[name] = Plan.of(settings).reads_prompts(settings)
    assert read == {"clip": True, "mfclip": True, "xception": False}
