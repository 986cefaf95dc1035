"""Faults planted in a small, sound model, one at a time: the contract check names each, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dfad_bench.core import registry
from dfad_bench.core.contract import (
    Batch,
    Card,
    DFADModel,
    Inputs,
    LossTerm,
    Output,
    Stage,
    attribution_term,
    expert_losses,
)
from dfad_bench.engine.model_contract import check_model


@dataclass(frozen=True)
class SoundConfig:
    width: int = 6

    @classmethod
    def tiny(cls) -> SoundConfig:
        return cls(4)


class Sound(DFADModel):
    """A model without a fault."""

    card = Card("Sound", "none", 2026, "both", "One convolution.", "nothing")
    Config = SoundConfig
    image_size = 32

    def __init__(self, num_generators: int, config: SoundConfig) -> None:
        super().__init__(config.width, num_generators)
        self.body = nn.Conv2d(3, config.width, 5, 4)

    def embed(self, inputs: Inputs) -> Tensor:
        return self.body(self.prepare(inputs.images)).relu().mean(dim=(2, 3))


class UnmadeView(Sound):
    needs = ("no_such_view",)

    def embed(self, inputs: Inputs) -> Tensor:
        return super().embed(inputs) + inputs.views["no_such_view"].mean(dim=(1, 2, 3))[:, None]


class LaxOptions(Sound):
    @classmethod
    def configure(cls, size: Any, options: Mapping[str, Any] | None) -> SoundConfig:
        return SoundConfig(dict(options or {}).get("width", 4))


class IgnoredWeights(Sound):
    def load_weights(self, weights: Any) -> None:
        pass


class UnknownWeights(Sound):
    card = replace(Sound.card, weights=("weights_nobody_knows",))


class TwoStages(Sound):
    stages = (Stage("main"), Stage("main"))


class ReseededTorch(Sound):
    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        torch.manual_seed(0)
        return super().losses(batch, stage)


class ReseededNumPy(Sound):
    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        np.random.seed(0)  # noqa: NPY002
        return super().losses(batch, stage)


class GradientOnly(Sound):
    def embed(self, inputs: Inputs) -> Tensor:
        return super().embed(inputs) * (2.0 if torch.is_grad_enabled() else 1.0)


class InferenceOnly(Sound):
    def embed(self, inputs: Inputs) -> Tensor:
        return super().embed(inputs) * (2.0 if torch.is_inference_mode_enabled() else 1.0)


class WritesWithPython(Sound):
    folder = ""

    def embed(self, inputs: Inputs) -> Tensor:
        Path(self.folder, "trace.txt").write_text("seen")
        return super().embed(inputs)


class WritesWithTorch(Sound):
    def embed(self, inputs: Inputs) -> Tensor:
        embedding = super().embed(inputs)
        torch.save(embedding, "embedding.pt")  # opened by C++, which Python's audit does not see
        return embedding


class SwappedLabels(Sound):
    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        return super().losses(replace(batch, detection=1 - batch.detection), stage)


class SwappedLogits(Sound):
    """Its loss reads column 0 as fake, while whoever reads the output takes column 1."""

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        output = self(batch.inputs)
        return expert_losses(replace(output, detection_logits=output.detection_logits.flip(1)), batch)


class UnbuildablePaper(Sound):
    def __init__(self, num_generators: int, config: SoundConfig) -> None:
        super().__init__(num_generators, config)
        if config.width == SoundConfig().width:
            self.head = nn.Linear(-1, 2)


class UntaggedTerm(Sound):
    """Distils its own attribution under another name."""

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        losses = super().losses(batch, stage)
        return {**losses, "distillation": 0.5 * losses["dfa"]}


class TaggedTerm(Sound):
    """The same, with its labels said: no fault."""

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor | LossTerm]:
        losses = super().losses(batch, stage)
        return {**losses, "distillation": attribution_term(losses["dfa"], 0.5)}


class CoupledExperts(Sound):
    """The detector reads the attribution logits, so the attribution expert learns from detection labels."""

    def forward(self, inputs: Inputs) -> Output:
        output = super().forward(inputs)
        fake = torch.stack([output.attribution_logits[:, 0], output.attribution_logits[:, 1:].logsumexp(1)], dim=1)
        return replace(output, detection_logits=output.detection_logits + fake)


FAULTS = {
    UnmadeView: ("views", "no_such_view"),
    LaxOptions: ("options", "no_such_option"),
    IgnoredWeights: ("weights", "ignores `weights`"),
    UnknownWeights: ("card", "weights_nobody_knows"),
    TwoStages: ("build", "several stages are named 'main'"),
    ReseededTorch: ("side_effects", "generator of torch"),
    ReseededNumPy: ("side_effects", "generator of NumPy"),
    GradientOnly: ("inference_mode", "with gradients on"),
    InferenceOnly: ("inference_mode", "in inference mode"),
    WritesWithPython: ("side_effects", "trace.txt"),
    WritesWithTorch: ("side_effects", "embedding.pt"),
    SwappedLabels: ("label_polarity", "dfd"),
    SwappedLogits: ("label_polarity", "dfd"),
    UnbuildablePaper: ("paper_size", "negative"),
    UntaggedTerm: ("heads", "depends on attribution labels"),
    CoupledExperts: ("heads", "the attribution expert still learns"),
}


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[type[DFADModel]], dict[str, str]]:
    monkeypatch.chdir(tmp_path)  # some models write into the working folder, and only one check guards it

    def check(kind: type[DFADModel]) -> dict[str, str]:
        table = {"planted": f"{__name__}:{kind.__name__}"}
        monkeypatch.setattr(registry, "model_table", lambda: table)
        return {result.check: result.detail for result in check_model("planted") if not result.ok}

    return check


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_a_planted_fault_is_named_and_nothing_else(
    kind: type[DFADModel], checked: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(WritesWithPython, "folder", str(tmp_path))
    found = checked(kind)
    check, words = FAULTS[kind]
    assert list(found) == [check], found
    assert words in found[check]


@pytest.mark.parametrize("kind", [Sound, TaggedTerm], ids=lambda kind: kind.__name__)
def test_a_sound_model_passes(kind: type[DFADModel], checked: Callable) -> None:
    assert checked(kind) == {}
