"""Faults planted in a small, sound model, one at a time: the contract check names each, and nothing else."""

from __future__ import annotations

import os
import subprocess
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
    StageData,
    attribution_term,
    expert_losses,
)
from dfad_bench.core.errors import ConfigError
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


class SilentZero(Sound):
    """It takes the zeros that stand for a missing gaze for looking straight ahead, and does not say so."""

    needs = ("gaze",)

    def embed(self, inputs: Inputs) -> Tensor:
        return super().embed(inputs) + inputs.views["gaze"].mean(dim=1, keepdim=True)


class SaidOnly(SilentZero):
    """It says that it masks, and does not."""

    missing_views = {"gaze": "masked"}


class Masked(SilentZero):
    """It says so and does so: no fault."""

    missing_views = {"gaze": "nothing is added"}

    def embed(self, inputs: Inputs) -> Tensor:
        seen = torch.where(inputs.has("gaze"), inputs.views["gaze"].mean(dim=1), 0)
        return Sound.embed(self, inputs) + seen[:, None]


class OtherPath(Masked):
    """Faces that have a gaze get another result where others of the batch may lack it."""

    def embed(self, inputs: Inputs) -> Tensor:
        return super().embed(inputs) + ("gaze" in inputs.present)


class NaNWithout(Masked):
    def embed(self, inputs: Inputs) -> Tensor:
        return torch.where(inputs.has("gaze")[:, None], super().embed(inputs), torch.nan)


class LossReadsFiller(Sound):
    """Its loss reads a mask that a face does not have."""

    needs_training = ("parsing",)
    missing_views = {"parsing": "left out"}

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        labels = batch.views["parsing"].float().mean(dim=(1, 2, 3))
        return {**super().losses(batch, stage), "area": self.body.bias.square().mean() * labels.mean()}


class SaysOfOthers(Sound):
    missing_views = {"gaze": "masked"}


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
        torch.save(list(embedding.shape), "embedding.pt")  # opened by C++, which Python's audit does not see
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


class WeightOfLabels(Sound):
    """How much a term counts depends on how often each class occurs."""

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor | LossTerm]:
        decay = LossTerm(self.body.weight.square().mean(), weight=batch.attribution.float().mean())
        return {**super().losses(batch, stage), "decay": decay}


class CoupledExperts(Sound):
    """The detector reads the attribution logits, so the attribution expert learns from detection labels."""

    def forward(self, inputs: Inputs) -> Output:
        output = super().forward(inputs)
        fake = torch.stack([output.attribution_logits[:, 0], output.attribution_logits[:, 1:].logsumexp(1)], dim=1)
        return replace(output, detection_logits=output.detection_logits + fake)


class OptionalView(Sound):
    """Its view is asked for by an option that is off by default."""

    @dataclass(frozen=True)
    class Config(SoundConfig):
        use_view: bool = False

        @classmethod
        def tiny(cls) -> OptionalView.Config:
            return cls(4)

    def __init__(self, num_generators: int, config: OptionalView.Config) -> None:
        super().__init__(num_generators, config)
        self.needs = ("no_such_view",) if config.use_view else ()


class LaxTypes(Sound):
    @classmethod
    def configure(cls, size: Any, options: Mapping[str, Any] | None) -> SoundConfig:
        return replace(SoundConfig(4), **{k: v for k, v in strictly_named(options).items() if isinstance(v, int)})


def strictly_named(options: Mapping[str, Any] | None) -> dict[str, Any]:
    if unknown := sorted(set(options or {}) - {"width"}):
        raise ConfigError(f"no option {unknown[0]}")
    return dict(options or {})


class StagesEqualUpToCase(Sound):
    stages = (Stage("main"), Stage("Main"))


class ReseededInEvaluation(Sound):
    def forward(self, inputs: Inputs) -> Output:
        if not self.training:
            torch.manual_seed(0)
        return super().forward(inputs)


class WritesDescriptor(Sound):
    def embed(self, inputs: Inputs) -> Tensor:
        os.close(os.open("descriptor.txt", os.O_WRONLY | os.O_CREAT))
        return super().embed(inputs)


