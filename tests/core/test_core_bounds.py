"""Numbers from outside that no machine could work with are one line, wherever they are given."""

from __future__ import annotations

import math
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import click
import pytest
import yaml

from dfad_bench.cli.main import COMMANDS, dfad
from dfad_bench.core.bounds import BATCH, EPOCHS, STEPS, WHOLE
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.protocol import AttributionRule, CorruptionPlan, load_protocol
from dfad_bench.core.recipe import Recipe, Schedule, StageRecipe, load_recipe
from dfad_bench.core.settings import base_type, option_of
from dfad_bench.core.stages import Stage
from dfad_bench.core.strict import from_mapping
from dfad_bench.engine.needs import needs_of
from dfad_bench.engine.settings import EvaluateSettings, RobustnessSettings, TrainSettings
from dfad_bench.gaze.settings import GazeSettings
from dfad_bench.ingest.settings import BuildSettings

SETTINGS = (TrainSettings, EvaluateSettings, RobustnessSettings, BuildSettings, GazeSettings)
GIVEN: dict[type, dict[str, Any]] = {TrainSettings: {"model": "xception", "protocol": "synthetic"}}
NUMBERS = [
    (owner, field.name)
    for owner in SETTINGS
    for field in fields(owner)
    if {int, float}
    & {base_type(option_of(owner, field.name)[1]), *get_args(base_type(option_of(owner, field.name)[1]))}
]
UNBOUNDED_OPTIONS = {"per_group"}  # refused by what it comes to: `synthetic.layout` has so many identities


@pytest.mark.parametrize(("owner", "name"), NUMBERS, ids=lambda value: getattr(value, "__name__", value))
def test_every_number_of_settings_has_a_largest_value(owner: type, name: str) -> None:
    about, hint, _ = option_of(owner, name)
    if name == "shard":
        return  # two numbers of at most seven digits, see `parse_shard`
    assert about.most is not None
    for number in (10**19, 10**400, *((math.inf, math.nan) if base_type(hint) is float else ())):
        value = (number,) if tuple in (base_type(hint), getattr(base_type(hint), "__origin__", None)) else number
        with pytest.raises(ConfigError, match=f"needs {name} (<=|>|>=) ") as raised:
            owner(**{**GIVEN.get(owner, {}), name: value})
        assert len(str(raised.value)) < 200


def test_every_number_of_a_command_has_a_largest_value() -> None:
    context = click.Context(dfad)
    for command in COMMANDS:
        for parameter in dfad.get_command(context, command).params:
            kind = parameter.type
            if isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
                bounded = isinstance(kind, click.IntRange | click.FloatRange) and kind.max is not None
                assert bounded or parameter.name in UNBOUNDED_OPTIONS, f"{command} {parameter.name}"


@pytest.mark.parametrize(
    ("cls", "name", "most"),
    [
        (Recipe, "batch_size", BATCH), (Recipe, "epochs", EPOCHS), (Recipe, "patience", EPOCHS),
        (StageRecipe, "batch_size", BATCH), (StageRecipe, "epochs", EPOCHS), (StageRecipe, "steps", STEPS),
        (Schedule, "every", STEPS), (Schedule, "warmup_steps", STEPS), (Schedule, "warmup_epochs", EPOCHS),
    ],
)  # fmt: skip
def test_a_recipe_says_the_most_it_takes(cls: type, name: str, most: int) -> None:
    given = {"name": "mine"} if cls is Recipe else {}
    assert getattr(from_mapping(cls, {**given, name: most}, "mine.yaml"), name) == most
    with pytest.raises(ConfigError, match=f"^mine.yaml: {name} must be {most:,} or less, got {10**10:,}$"):
        from_mapping(cls, {**given, name: 10**10}, "mine.yaml")
    if name in ("batch_size", "epochs", "steps"):
        with pytest.raises(ConfigError, match=f"{name} must be {most:,} or less"):
            Stage("main", **{name: 10**10})


def test_a_protocol_says_the_most_it_takes(tmp_path: Path) -> None:
    protocol = load_protocol("synthetic")
    for name, value, words in (
        ("image_size", 10**9, "image_size must be 4,096 or less"),
        ("train_per_group", 10**12, "a count of faces must be 1,000,000,000 or less"),
    ):
        with pytest.raises(ValueError, match=words):
            type(protocol)(**{**vars(protocol), name: value})
    with pytest.raises(ValueError, match="severities must be 1,000 or less"):
        CorruptionPlan(("blur",), (1, 10**9))
    with pytest.raises(ValueError, match="the number of thresholds must be 1,000 or less"):
        AttributionRule(thresholds=tuple(k / 5000 for k in range(1, 4999)), headline=0.5)


def test_any_integer_of_a_file_is_one_a_machine_word_holds(tmp_path: Path) -> None:
    text = {**yaml.safe_load(Path(_shipped("default")).read_text()), "name": "mine"}
    for value in (WHOLE + 1, -WHOLE - 1, 10**299):
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({**text, "version": value}))
        with pytest.raises(ConfigError, match=f"version must be {WHOLE:,} or less, got a number of") as raised:
            load_recipe(str(path))
        assert len(str(raised.value)) < 300


def _shipped(name: str) -> Path:
    from dfad_bench.core.resources import find_yaml

    return find_yaml("manifests", "recipes", name)


@pytest.mark.parametrize("model", ["xception", "gazeclip", "cvit"])
def test_options_no_network_could_be_built_with(model: str) -> None:
    name = {"gazeclip": "a"}.get(model, "middle" if model == "xception" else "depth")
    with pytest.raises(ConfigError, match=f"{name} must be 65,536 or less, got 1000000000"):
        needs_of(model, 3, "tiny", {name: 10**9})


def test_functions_without_a_settings_class_refuse_them_too(tmp_path: Path) -> None:
    from dfad_bench.api.runs import compare

    with pytest.raises(ConfigError, match="resamples must be 1 to 100,000"):
        compare(tmp_path, tmp_path, resamples=10**9)
