"""Shares of a training step: each module is charged what it computes, forward and backward, and nothing else."""

from __future__ import annotations

import json
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from helpers.scripts import benchmark
from helpers.toy import RECIPE, Toy, ToyConfig
from torch import Tensor, nn

from dfad_bench.cli.main import dfad
from dfad_bench.core.contract import Batch, Inputs, Stage, expert_losses
from dfad_bench.engine.devices import Place
from dfad_bench.engine.optimisers import OptimiserSet, parameter_groups
from dfad_bench.engine.shares import OPTIMISER, REST, ModuleClock, outermost_parts, part_shares, step_shares

CPU = torch.device("cpu")
CLOCK = SimpleNamespace(now=0.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time that passes only where a test says so."""
    monkeypatch.setattr("dfad_bench.engine.shares.time", SimpleNamespace(perf_counter=lambda: CLOCK.now))


class _Sleep(torch.autograd.Function):
    """The identity, which takes so many seconds of the tests' clock in each direction."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, forward: float, backward: float) -> Tensor:
        ctx.backward_s = backward
        CLOCK.now += forward
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        CLOCK.now += ctx.backward_s
        return gradient, None, None


class Slow(nn.Module):
    """Takes time, after a child that does."""

    def __init__(self, forward: float, backward: float, child: nn.Module | None = None) -> None:
        super().__init__()
        self.seconds, self.child = (forward, backward), child

    def forward(self, x: Tensor) -> Tensor:
        return _Sleep.apply(x if self.child is None else self.child(x), *self.seconds)


class SlowModel(Toy):
    """Two slow modules in a list, one with a slow one inside, and a slow loss."""

    stages = (Stage("main"),)

    def __init__(self, num_generators: int, config: ToyConfig) -> None:
        super().__init__(num_generators, config)
        self.parts = nn.ModuleList([Slow(2, 4), Slow(0, 2, Slow(4, 0))])

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        embedding = self.embed(batch.inputs)
        for part in self.parts:
            embedding = part(embedding)
        losses = expert_losses(self.experts(embedding), batch)
        return {**losses, "dfa": _Sleep.apply(losses["dfa"], 3, 3)}


def toy_batch(rows: int = 4) -> Batch:
    labels = torch.arange(rows) % 3
    return Batch(Inputs(torch.rand(rows, 3, 32, 32)), labels, (labels > 0).long())


@pytest.mark.usefixtures("clock")
def test_time_is_charged_to_what_takes_it() -> None:
    model = SlowModel(3, ToyConfig()).train()
    optimisers = OptimiserSet(parameter_groups(model, "main"), RECIPE.optimiser)
    found = {part.part: part for part in step_shares(model, toy_batch(), Place(CPU), optimisers, 3)}
    seconds = {name: (part.forward, part.backward) for name, part in found.items()}
    expected = {"parts": (6, 6), REST: (3, 3), "experts": (0, 0), OPTIMISER: (0, None)}
    assert {name: seconds.pop(name) for name in expected} == expected
    assert set(seconds.values()) == {(0, 0)}
    assert (found["parts"].share, found[REST].share) == pytest.approx((2 / 3, 1 / 3))


@pytest.mark.usefixtures("clock")
def test_a_named_module_within_another_is_charged_by_itself() -> None:
    outer = Slow(1, 2, inner := Slow(3, 4))
    with ModuleClock({outer: "outer", inner: "inner"}, CPU) as watch:
        watch.begin("forward")
        result = outer(torch.ones(1, requires_grad=True))
        watch.begin("backward")
        result.backward()
        found = watch.end()
    outer(torch.ones(1))  # no longer watched
    assert watch.end() == {}
    del found["forward", REST], found["backward", REST]
    outer_s, inner_s = {"forward": 1, "backward": 2}, {"forward": 3, "backward": 4}
    assert found == {(p, n): s[p] for n, s in (("outer", outer_s), ("inner", inner_s)) for p in s}


def test_parts_are_the_outermost_modules_that_are_called() -> None:
    model = SlowModel(3, ToyConfig())
    parts = outermost_parts(model, lambda: model.losses(toy_batch()))
    assert [parts[module] for module in model.parts] == ["parts", "parts"]
    assert model.parts[1].child not in parts
    assert model not in parts


def test_shares_are_of_medians() -> None:
    steps = [{("forward", "a"): s, ("backward", "a"): 2.0, (OPTIMISER, REST): 1.0} for s in (1.0, 1.0, 50.0)]
    a, rest, optimiser = part_shares(steps, {"a": None})
    assert (a.forward, a.backward, a.share) == (1.0, 2.0, 0.75)
    assert (rest.share, optimiser.share) == (0.0, 0.25)


def test_the_command_shows_a_row_a_part_and_names_models_that_learn_nothing() -> None:
    chosen = ["--model", "vit", "--model", "majority", "--size", "tiny", "--device", "cpu", "--batch", "2"]
    result = CliRunner().invoke(dfad, ["profile", "--shares", *chosen, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert {row["model"] for row in found["rows"]} == {"vit"}
    assert {"patch", "transformer", REST, OPTIMISER} <= {row["part"] for row in found["rows"]}
    assert sum(row["share"] for row in found["rows"]) == pytest.approx(1)
    assert "majority: nothing learns" in found["notes"]
    assert any("2 faces" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--shares", "--latency"], "--latency is of forward passes"), (["--batch", "4"], "--batch goes with --shares")],
)
def test_options_that_do_not_go_together_are_said(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(dfad, ["profile", "--model", "clip", *arguments])
    assert (result.exit_code, message in result.output) == (2, True)


def test_rows_of_gazeclips_step_add_up() -> None:
    script = benchmark("gazeclip_speed")
    keys = [(phase, part) for phase in ("forward", "backward") for part in (*script.MODULES, REST)]
    literal = [{**dict.fromkeys(keys, 3.0), (OPTIMISER, REST): 6.0}]
    ours = [{**dict.fromkeys(keys, 1.0), (OPTIMISER, REST): 2.0}]
    rows = {row["part"]: row for row in script.step_rows(literal, ours)}
    assert (rows["step"]["literal_s"], rows["step"]["ours_s"], rows["step"]["ratio"]) == (30.0, 10.0, 3.0)
    assert rows["step"]["ours_share"] == 1.0
    assert sum(rows[name]["ours_share"] for name in ("forward", "backward", "optimiser")) == pytest.approx(1)
    assert sum(row["ours_s"] for name, row in rows.items() if ", " in name) == pytest.approx(8.0)


@pytest.mark.heavy
def test_gazeclips_checkpointing_is_measured(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    script, out = benchmark("gazeclip_speed"), tmp_path / "checkpointing.json"
    monkeypatch.setattr(script, "ProcessPoolExecutor", lambda *_, **__: Here())
    options = ["--size", "tiny", "--batch", "2", "--turns", "1", "--checkpointing", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["speed", *options])
    assert script.main() == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert [row["checkpointing"] for row in found["rows"]] == [False, True]
    assert found["largest_loss_difference"] == 0
    assert found["seconds_ratio"] > 0


class Here(nullcontext):
    """Calls in this process what a pool calls in another, which need not import a script that has no module's name."""

    def __enter__(self) -> Here:
        return self

    def submit(self, call: Any, *arguments: Any) -> SimpleNamespace:
        made = call(*arguments)
        return SimpleNamespace(result=lambda: made)


@pytest.mark.heavy
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gazeclips_speed_is_measured(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    script, out = benchmark("gazeclip_speed"), tmp_path / "speed.json"
    given = {"--size": "tiny", "--batch": "2", "--turns": "1", "--precision": precision, "--out": str(out)}
    monkeypatch.setattr("sys.argv", ["speed", *(word for pair in given.items() for word in pair)])
    assert script.main() == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["precision"] == {"literal": precision, "ours": precision}
    assert found["largest_loss_difference"] < (1e-5 if precision == "fp32" else 0.1)
    assert {"estimator", "VPE", "GIE"} <= found["inference"]["online"]["shares"].keys()
    assert "estimator" not in found["inference"]["stored"]["shares"]
    assert all(
        sum(found["inference"][k]["shares"].values()) == pytest.approx(1, abs=2e-3) for k in ("stored", "online")
    )
