from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.toy import RECIPE, toy_manifests, toy_protocol, toys_registered
from helpers.training import run_training

from dfad_bench.core.errors import ConfigError, IntegrityError
from dfad_bench.core.files import read_json
from dfad_bench.core.recipe import Recipe, Schedule, StageRecipe
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine.config import read_config
from dfad_bench.engine.fit import Limits
from dfad_bench.report.run_record import build_record

SHORT = replace(RECIPE, epochs=2, batch_size=8)
STEPS = replace(SHORT, stages={"main": StageRecipe(steps=3)})  # an epoch has four


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Manifest]]:
    torch.set_num_threads(1)
    with toys_registered():
        yield toy_manifests(tmp_path_factory.mktemp("manifests"), identities=6)


def train(manifests: list[Manifest], out: Path, name: str = "toy", **changes: Any):
    settings = {"recipe": SHORT, "device": "cpu", **changes}
    return run_training(name, settings.pop("protocol", toy_protocol()), manifests, out, **settings)


def longer(recipe: Recipe, **changes: Any) -> Recipe:
    return replace(recipe, epochs=4, **changes)


def bits(out: Path) -> tuple[str, str, str]:
    """Hashes of the weights and predictions of a finished run, and its trace."""
    facts = read_json(out / "run.json")
    return facts["model"]["checkpoint_sha256"], facts["predictions"]["sha256"], (out / "trace.csv").read_text()


def stamp(out: Path) -> dict[str, Any]:
    return read_json(out / "run.json")["run"]["extended"][-1]


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule("step", 1, 0.5),
        pytest.param(Schedule("plateau", 1, 0.5), marks=pytest.mark.heavy),
        pytest.param(Schedule("constant", warmup_epochs=3), marks=pytest.mark.heavy),
        pytest.param(Schedule("step", 3, 0.5, unit="step", warmup_steps=5), marks=pytest.mark.heavy),
    ],
    ids=lambda schedule: f"{schedule.name} by {schedule.unit}",
)
def test_a_finished_run_made_longer_is_one_that_was_asked_for_that_length(
    manifests: list[Manifest], tmp_path: Path, schedule: Schedule
) -> None:
    warm = StageRecipe(schedule=Schedule("constant"))  # has no validation loss
    recipe = replace(SHORT, schedule=schedule, stages={"warm": warm})
    train(manifests, tmp_path / "short", recipe=recipe)
    before = bits(tmp_path / "short")
    made = train(manifests, tmp_path / "short", recipe=longer(recipe), extend=True)
    train(manifests, tmp_path / "long", recipe=longer(recipe))
    assert bits(tmp_path / "short") == bits(tmp_path / "long") != before
    assert made.status == "complete"
    assert stamp(tmp_path / "short")["as_one_run"] is True
    assert stamp(tmp_path / "short")["from_epochs"] == 3  # one of the stage "warm", which says so itself
    record = build_record(tmp_path / "short", resamples=10)
    assert record.run.extended[0].reasons == ()


@pytest.mark.heavy
def test_limits_kills_and_a_second_extension_end_with_the_same_bits(manifests: list[Manifest], tmp_path: Path) -> None:
    train(manifests, tmp_path / "long", epochs=6, recipe=replace(SHORT, epochs=6))
    out = tmp_path / "short"
    partial = train(manifests, out, limits=Limits(max_steps=3))
    assert partial.status == "partial"
    for epochs, most in ((3, 5), (6, 18)):
        asked = {"epochs": epochs, "recipe": replace(SHORT, epochs=6)}
        assert train(manifests, out, **asked, extend=True, limits=Limits(max_steps=most)).status == "partial"
        assert train(manifests, out, **asked).fresh  # goes on, without --extend as well
        assert not train(manifests, out, **asked, extend=True).fresh  # done: nothing is longer
    assert bits(out) == bits(tmp_path / "long")
    assert [each["from_steps"] for each in read_json(out / "run.json")["run"]["extended"]] == [3, 16]
    assert len(read_config(out).extended) == 2


