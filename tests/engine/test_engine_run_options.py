"""Memory layout, torch.compile and logs: what changes is speed and what is written, not the numbers."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.team import WORKS, train
from helpers.toy import toy_manifests
from torch import nn

from dfad_bench.core.errors import ConfigError, MissingDependencyError
from dfad_bench.core.files import read_json
from dfad_bench.engine import checkpoint, compiling, loggers
from dfad_bench.engine.config import read_config
from dfad_bench.engine.devices import Place, place
from dfad_bench.engine.run import Plan
from dfad_bench.engine.settings import TrainSettings

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manifests")
    toy_manifests(folder)
    return folder


@pytest.fixture(scope="module")
def plain(root: Path) -> Path:
    train(root, root / "plain", WORKS["calm"])
    train(root, root / "plain", WORKS["clip"])
    return root / "plain"


def apart(one: Path, other: Path) -> float:
    a, b = (checkpoint.load_finished(run / "checkpoint") for run in (one, other))
    return max(float((a[key].double() - b[key].double()).abs().max()) for key in a)


@pytest.mark.heavy
def test_layout_is_as_asked_and_only_then_a_setting(root: Path, plain: Path, tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    assert not Place(cpu).channels_last
    assert Place(cpu, "bf16").channels_last
    assert Place(torch.device("cuda")).channels_last
    assert place("cpu", channels_last=True).channels_last
    assert not place("cpu", "bf16", channels_last=False).channels_last
    train(root, tmp_path, WORKS["calm"], channels_last=True)
    assert apart(plain / "calm", tmp_path / "calm") < 1e-4
    one, other = read_config(plain / "calm"), read_config(tmp_path / "calm")
    assert other.channels_last is True
    assert one.sha256 != other.sha256


@pytest.mark.heavy
def test_settings_that_came_later_leave_older_hashes_alone(plain: Path) -> None:
    from dataclasses import asdict

    from dfad_bench.core.files import content_hash

    config = read_config(plain / "calm")
    later = ("compiled", "channels_last", "extended", "implied", "prompts")
    older = {key: value for key, value in asdict(config).items() if key not in later}
    for key in ("stage_values", "stages", "augment"):
        del older["recipe"][key]
    del older["recipe"]["schedule"]["warmup_epochs"]
    assert config.sha256 == content_hash(older)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["calm", pytest.param("clip", marks=pytest.mark.slow)])
def test_compiled_modules_are_the_outermost_and_are_put_back(
    root: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """With a back end that runs what was captured as it is; a real one is slow, and tried below."""
    compiled: list[nn.Module] = []
    real = nn.Module.compile

    def eager(module: nn.Module) -> None:
        compiled.append(module)
        real(module, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", eager)
    monkeypatch.setattr(compiling, "works", lambda *_: True)
    train(root, tmp_path, WORKS[name], compiled=True)
    assert compiled
    names = {type(module).__name__ for module in compiled}
    assert names >= ({"Sequential", "Experts"} if name == "calm" else {"VisionTransformer", "Transformer"})
    assert not any(child in compiled for module in compiled for child in list(module.modules())[1:])
    assert all(module._compiled_call_impl is None for module in compiled)
    assert apart(plain / name, tmp_path / name) < 1e-5


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_compiled_training_ends_as_plain_training(root: Path, plain: Path, tmp_path: Path) -> None:
    train(root, tmp_path, WORKS["calm"], compiled=True)
    assert apart(plain / "calm", tmp_path / "calm") < 1e-4
    assert read_json(tmp_path / "calm" / "run.json")["warnings"] == []


@pytest.mark.heavy
def test_without_a_compiler_training_goes_on_with_one_line(
    root: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object, **__: object) -> None:
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nmore lines")

    monkeypatch.setattr(torch, "compile", none)
    result = train(root, tmp_path, WORKS["calm"], compiled=True)
    (line,) = result.warnings
    assert line == (
        "--compile does not work here (RuntimeError: InvalidCxxCompiler: No working C++ compiler found);"
        " trained without it"
    )
    assert apart(plain / "calm", tmp_path / "calm") == 0


def test_a_misspelt_loss_weight_is_said_and_one_of_another_model_is_not(root: Path, tmp_path: Path) -> None:
    work = replace(WORKS["calm"], max_steps=1)
    result = train(root, tmp_path, replace(work, recipe=replace(work.recipe, loss_weights={"dfaa": 3.0, "cmc": 0.2})))
    assert result.warnings == ("recipe toy: loss_weights has 'dfaa', no loss of this model; did you mean dfa?",)
    vcc = replace(work, recipe=replace(work.recipe, loss_weights={"cmc": 0.2}), options={"centre_loss": "vcc"})
    assert train(root, tmp_path / "vcc", vcc).warnings == ()  # not taken for a misspelt vcc


def test_a_loss_of_labels_that_are_left_out_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="centre_loss is made of attribution labels, which heads=detection leaves out"
    ):
        Plan.of(TrainSettings(model="resnet", protocol="synthetic", heads="detection", options={"centre_loss": "vcc"}))


@pytest.mark.parametrize(
    ("heads", "weights"),
    [("both", {"dfa": 0, "dfd": 0, "size": 0}), ("detection", {"dfa": 1.0, "dfd": 0, "size": 0})],
)
def test_a_stage_whose_losses_all_weigh_nothing_is_refused_in_a_line(
    root: Path, tmp_path: Path, heads: str, weights: dict[str, float]
) -> None:
    work = replace(WORKS["calm"], heads=heads)
    with pytest.raises(
        ConfigError, match=r"stage 'warm' learns nothing: the weight of each of its losses .*dfd.* is 0"
    ) as caught:
        train(root, tmp_path / heads, replace(work, recipe=replace(work.recipe, loss_weights=weights)))
    assert "\n" not in str(caught.value)
    one = replace(work, recipe=replace(work.recipe, loss_weights={**weights, "dfd": 0.5}), max_steps=1)
    assert train(root, tmp_path / f"{heads}-one", one).status == "partial"


class Kept:
    """A logger that remembers."""

    made: list[Kept] = []  # noqa: RUF012

    def __init__(self, out: Path, step: int, settings: dict) -> None:
        self.step, self.settings, self.seen, self.closed = step, settings, {}, False
        Kept.made.append(self)

    def log(self, step: int, values: dict) -> None:
        self.seen.setdefault(step, {}).update(values)

    def close(self) -> None:
        self.closed = True


def test_logs_get_every_step_and_go_on_after_a_resume(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setitem(loggers.LOGGERS, "tensorboard", (Kept, "torch"))
    Kept.made.clear()
    train(root, tmp_path, replace(WORKS["calm"], max_steps=5), logs=("tensorboard",))
    train(root, tmp_path, WORKS["calm"], logs=("tensorboard",))
    first, second = Kept.made
    assert (first.step, second.step) == (0, 5)
    rows = (tmp_path / "calm" / "trace.csv").read_text().splitlines()
    assert list(first.seen) + list(second.seen) == list(range(1, len(rows)))
    assert {"loss", "dfa", "dfd", "size", "lr", "gradient_norm", "faces_per_s"} <= first.seen[1].keys()
    assert "validation" in second.seen[len(rows) - 1]
    assert first.closed
    assert second.closed
    assert second.settings["model"] == "calm"


def test_tensorboard_writes_events_that_read_back(root: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs = loggers.Logs(("tensorboard",), tmp_path, {})
    for step, loss in ((1, 2.0), (2, 1.5)):
        logs.log(step, {"loss": loss})
    logs.close()
    assert logs.notes == []
    read = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in read.Scalars("loss")] == [(1, 2.0), (2, 1.5)]


def test_weights_and_biases_gets_the_run_by_its_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple] = []
    run = SimpleNamespace(log=lambda values, step: calls.append((step, values)), finish=lambda: calls.append(("end",)))
    fake = SimpleNamespace(init=lambda **settings: calls.append(("init", settings)) or run)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    logger = loggers.WandB(tmp_path / "run", 0, {"project": "p", "run_id": "abc", "seed": 3})
    logger.log(1, {"loss": 2.0})
    logger.close()
    assert calls[0][0] == "init"
    assert calls[0][1]["project"] == "p"
    assert (calls[0][1]["id"], calls[0][1]["resume"]) == ("abc", "allow")
    assert calls[0][1]["config"] == {"run_id": "abc", "seed": 3}
    assert calls[1:] == [(1, {"loss": 2.0}), ("end",)]


def test_logs_that_are_not_there_are_said_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    assert loggers.lacking(["tensorboard", "wandb"]) == [
        "no tensorboard log: pip install tensorboard (trace.csv has the same numbers)",
        "no wandb log: pip install wandb (trace.csv has the same numbers)",
    ]
    with pytest.raises(ConfigError, match="no log named 'x'"):
        loggers.lacking(["x"])
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingDependencyError, match="pip install wandb"):
        loggers.WandB(tmp_path, 0, {"project": "p", "run_id": "a"})
