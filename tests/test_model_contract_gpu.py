"""The contract on a fake GPU: faults planted in a small, sound model, and every registered model in other formats."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers.models import every_model
from torch import Tensor, nn

from dfad_bench.core import registry
from dfad_bench.core.contract import Batch, Card, DFADModel, Inputs
from dfad_bench.engine.contract_checks.building import check_card
from dfad_bench.engine.contract_checks.gpu import check_gpu, gpu_faults
from dfad_bench.engine.contract_checks.subject import Subject
from dfad_bench.engine.fake_gpu import CUDA, FakeGPU, GPUError


class Sound(DFADModel):
    """A model without a fault; those below have one each."""

    card = Card("Sound", "none", 2026, "both", "One convolution.", "nothing")
    image_size = 32

    def __init__(self, num_generators: int, width: int = 4) -> None:
        super().__init__(width, num_generators)
        self.body = nn.Conv2d(3, width, 5, 4)

    @classmethod
    def build(cls, num_generators: int, **settings: Any) -> Sound:
        return cls(num_generators)

    def embed(self, inputs: Inputs) -> Tensor:
        return self.body(self.prepare(inputs.images)).relu().mean(dim=(2, 3))


class MaskOnCPU(Sound):
    def embed(self, inputs: Inputs) -> Tensor:
        return super().embed(inputs).masked_fill(torch.arange(4) > 2, 0.0)


class IndexOnCPU(Sound):
    def embed(self, inputs: Inputs) -> Tensor:
        return super().embed(inputs)[:, torch.tensor([3, 2, 1, 0])]


class ItemInLoss(Sound):
    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        losses = super().losses(batch, stage)
        return losses if losses["dfd"].item() < 100 else {**losses, "dfd": losses["dfd"] / 2}


class Picked(Sound):
    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        forged = self(batch.inputs).embedding[batch.detection > 0]
        return {**super().losses(batch, stage), "size": forged.square().mean()}


class BroughtDown(Sound):
    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        large = self.body.weight.detach().cpu() > 1
        return {**super().losses(batch, stage), "size": self.body.weight.square().mean() * len(large)}


class NumbersRead(Sound):
    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        return {**super().losses(batch, stage), "classes": self.body.bias.sum() * len(set(batch.attribution.tolist()))}


class Unregistered(Sound):
    def __init__(self, num_generators: int) -> None:
        super().__init__(num_generators)
        self.scale = torch.ones(4)

    def embed(self, inputs: Inputs) -> Tensor:
        return super().embed(inputs) * self.scale


class UnregisteredNumber(Sound):
    def __init__(self, num_generators: int) -> None:
        super().__init__(num_generators)
        self.scale = torch.tensor(2.0)

    def embed(self, inputs: Inputs) -> Tensor:
        return super().embed(inputs) * self.scale


class Float64(Sound):
    def embed(self, inputs: Inputs) -> Tensor:
        return (super().embed(inputs) * torch.ones(4, dtype=torch.float64, device=inputs.images.device)).float()


class WithoutAutocast(Sound):
    def embed(self, inputs: Inputs) -> Tensor:
        with torch.autocast(inputs.images.device.type, enabled=False):
            return super().embed(inputs)


class FilledBeyond(Sound):
    def embed(self, inputs: Inputs) -> Tensor:
        body = self.body(self.prepare(inputs.images))  # bfloat16 under autocast
        return body.masked_fill(body < 0, torch.finfo(torch.float32).min).relu().mean(dim=(2, 3))


class LossOnCPU(Sound):
    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        return {**super().losses(batch, stage), "nothing": torch.zeros(())}


class EvaluationWaits(Sound):
    def forward(self, inputs: Inputs) -> Any:
        output = super().forward(inputs)
        return output if self.training or bool(output.embedding.sum() > 0) else output


class SaidToWait(ItemInLoss):
    """A wait that its card names: no fault."""

    card = replace(Sound.card, waits=("main",), notes=("it reads a loss",))


class SaidToWaitOnly(Sound):
    card = SaidToWait.card


class WaitsNowhere(Sound):
    card = replace(Sound.card, waits=("warm",), notes=("none",))


class WaitsUnsaid(Sound):
    card = replace(Sound.card, waits=("main",))


FAULTS = {
    MaskOnCPU: "stage main: masked_fill of a tensor on the GPU with one of (4,) on the CPU, test_model_contract_gpu.py",
    IndexOnCPU: "stage main: index of a tensor on the GPU with one of (4,) on the CPU",
    ItemInLoss: "stage main: the host waits for the GPU: a number is read (_local_scalar_dense), test_model_",
    Picked: "stage main: the host waits for the GPU: a shape depends on values",
    NumbersRead: "stage main: the host waits for the GPU: a number is read",
    BroughtDown: "stage main: the host waits for the GPU: a tensor is brought down",
    Unregistered: "stage main: mul of a tensor on the GPU with one of (4,) on the CPU",
    UnregisteredNumber: "stage main: mul of a tensor on the GPU with one of () on the CPU",
    Float64: "float64 on the GPU from ones, test_model_contract_gpu.py",
    WithoutAutocast: "100% of the multiply-adds under bfloat16 are of parameters in float32, most at",
    FilledBeyond: "stage main: masked_fill of bfloat16 with -3.4e+38, which is beyond it, test_model_contract_gpu.py",
    LossOnCPU: "stage main: the loss nothing is on the CPU",
    EvaluationWaits: "in evaluation: the host waits for the GPU",
    SaidToWaitOnly: "card.waits names stage main, which waits for nothing",
}


def subject_of(kind: type[Sound], monkeypatch: pytest.MonkeyPatch) -> Subject:
    monkeypatch.setattr(registry, "model_table", lambda: {"planted": f"{__name__}:{kind.__name__}"})
    return Subject("planted")


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_a_fault_is_named_with_its_place(kind: type[Sound], monkeypatch: pytest.MonkeyPatch) -> None:
    found = check_gpu(subject_of(kind, monkeypatch))
    assert found.startswith(FAULTS[kind]), found


@pytest.mark.parametrize("kind", [Sound, SaidToWait])
def test_what_is_no_fault_passes(kind: type[Sound], monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_gpu(subject_of(kind, monkeypatch)) == ""


def test_waits_of_a_card_are_stages_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_card(subject_of(WaitsNowhere, monkeypatch)) == "card.waits names 'warm', which is no stage"
    assert "does not say why" in check_card(subject_of(WaitsUnsaid, monkeypatch))
    assert check_card(subject_of(SaidToWait, monkeypatch)) == ""


def test_nothing_of_it_is_left_behind() -> None:
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    with FakeGPU(torch.float16) as gpu:
        layer = gpu.take(nn.Linear(3, 2))
        assert layer(torch.ones(1, 3).to(CUDA)).dtype == torch.float16
        assert torch.ones(2).sum().item() == 2.0  # the host computes as ever
        with pytest.raises(GPUError, match="copy_|_to_copy|brought down"):
            torch.ones(2, device=CUDA).cpu()
    assert (torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")) == before
    assert torch.ones(1).device.type == "cpu"


def test_tied_parameters_stay_tied() -> None:
    model = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    model[1].weight = model[0].weight
    model.register_buffer("seen", torch.zeros(3))
    with FakeGPU() as gpu:
        gpu.take(model)
    assert model[0].weight is model[1].weight
    assert isinstance(model[0].weight, nn.Parameter)
    assert {str(value.device) for value in model.state_dict().values()} == {"cuda:0"}


@pytest.mark.heavy
@pytest.mark.parametrize("autocast", [torch.float16, None], ids=["fp16", "fp32"])
@pytest.mark.parametrize("name", every_model())
def test_every_model_in_other_formats(name: str, autocast: torch.dtype | None) -> None:
    assert gpu_faults(Subject(name), autocast) == ""