class StartsProcess(Sound):
    def embed(self, inputs: Inputs) -> Tensor:
        subprocess.run(["true"], check=True)
        return super().embed(inputs)


class SwappedClasses(Sound):
    """Two of four classes change places, so most faces are still pulled the right way."""

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        swapped = torch.tensor([0, 2, 1, 3], device=batch.attribution.device)[batch.attribution]
        return super().losses(replace(batch, attribution=swapped), stage)


class RaisingHook(Sound):
    def before_prediction(self, data: StageData) -> None:
        raise ValueError("prototypes are empty")


class ForgetfulHook(Sound):
    """What its hook makes is in no buffer, so a run that is opened again does not have it."""

    scale = 1.0

    def before_prediction(self, data: StageData) -> None:
        self.scale = 1.0 + float(next(iter(data.train())).inputs.images.mean())

    def embed(self, inputs: Inputs) -> Tensor:
        return super().embed(inputs) * self.scale


class KeepingHook(Sound):
    """The same with a buffer: no fault."""

    scale: Tensor

    def __init__(self, num_generators: int, config: SoundConfig) -> None:
        super().__init__(num_generators, config)
        self.register_buffer("scale", torch.ones(()))

    def before_prediction(self, data: StageData) -> None:
        self.scale.fill_(1.0 + sum(float(batch.inputs.images.mean()) for batch in data.validation(3)))

    def embed(self, inputs: Inputs) -> Tensor:
        return super().embed(inputs) * self.scale


class Random(Sound):
    """Dropout, and noise in training: no fault."""

    def embed(self, inputs: Inputs) -> Tensor:
        embedding = nn.functional.dropout(super().embed(inputs), 0.2, self.training)
        return embedding + 0.01 * torch.randn_like(embedding) if self.training else embedding


class OtherLayer(Sound):
    """Its logits are not those of the linear layer that it seems to have."""

    def forward(self, inputs: Inputs) -> Output:
        output = super().forward(inputs)
        return replace(output, attribution_logits=3 * output.attribution_logits)


FAULTS = {
    OtherLayer: ("output", "from last_layer() of the embedding; return None"),
    UnmadeView: ("views", "no_such_view"),
    SilentZero: ("missing_views", "needs the view 'gaze', which some faces lack, and does not say what it does then"),
    SaidOnly: ("missing_views", "reads what stands in 'gaze' for faces that have none"),
    OtherPath: ("missing_views", "treats a face that has 'gaze' otherwise where others may lack it"),
    NaNWithout: ("missing_views", "NaN or infinity for faces without 'gaze'"),
    LossReadsFiller: ("missing_views", "loss 'area' reads what stands in 'parsing'"),
    SaysOfOthers: ("missing_views", "missing_views of 'gaze', a view that it does not need"),
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
    OptionalView: ("views", "use_view=true"),
    LaxTypes: ("options", "the option width"),
    StagesEqualUpToCase: ("build", "upper and lower case"),
    ReseededInEvaluation: ("side_effects", "torch"),
    WritesDescriptor: ("side_effects", "descriptor.txt"),
    StartsProcess: ("side_effects", "starts a process (true)"),
    SwappedClasses: ("label_polarity", "dfa pulls faces of class 1"),
    ForgetfulHook: ("state_dict", "registered buffers"),
    UntaggedTerm: ("heads", "depends on attribution labels"),
    WeightOfLabels: ("heads", "depends on attribution labels"),
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
    monkeypatch.chdir(tmp_path)  # a planted fault writes into the working folder
    found = checked(kind)
    check, words = FAULTS[kind]
    assert list(found) == [check], found
    assert words in found[check]


@pytest.mark.parametrize("kind", [Sound, Masked, TaggedTerm, KeepingHook, Random], ids=lambda kind: kind.__name__)
def test_a_sound_model_passes(kind: type[DFADModel], checked: Callable) -> None:
    assert checked(kind) == {}


def test_a_hook_that_raises_is_found(checked: Callable) -> None:
    assert set(checked(RaisingHook).values()) == {"ValueError: prototypes are empty"}
