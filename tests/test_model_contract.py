"""Every registered model, tiny, on the CPU, against the contract; a new model is tested without a new test."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from helpers.models import FAST_MODELS, every_model
from torch import nn

from dfad_bench.core import registry
from dfad_bench.core.contract import Batch, Card, DFADModel, Inputs, Stage
from dfad_bench.core.registry import model_class, model_names
from dfad_bench.engine.model_contract import CHECKS, CheckResult, check_model


@cache
def results(name: str) -> dict[str, CheckResult]:
    torch.set_num_threads(1)
    return {result.check: result for result in check_model(name)}


def test_the_fast_suite_has_one_of_each_kind() -> None:
    assert set(FAST_MODELS) < set(model_names())
    kinds = {name: model_class(name).build(4, size="tiny") for name in FAST_MODELS}
    assert any(not list(model.parameters()) for model in kinds.values())
    assert any(model.needs_prompts for model in kinds.values())
    assert any(model.needs for model in kinds.values())
    assert any(len(model.stages) > 1 for model in kinds.values())


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", every_model())
def test_contract(name: str, check: str) -> None:
    assert results(name)[check].ok, results(name)[check].detail


class Sloppy(DFADModel):
    """Breaks most of the contract."""

    card = Card("", "nobody", 2026, "both", "batch statistics decide", "nothing")
    stages = (Stage("main"),)

    def __init__(self, num_generators: int) -> None:
        super().__init__(3, num_generators)
        self.unused = nn.Linear(2, 2)
        self.frozen = nn.BatchNorm2d(3).requires_grad_(False)
        self.shift: torch.Tensor | None = None

    @classmethod
    def build(cls, num_generators: int, **settings: object) -> Sloppy:
        return cls(num_generators)

    def embed(self, inputs: Inputs) -> torch.Tensor:
        means = self.frozen(inputs.images).mean(dim=(2, 3))
        shift = 0.0 if self.shift is None else self.shift
        return means - means.mean(dim=0) + torch.rand(1) + shift

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, torch.Tensor]:
        self.shift = batch.attribution.float().sum() + batch.attribution[0]
        return {"dfa": super().losses(batch)["dfa"]}


@pytest.fixture
def sloppy(monkeypatch: pytest.MonkeyPatch) -> dict[str, CheckResult]:
    monkeypatch.setattr(registry, "model_table", lambda: {"sloppy": f"{__name__}:Sloppy"})
    return {result.check: result for result in check_model("sloppy")}


def test_contract_check_finds_what_is_wrong(sloppy: dict[str, CheckResult]) -> None:
    kept = {"build", "views", "paper_size", "output", "side_effects", "heads", "label_polarity", "missing_views"}
    kept |= {"hidden_labels", "checkpointing"}
    assert {name for name, result in sloppy.items() if result.ok} == kept
    assert sloppy["card"].detail == "card fields are empty: display"
    assert sloppy["losses"].detail == "stage main lacks dfd"
    assert sloppy["gradients"].detail == "4 parameters get no gradient, e.g. experts.detection.bias"
    assert "frozen.running_mean" in sloppy["frozen"].detail
    assert "alone" in sloppy["rows_independent"].detail


def test_contract_check_leaves_the_random_state_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    check_model("never_sure")
    assert torch.equal(torch.rand(2), expected)
