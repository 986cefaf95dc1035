"""A training step by other means is the same step: blocks computed again, another memory layout, compiled code.

torch.compile runs its back end `aot_eager`, which needs no C++ compiler: what is captured and how its gradients are
made is tried, not what a compiler makes of it (`test_engine_run_options.py` trains with that in the slow suite).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.models import every_model
from helpers.steps import CPU, batch_for, built, stepped, stepper_of
from helpers.team import WORKS, train
from helpers.toy import Toy, ToyConfig, toy_manifests
from torch import Tensor, nn
from torch.utils import checkpoint as torchs

from dfad_bench.core.contract import DFADModel, Inputs, Stage
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import read_json
from dfad_bench.engine import checkpoint, gradient_checkpointing
from dfad_bench.engine.devices import Place
from dfad_bench.engine.gradient_checkpointing import blocks_of, checkpoint_blocks, restore_blocks
from dfad_bench.engine.settings import TrainSettings
from gazeclip.config import GazeCLIPConfig
from gazeclip.vpe import AppearanceEncoder


def apart(one: tuple[dict[str, float], dict[str, Tensor]], other: tuple[dict[str, float], dict[str, Tensor]]) -> float:
    """The largest difference of losses, and of gradients in units of the largest number of each."""
    assert [one[k].keys() for k in range(2)] == [other[k].keys() for k in range(2)]
    losses = [abs(value - other[0][name]) for name, value in one[0].items() if name != "gradient_norm"]
    scale = max(float(gradient.abs().max()) for gradient in one[1].values())
    gradients = [float((value - other[1][name]).abs().max()) / scale for name, value in one[1].items()]
    return max(*losses, *gradients)


def models_with_blocks() -> list[Any]:
    bare = {
        "always_fake", "cdal", "cpl", "dna_det", "lida", "majority", "never_sure", "omnidfa", "resnet", "vfm_probe",
        "xception",
    }  # fmt: skip
    return [each for each in every_model() if each.values[0] not in bare]


@pytest.mark.parametrize("name", models_with_blocks())
def test_blocks_computed_again_change_no_bit(name: str) -> None:
    model = built(name)
    blocks = blocks_of(model)
    assert blocks
    plain = stepped(model)
    again = built(name)
    calls = []
    for block in blocks_of(again):
        block.register_forward_hook(lambda *_: calls.append(1))
    assert apart(plain, stepped(again, checkpointed=True)) == 0
    assert len(calls) >= len(blocks)
    assert not any("forward" in block.__dict__ for block in blocks_of(again))  # put back


@pytest.mark.parametrize("name", ["always_fake", "resnet", "omnidfa"])
def test_models_without_blocks_are_said_to_have_none(name: str) -> None:
    model = built(name)
    (line,) = gradient_checkpointing.left_out_blocks(model)
    assert line == f"--checkpointing does nothing: {model.card.display} has no transformer blocks to compute again"


class Dropping(nn.Module):
    """A layer with dropout, beside something that calls itself attention."""

    def __init__(self, width: int, norm: nn.Module) -> None:
        super().__init__()
        self.SelfAttention = type("SelfAttention", (nn.Identity,), {})()
        self.layer = nn.Sequential(nn.Linear(width, width), norm, nn.Dropout(0.5), nn.ReLU(), nn.Dropout(0.5))

    def forward(self, x: Tensor, *, factor: float = 1.0) -> Tensor:
        return x + factor * self.layer(self.SelfAttention(x))


class DroppingToy(Toy):
    """Blocks with dropout, one of them with a batch norm."""

    stages = (Stage("main"),)

    def __init__(self, num_generators: int, config: ToyConfig) -> None:
        super().__init__(num_generators, config)
        width = self.embedding_dim
        self.blocks = nn.ModuleList(Dropping(width, n) for n in (nn.Identity(), nn.BatchNorm1d(width), nn.Identity()))

    def embed(self, inputs: Inputs) -> Tensor:
        x = super().embed(inputs)
        for block in self.blocks:
            x = block(x, factor=2.0)
        return x


def toy() -> DroppingToy:
    torch.manual_seed(0)
    return DroppingToy(3, ToyConfig())


def test_dropout_is_drawn_again_and_statistics_move_once(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, model = toy(), toy()
    assert blocks_of(model) == [model.blocks[0], model.blocks[2]]
    expected = stepped(plain)
    assert apart(expected, stepped(model, checkpointed=True)) == 0
    assert torch.equal(plain.blocks[1].layer[1].running_mean, model.blocks[1].layer[1].running_mean)

    def forgetful(*arguments: Any, **named: Any) -> Any:
        return torchs.checkpoint(*arguments, **named, preserve_rng_state=False)

    monkeypatch.setattr(gradient_checkpointing, "checkpoint", forgetful)
    assert apart(expected, stepped(toy(), checkpointed=True)) > 1e-3  # so the comparison sees it


def kept_bytes(model: DFADModel) -> int:
    """Bytes that a forward pass keeps for the backward pass, each memory once, weights apart."""
    own = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        alive.append(value)
        return value

    alive: list[Tensor] = []  # else memory is used again, and counted once for two
    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        losses = model.train().losses(batch_for(model))
    return sum(kept.values()) if losses else 0


def test_fewer_inner_results_are_kept() -> None:
    model = built("clip")
    plain = kept_bytes(model)
    blocks = checkpoint_blocks(blocks_of(model))
    assert kept_bytes(model) < 0.5 * plain
    restore_blocks(blocks)
    assert kept_bytes(model) == plain


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["gazeclip", "clip"])
def test_blocks_computed_again_in_bf16(name: str) -> None:
    place = Place(CPU, "bf16", "contiguous")
    assert apart(stepped(built(name), place=place), stepped(built(name), place=place, checkpointed=True)) == 0


@pytest.mark.heavy
def test_a_run_says_that_blocks_were_computed_again(tmp_path: Path) -> None:
    toy_manifests(tmp_path / "faces")
    for name, work in (("plain", {}), ("again", {"checkpointing": True})):
        train(tmp_path / "faces", tmp_path / name, WORKS["clip"], **work)
    weights = [checkpoint.load_finished(tmp_path / name / "clip" / "checkpoint") for name in ("plain", "again")]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    plain, again = (read_json(tmp_path / name / "clip" / "run.json")["run"] for name in ("plain", "again"))
    assert plain["config_sha256"] == again["config_sha256"]  # it decides no number, so a run may go on with it
    assert [s.get("checkpointing") for s in (*plain["sessions"], *again["sessions"])] == [None, True]
    found = train(tmp_path / "faces", tmp_path / "bare", WORKS["calm"], checkpointing=True)
    assert [w for w in found.warnings if "--checkpointing does nothing: Toy has no transformer blocks" in w]


def test_compiled_blocks_are_not_computed_again() -> None:
    with pytest.raises(ConfigError, match="leave --compile or --checkpointing out"):
        TrainSettings(model="clip", protocol="synthetic", compiled=True, checkpointing=True)


LAID_OUT = [("channels_last", name) for name in ("resnet", "clip", "gazeclip")]
COMPILED = [("compiled", name) for name in ("resnet", "clip", "gazeclip")]


@pytest.mark.heavy
@pytest.mark.parametrize(("means", "name"), LAID_OUT + COMPILED)
def test_a_step_by_other_means_is_the_same(means: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, compile_module = [], nn.Module.compile

    def without_compiler(module: nn.Module) -> None:
        compiled.append(type(module).__name__)
        compile_module(module, backend="aot_eager")

    monkeypatch.setattr(nn.Module, "compile", without_compiler)
    plain = stepped(built(name), place=Place(CPU, layout="contiguous"))
    model = built(name)
    if means == "channels_last":
        other = stepped(model, place=Place(CPU, layout="channels_last"))
        assert all(abs(value - other[0][loss]) < 1e-4 for loss, value in plain[0].items())
        assert apart(plain, other) < (1e-3 if name == "gazeclip" else 1e-4)  # see the next test
        convolutions = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)]
        assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in convolutions)
    else:
        assert apart(plain, stepped(model, compiled=True)) < 1e-4
        wanted = {"resnet": "ResNet", "clip": "VisionTransformer", "gazeclip": "VPE"}
        assert wanted[name] in compiled
        assert all(module._compiled_call_impl is None for module in model.modules())


@pytest.mark.heavy
@pytest.mark.parametrize("means", ["channels_last", "compiled"])
def test_gazeclips_appearance_encoder_is_the_same(means: str) -> None:
    """In float64: in fp32 rounding sends gradients through another one of two pixels that max pooling finds alike."""
    found = []
    for other in (False, True):
        torch.manual_seed(0)
        encoder = AppearanceEncoder(GazeCLIPConfig().tiny()).double()
        images = torch.rand(4, 3, 128, 128).double()
        if other and means == "channels_last":
            encoder, images = (x.to(memory_format=torch.channels_last) for x in (encoder, images))
        call = torch.compile(encoder, backend="aot_eager") if other and means == "compiled" else encoder
        tokens = call(images)
        tokens.square().sum().backward()
        found.append([tokens.detach(), *(p.grad for p in encoder.parameters())])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def test_a_stepper_puts_blocks_back() -> None:
    model = toy()
    stepper = stepper_of(model, "main", checkpointed=True)
    assert "forward" in model.blocks[0].__dict__
    stepper.close()
    assert "forward" not in model.blocks[0].__dict__
