"""The trivial rows of every table: models that look at nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dfad_bench.core.contract import Batch, Card, DFADModel, Inputs, Output, expert_losses

_LOGIT = 5.0  # logit for the chosen side, minus it for the other: a probability of 0.99995


@dataclass(frozen=True)
class ConstantConfig:
    """Nothing to set."""

    @classmethod
    def tiny(cls) -> ConstantConfig:
        return cls()


class Constant(DFADModel):
    """The same logits for every face; nothing to train.

    A subclass sets the buffers `attribution` (x,) and `detection` (2,).
    """

    Config = ConstantConfig
    attribution: Tensor
    detection: Tensor

    def __init__(self, num_generators: int, config: ConstantConfig) -> None:
        super().__init__(1, num_generators)
        self.experts = nn.Identity()
        self.register_buffer("attribution", torch.zeros(num_generators))
        self.register_buffer("detection", torch.zeros(2))

    def embed(self, inputs: Inputs) -> Tensor:
        return inputs.images.new_zeros(inputs.images.shape[0], 1)

    def forward(self, inputs: Inputs) -> Output:
        rows = inputs.images.shape[0]
        attribution, detection = self.logits()
        return Output(attribution.expand(rows, -1), detection.expand(rows, -1), self.embed(inputs))

    def logits(self) -> tuple[Tensor, Tensor]:
        """(x,) and (2,), the same for every face."""
        return self.attribution, self.detection


class AlwaysFake(Constant):
    """Every face is fake, by a generator it cannot name."""

    card = Card(
        display="always fake",
        paper="none: a reference for reading the tables",
        year=2026,
        task="trivial",
        idea="Calls every face fake with certainty and spreads attribution evenly.",
        added="nothing",
        no_recipe="there is nothing to train",
    )

    def __init__(self, num_generators: int, config: ConstantConfig) -> None:
        super().__init__(num_generators, config)
        self.detection = torch.tensor([-_LOGIT, _LOGIT])


class NeverSure(Constant):
    """Equal probabilities everywhere: under the threshold rule every face is unseen."""

    card = Card(
        display="never sure",
        paper="none: a reference for reading the tables",
        year=2026,
        task="trivial",
        idea="Gives every class the same probability, which reaches 100 % on unseen generators.",
        added="nothing",
        no_recipe="there is nothing to train",
    )


class Majority(Constant):
    """The class shares of the training faces, whatever the picture."""

    card = Card(
        display="majority",
        paper="none: a reference for reading the tables",
        year=2026,
        task="trivial",
        idea="Answers with the class shares of the training set.",
        added="nothing",
        deviations=("each class counts one face more than there are, so that logits are finite",),
        no_recipe="there is nothing to train",
    )
    attribution_counts: Tensor
    detection_counts: Tensor

    def __init__(self, num_generators: int, config: ConstantConfig) -> None:
        super().__init__(num_generators, config)
        self.register_buffer("attribution_counts", torch.zeros(num_generators, dtype=torch.int64))
        self.register_buffer("detection_counts", torch.zeros(2, dtype=torch.int64))

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        """The experts' losses; in training mode the labels are counted first."""
        if self.training:
            for counts, labels in (
                (self.attribution_counts, batch.attribution), (self.detection_counts, batch.detection),
            ):  # fmt: skip
                counts.index_add_(0, labels, torch.ones_like(labels))
        return expert_losses(self(batch.inputs), batch)

    def logits(self) -> tuple[Tensor, Tensor]:
        return ((self.attribution_counts + 1.0).log(), (self.detection_counts + 1.0).log())
