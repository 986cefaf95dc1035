"""A small model that learns from unlabelled faces, after CPL: cross-entropy with a margin, soft pseudo-labels drawn by
Gumbel softmax and weighted by their own probability, and the entropy of the mean prediction against collapse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from helpers.toy import SIDE
from torch import Tensor, nn
from torch.nn import functional as F

from dfad_bench.core.contract import Batch, Card, DFADModel, Inputs, LossTerm, Stage, attribution_term, expert_losses
from dfad_bench.core.parallel import gather_rows

MARGIN = 0.2


@dataclass(frozen=True)
class PseudoLabelConfig:
    """`ratio`: unlabelled faces for each labelled one; 0 trains without them. `drawn` False: the likeliest label."""

    width: int = 8
    ratio: float = 1.0
    drawn: bool = True

    @classmethod
    def tiny(cls) -> PseudoLabelConfig:
        return cls()


class PseudoLabelToy(DFADModel):
    """Two convolutions, BatchNorm and two linear experts; see the module."""

    card = Card("Pseudo-label toy", "none", 2026, "both", "Pseudo-labels.", "nothing")
    Config = PseudoLabelConfig
    image_size = SIDE

    def __init__(self, num_generators: int, config: PseudoLabelConfig) -> None:
        super().__init__(config.width, num_generators)
        self.config = config
        self.stages = (Stage("warm", epochs=1, validate=False), Stage("main", unlabelled=config.ratio))
        self.body = nn.Sequential(
            nn.Conv2d(3, config.width, 5, 2), nn.BatchNorm2d(config.width), nn.ReLU(),
            nn.Conv2d(config.width, config.width, 3, 2), nn.ReLU(),
        )  # fmt: skip

    def embed(self, inputs: Inputs) -> Tensor:
        return self.body(self.prepare(inputs.images)).mean(dim=(2, 3))

    def losses(self, batch: Batch, stage: str = "main") -> Mapping[str, Tensor | LossTerm]:
        output = self(batch.inputs)
        truth = F.one_hot(batch.attribution, self.num_generators)
        margin = F.cross_entropy(output.attribution_logits - MARGIN * truth, batch.attribution)
        losses = {**expert_losses(output, batch), "dfa": margin}
        if batch.unlabelled is None:
            return losses
        logits = self(batch.unlabelled).attribution_logits
        pseudo = F.one_hot(logits.argmax(dim=1), self.num_generators).to(logits)
        if self.config.drawn:
            pseudo = F.gumbel_softmax(logits.detach(), tau=1.0, hard=True)
        confidence = (logits.softmax(dim=1).detach() * pseudo).sum(dim=1)
        soft = (confidence * F.cross_entropy(logits, pseudo, reduction="none")).mean()
        mean = gather_rows(torch.cat([output.attribution_logits, logits]).softmax(dim=1)).mean(dim=0)
        spread = (mean * mean.clamp(min=1e-8).log()).sum()  # minus the entropy
        return {**losses, "pseudo": attribution_term(soft, 0.5), "spread": attribution_term(spread)}
