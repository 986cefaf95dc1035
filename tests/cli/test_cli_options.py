"""Options are made from settings: one place says what a setting means, and a command line says the same again."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from helpers.toy import RECIPE, toy_manifests, toy_protocol

from dfad_bench.api import training
from dfad_bench.api.training import Training, parse_weights, train_arguments
from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.protocol import load_protocol
from dfad_bench.core.recipe import load_recipe
from dfad_bench.core.settings import choices, option_of
from dfad_bench.engine.settings import RobustnessSettings, TrainSettings
from dfad_bench.gaze.settings import GazeSettings
from dfad_bench.ingest.settings import BuildSettings
from dfad_bench.parsing.settings import ParsingStudySettings

COMMANDS = {
    "train": TrainSettings,
    "build-manifest": BuildSettings,
    "evaluate": RobustnessSettings,
    "gaze-fid": GazeSettings,
    "parsing-fid": ParsingStudySettings,
}
# the command says otherwise: no corruptions is another evaluation, a shared option
OTHERWISE = {("evaluate", "corruptions"), ("build-manifest", "only"), ("build-manifest", "from_deepfakebench")}


def parameters(command: str) -> dict[str, click.Option]:
    found = dfad.get_command(click.Context(dfad), command)
    assert found is not None
    return {parameter.name: parameter for parameter in found.params if isinstance(parameter, click.Option)}  # type: ignore[misc]


@pytest.mark.parametrize(
    ("command", "name"),
    [(command, field.name) for command, owner in COMMANDS.items() for field in fields(owner)],
)
def test_an_option_says_what_its_field_says(command: str, name: str) -> None:
    about, hint, default = option_of(COMMANDS[command], name)
    shown = parameters(command)
    if about.flag is None:
        assert name not in shown
        return
    parameter = shown[name]
    if (command, name) in OTHERWISE:
        return
    assert parameter.help == about.help
    assert parameter.required == (default is MISSING)
    if allowed := choices(hint):
        assert tuple(parameter.type.choices) == allowed  # type: ignore[attr-defined]
    if default not in (MISSING, None, (), {}) and not parameter.multiple:
        assert parameter.default == default
    if about.least is not None:
        assert parameter.type.min == about.least  # type: ignore[attr-defined]


SETTINGS = [
    TrainSettings(model="xception", protocol="synthetic"),
    TrainSettings(
        model="clip", protocol="gazeclip-df40", recipe="quick", size="tiny", epochs=3, seed=4, device="cpu",
        cache="ram", precision="bf16", force_precision=True,
        heads="detection", compiled=True, channels_last=False, processes=2, wandb="p",
        options={"query": "patch", "levels": 2, "gaze": False, "rate": 0.5, "text": "1"}, allow_partial=True,
        max_steps=5, max_minutes=1.5, resume=False, weights="vit.pt", prompts="mine.yaml",
        views={"gaze": {"estimator": "l2cs", "weights": "l2cs.pkl"}},
    ),
    TrainSettings(
        model="mfclip", protocol=toy_protocol(), recipe=RECIPE, seeds=(3, 1), channels_last=True, checkpointing=True,
        weights={"image": "a/b.pt", "text": "c"},
    ),
]  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS, ids=["least", "all", "objects"])
def test_a_command_line_says_the_same_as_its_settings(
    settings: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[tuple[TrainSettings, tuple[Path, ...], Path]] = []

    def catch(asked: TrainSettings, manifests: tuple[Path, ...], out: Path, **_: Any) -> Training:
        got.append((asked, manifests, out))
        return Training(out, (), lead=False)

    monkeypatch.setattr(training, "train", catch)
    line = ["train", *train_arguments(settings, tmp_path), "--manifest", "m", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(dfad, line)
    assert result.exit_code == 0, result.output
    ((asked, manifests, out),) = got
    assert (manifests, out) == ((Path("m"),), tmp_path / "run")
    protocol, recipe = load_protocol(str(asked.protocol)), load_recipe(str(asked.recipe))
    if not isinstance(settings.protocol, str):
        assert protocol.sha256 == settings.protocol.sha256
        assert recipe == settings.recipe
        asked = replace(asked, protocol=settings.protocol, recipe=settings.recipe)
    assert asked == replace(settings, processes=1)  # how many there are is said by the environment


def test_settings_no_option_says_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="TrainSettings.checkpoint_steps cannot be given to several processes"):
        train_arguments(TrainSettings(model="clip", protocol="synthetic", checkpoint_steps=3), tmp_path)


def test_weights_are_one_file_or_named_ones(tmp_path: Path) -> None:
    odd = tmp_path / "a=b.pt"
    odd.write_bytes(b"")
    assert parse_weights(str(odd)) == str(odd)
    for text in ("image=", "=a", "image=a,b", "image=a,image=b"):
        with pytest.raises(ConfigError, match="NAME=FILE with commas between"):
            parse_weights(text)


def test_several_weights_for_a_model_that_takes_one(tmp_path: Path) -> None:
    toy_manifests(tmp_path)
    line = ["train", "--model", "xception", "--protocol", "synthetic", "--size", "tiny", "--weights", "image=a,text=b"]
    result = CliRunner().invoke(
        dfad, [*line, "--manifest", str(tmp_path / "synthetic"), "--out", str(tmp_path / "run")]
    )
    assert result.exit_code == 1
    assert "xception takes one file, not several by name (image, text)" in result.output
