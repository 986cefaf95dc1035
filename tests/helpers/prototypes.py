"""A small open-set model with all that hooks and parameter groups are for, after OmniDFA: a learned centre of real
faces with its own rate, a threshold that follows the real angles of each batch, class prototypes made before
prediction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from helpers.toy import SIDE
from torch import Tensor, nn
from torch.nn import functional as F

from dfad_bench.core.contract import (
    Batch,
    Card,
    DFADModel,
    Inputs,
    LossTerm,
    Output,
    ParameterGroup,
    Stage,
    StageData,
    attribution_term,
    detection_term,
    expert_losses,
)
from dfad_bench.core.parallel import gather_rows
from dfad_bench.losses.supcon import supervised_contrastive

SCALE = 10.0  # of cosines as logits


@dataclass(frozen=True)
class PrototypeConfig:
    width: int = 8
    momentum: float = 0.9

    @classmethod
    def tiny(cls) -> PrototypeConfig:
        return cls()


class PrototypeToy(DFADModel):
    """Cosines to class prototypes decide once there are prototypes; before that, the attribution expert does."""

    card = Card("Prototype toy", "none", 2026, "both", "Prototypes of classes.", "nothing")
    Config = PrototypeConfig
    image_size = SIDE
    stages = (Stage("warm", epochs=1, validate=False), Stage("main"))
    prototypes: Tensor
    threshold: Tensor
    calls: Tensor

    def __init__(self, num_generators: int, config: PrototypeConfig) -> None:
        super().__init__(config.width, num_generators)
        self.config = config
        self.body = nn.Sequential(nn.Conv2d(3, config.width, 5, 2), nn.BatchNorm2d(config.width), nn.ReLU())
        self.centre = nn.Parameter(torch.randn(config.width))
        self.register_buffer("prototypes", torch.zeros(num_generators, config.width))
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("calls", torch.zeros(4, dtype=torch.int64))  # of each hook, in the order below

    def embed(self, inputs: Inputs) -> Tensor:
        return F.normalize(self.body(self.prepare(inputs.images)).mean(dim=(2, 3)), dim=1)

    def forward(self, inputs: Inputs) -> Output:
        output = self.experts(self.embed(inputs))
        if self.training or not bool(self.prototypes.any()):
            return output
        return Output(SCALE * output.embedding @ self.prototypes.T, output.detection_logits, output.embedding)

    def losses(self, batch: Batch, stage: str = "main") -> Mapping[str, Tensor | LossTerm]:
        output = self(batch.inputs)
        to_centre = 1 - F.cosine_similarity(output.embedding, self.centre[None])
        real = (batch.detection == 0).float()
        return {
            **expert_losses(output, batch),
            "supcon": attribution_term(supervised_contrastive(output.embedding, batch.attribution, 0.1), 0.1),
            "sphere": detection_term((to_centre * real).sum() / real.sum().clamp(min=1), 0.01),
        }

    def parameters_of(self, stage: str) -> Iterable[nn.Parameter | ParameterGroup]:
        yield from (p for p in self.parameters() if p is not self.centre)
        yield ParameterGroup((self.centre,), lr=0.5, weight_decay=0.0, optimiser="sgd", scheduled=False)

    def before_stage(self, stage: str, data: StageData) -> None:
        self.calls[0] += 1
        self.threshold.fill_(float(torch.rand(())))  # drawn: a resumed run must not draw again

    def after_step(self, stage: str, batch: Batch) -> None:
        self.calls[1] += 1
        training = self.training
        embedding = gather_rows(self.eval().embed(batch.inputs))
        self.train(training)
        real = embedding[gather_rows(batch.detection) == 0]
        if len(real):
            angle = F.cosine_similarity(real, self.centre[None]).clamp(-1, 1).acos()
            quarter, three = angle.quantile(torch.tensor([0.25, 0.75]))
            inside = angle[angle <= three + 1.5 * (three - quarter)]
            self.threshold.lerp_(inside.max().cos(), 1 - self.config.momentum)

    def after_stage(self, stage: str, data: StageData) -> None:
        self.calls[2] += 1
        self.prototypes.zero_()

    def before_prediction(self, data: StageData) -> None:
        self.calls[3] += 1
        sums, count = torch.zeros_like(self.prototypes), 0
        for batch in data.train(batch_size=7):
            sums.index_add_(0, batch.attribution, self.embed(batch.inputs))
            count += len(batch)
        self.prototypes.copy_(F.normalize(sums, dim=1))