@pytest.mark.heavy
def test_steps_that_end_within_an_epoch_go_on_within_it(manifests: list[Manifest], tmp_path: Path) -> None:
    protocol = toy_protocol(validation_share=0.0)
    more = replace(STEPS, stages={"main": StageRecipe(steps=5)})
    train(manifests, tmp_path / "short", recipe=STEPS, protocol=protocol)
    train(manifests, tmp_path / "short", recipe=more, protocol=protocol, extend=True)
    train(manifests, tmp_path / "long", recipe=more, protocol=protocol)
    assert bits(tmp_path / "short") == bits(tmp_path / "long")


@pytest.mark.heavy
def test_what_is_no_longer_as_one_run_says_why(manifests: list[Manifest], tmp_path: Path) -> None:
    cosine = replace(SHORT, schedule=Schedule("cosine"))
    train(manifests, tmp_path / "run", recipe=cosine)
    train(manifests, tmp_path / "run", recipe=longer(cosine), extend=True)
    assert stamp(tmp_path / "run")["as_one_run"] is False
    assert "cosine schedule goes by the total" in stamp(tmp_path / "run")["reasons"][0]
    own = {"warm": StageRecipe(epochs=1), "main": StageRecipe(epochs=1)}
    train(manifests, tmp_path / "stages", recipe=replace(SHORT, stages=own))
    own = {"warm": StageRecipe(epochs=2), "main": StageRecipe(epochs=2)}
    train(manifests, tmp_path / "stages", recipe=replace(SHORT, stages=own), extend=True)
    assert stamp(tmp_path / "stages")["reasons"] == ["stage warm was done and keeps its length"]
    assert stamp(tmp_path / "stages")["kept"] == {"warm": [1, None]}
    assert [each["epochs"] for each in read_json(tmp_path / "stages" / "run.json")["run"]["stages"]] == [1, 2]


@pytest.mark.heavy
def test_early_stopping_goes_on_with_the_epochs_it_has_waited(manifests: list[Manifest], tmp_path: Path) -> None:
    still = replace(SHORT, epochs=9, patience=1, optimiser=replace(SHORT.optimiser, lr=1e-12))
    out = tmp_path / "run"
    train(manifests, out, recipe=still)
    with pytest.raises(ConfigError, match="more epochs change nothing; give a recipe with a higher patience"):
        train(manifests, out, recipe=replace(still, epochs=12), extend=True)
    train(manifests, out, recipe=replace(still, patience=3), extend=True)
    train(manifests, tmp_path / "patient", recipe=replace(still, patience=3))
    assert bits(out) == bits(tmp_path / "patient")
    with pytest.raises(ConfigError, match="cannot lower the recipe's patience from 3 to 2"):
        train(manifests, out, recipe=replace(still, patience=2), extend=True)


def test_what_is_no_extension_is_one_line(manifests: list[Manifest], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no run that could be trained on"):
        train(manifests, tmp_path / "none", extend=True)
    train(manifests, tmp_path / "run")
    before = bits(tmp_path / "run")
    with pytest.raises(IntegrityError, match=r"other settings \(recipe\); .*--extend"):
        train(manifests, tmp_path / "run", recipe=longer(SHORT))
    with pytest.raises(IntegrityError, match=r"other settings differ \(seed, recipe\); --finetune-from"):
        train(manifests, tmp_path / "run", recipe=longer(SHORT, clip_norm=1.0), seed=1, extend=True)
    with pytest.raises(ConfigError, match="cannot turn 2 epochs of stage main into 1 epochs"):
        train(manifests, tmp_path / "run", epochs=1, extend=True)
    with pytest.raises(ConfigError, match="cannot turn 2 epochs of stage main into 9 steps"):
        train(manifests, tmp_path / "run", recipe=replace(SHORT, stages={"main": StageRecipe(steps=9)}), extend=True)
    with pytest.raises(ConfigError, match="extend goes on with a run, resume=False"):
        train(manifests, tmp_path / "run", extend=True, resume=False)
    assert bits(tmp_path / "run") == before
    (state,) = (tmp_path / "run" / "checkpoint").glob("step-*/state.json")
    state.unlink()
    with pytest.raises(IntegrityError, match="keeps no whole checkpoint to go on from; --finetune-from"):
        train(manifests, tmp_path / "run", recipe=longer(SHORT), extend=True)
