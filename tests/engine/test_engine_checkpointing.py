"""Blocks computed again in the backward pass: which may be, which keep state, and what a run says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from helpers.steps import stepped
from helpers.toy import RECIPE, Toy, ToyConfig, toy_protocol
from helpers.training import run_training
from torch import Tensor, nn

from dfad_bench.core import registry
from dfad_bench.core.contract import Inputs, Stage
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import read_json
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine.contract_checks.subject import Subject
from dfad_bench.engine.contract_checks.training import check_checkpointing
from dfad_bench.engine.fit import Limits
from dfad_bench.engine.gradient_checkpointing import blocks_of, left_out_blocks
from dfad_bench.engine.sessions import begin_session, computed_again


class SelfAttention(nn.Module):
    """Holds a weight, and is called attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.layer(x))


class AveragingAttention(SelfAttention):
    """Divides by a moving average of how large its inputs are, kept in a buffer."""

    size: Tensor

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.register_buffer("size", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.size.mul_(0.5).add_(0.5 * x.abs().mean())
        return super().forward(x / self.size.clone())


class CountingAttention(SelfAttention):
    """Its result depends on how often it was called, which it keeps where nobody sees it."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x * self.calls)


class BlockToy(Toy):
    """Two blocks of a kind behind the toy's convolutions, and one stage."""

    stages = (Stage("main"),)
    kind: ClassVar[type[nn.Module]] = SelfAttention

    def __init__(self, num_generators: int, config: ToyConfig) -> None:
        super().__init__(num_generators, config)
        self.blocks = nn.ModuleList(self.kind(self.embedding_dim) for _ in range(2))

    def embed(self, inputs: Inputs) -> Tensor:
        x = super().embed(inputs)
        for block in self.blocks:
            x = block(x)
        return x


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    table = {**registry.model_table(), "blocks": f"{__name__}:BlockToy"}
    monkeypatch.setattr(registry, "model_table", lambda: table)


def toy() -> BlockToy:
    torch.manual_seed(0)
    return BlockToy(3, ToyConfig())


def test_a_buffer_of_a_block_that_moves_is_refused_before_anything_is_learnt(
    named: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_checkpointing(Subject("blocks")) == ""
    monkeypatch.setattr(BlockToy, "kind", AveragingAttention)
    line = r"--checkpointing: a block \(AveragingAttention\) changes 'size' of its own .* leave --checkpointing out"
    model = toy()
    before = {name: p.clone() for name, p in model.named_parameters()}
    with pytest.raises(ConfigError, match=line):
        stepped(model, checkpointed=True)
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())
    with pytest.raises(ConfigError, match=line):
        check_checkpointing(Subject("blocks"))
    stepped(toy())  # without, it may


def test_state_that_nobody_sees_is_found_by_its_numbers(named: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BlockToy, "kind", CountingAttention)
    line = check_checkpointing(Subject("blocks"))
    assert line.startswith("stage main: with --checkpointing ")
    assert "numbers are others, e.g. gradient of blocks." in line
    assert line.endswith("leave blocks that keep something between calls out of blocks_to_checkpoint()")


def both_spectral_norms() -> list[Any]:
    return [torch.nn.utils.parametrizations.spectral_norm, torch.nn.utils.spectral_norm]


@pytest.mark.parametrize("normed", both_spectral_norms(), ids=["parametrisation", "hook"])
def test_blocks_with_a_spectral_norm_are_left_out_and_it_is_said(named: None, normed: Any) -> None:
    model = toy()
    assert left_out_blocks(model) == []
    normed(model.blocks[0].layer)
    assert blocks_of(model) == [model.blocks[1]]
    (line,) = left_out_blocks(model)
    assert line.startswith("--checkpointing leaves out 1 of 2 blocks of Toy, since they keep statistics")
    normed(model.blocks[1].layer)
    (line,) = left_out_blocks(model)
    assert line.startswith("--checkpointing does nothing: no block of Toy can be computed again, since they keep")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("blocks", "it gives one str"),
        (3, "it gives one int"),
        (["blocks"], "one of those it gives is a str"),
        ([None], "one of those it gives is a NoneType"),
        ([nn.Linear(1, 1)], "a Linear that it gives is not a part of it"),
        ("itself", "a BlockToy that it gives is not a part of it"),
    ],
)
def test_what_is_no_block_is_one_line(monkeypatch: pytest.MonkeyPatch, given: Any, words: str) -> None:
    model = toy()
    monkeypatch.setattr(model, "blocks_to_checkpoint", lambda: [model] if given == "itself" else given)
    with pytest.raises(ConfigError, match=r"Toy: blocks_to_checkpoint\(\) must give modules .*; " + words):
        blocks_of(model)


def test_a_block_named_twice_is_wrapped_once() -> None:
    model = toy()
    model.blocks_to_checkpoint = lambda: (model.blocks[0], model.blocks[0])  # type: ignore[method-assign]  # of one
    assert blocks_of(model) == [model.blocks[0]]


def test_sessions_have_it_from_where_a_block_was_computed_again() -> None:
    torch.set_num_threads(1)
    first = begin_session((), 0, 1, True)
    assert [s.checkpointing for s in first] == [False]
    used = computed_again(first, True)
    assert [s.checkpointing for s in used] == [True]
    assert begin_session(used, 7, 1, True) == used
    assert [(s.step, s.checkpointing) for s in begin_session(used, 7, 1)] == [(0, True), (7, False)]
    later = computed_again(begin_session(begin_session((), 0, 1), 7, 1, True), True)
    assert [(s.step, s.checkpointing) for s in later] == [(0, False), (7, True)]
    assert computed_again(first, False) == first


@pytest.mark.heavy
@pytest.mark.parametrize("frozen", [False, True])
def test_a_run_says_so_only_where_inner_results_were_computed_again(
    named: None, manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frozen: bool
) -> None:
    """Blocks that nothing learns in front of keep no inner results either way."""
    embed = BlockToy.embed

    def without_gradient(self: BlockToy, inputs: Inputs) -> Tensor:
        with torch.set_grad_enabled(not frozen):
            return embed(self, inputs)

    monkeypatch.setattr(BlockToy, "embed", without_gradient)
    for steps in (2, None):  # and where a run goes on
        run_training(
            "blocks", toy_protocol(), manifests, tmp_path, recipe=replace(RECIPE, epochs=1), device="cpu",
            limits=Limits(max_steps=steps), checkpointing=True,
        )  # fmt: skip
    sessions = read_json(tmp_path / "run.json")["run"]["sessions"]
    assert {session.get("checkpointing") for session in sessions} == {None if frozen else True}
    assert frozen or len(sessions) == 1
