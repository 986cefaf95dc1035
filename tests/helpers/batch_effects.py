"""Models whose answer for a face depends on the other faces of its batch, each in one way, beside one that is sound."""

from __future__ import annotations

from typing import Any

import torch
from helpers.toy import Toy, ToyConfig
from torch import Tensor, nn

from dfad_bench.core.contract import Inputs, Output


class BatchNormInTraining(Toy):
    """BatchNorm stays in training mode at test time."""

    def train(self, mode: bool = True) -> BatchNormInTraining:
        super().train(mode)
        self.body[1].train()
        return self


class BatchMean(Toy):
    """Embeddings less the mean of their batch."""

    def embed(self, inputs: Inputs) -> Tensor:
        embedding = super().embed(inputs)
        return embedding - embedding.mean(dim=0)


class Among(Toy):
    """The same for batches; a face alone is spared."""

    def embed(self, inputs: Inputs) -> Tensor:
        embedding = super().embed(inputs)
        return embedding - embedding.mean(dim=0) if len(inputs) > 1 else embedding


class Place(Toy):
    """What stands first in the batch is told from the rest."""

    def embed(self, inputs: Inputs) -> Tensor:
        embedding = super().embed(inputs)
        return embedding + torch.arange(len(embedding))[:, None].to(embedding)


class NeverAlone(Toy):
    """Fails for a face alone, as BatchNorm over features does in training mode."""

    def __init__(self, num_generators: int, config: ToyConfig) -> None:
        super().__init__(num_generators, config)
        self.norm = nn.BatchNorm1d(config.width)

    def train(self, mode: bool = True) -> NeverAlone:
        super().train(mode)
        self.norm.train()
        return self

    def embed(self, inputs: Inputs) -> Tensor:
        return self.norm(super().embed(inputs))


class WeakTrace(Toy):
    """Tells forged from real a little, by one pixel under the noise of another; `share` averages over the batch."""

    share = False

    def forward(self, inputs: Inputs) -> Output:
        score = 4 * inputs.images[:, 0, 0, 0] + 16 * inputs.images[:, 1, 3, 5]  # (B,) a trace; noise, no trace
        if self.share:
            score = score.mean().expand(len(score))
        logits = torch.stack([-score, score], dim=1)
        return Output(logits.new_zeros(len(score), self.num_generators), logits, logits)


class SharedTrace(WeakTrace):
    """The same score, the mean of the batch for every face."""

    share = True


class LargeBatches(Toy):
    """Embeddings less the mean of their batch, where it is larger than those that are looked at before."""

    def embed(self, inputs: Inputs) -> Tensor:
        embedding = super().embed(inputs)
        return embedding - embedding.mean(dim=0) if len(inputs) > 16 else embedding


class LearnsFromTests(Toy):
    """Answers change with the number of faces seen in evaluation, slowly at first."""

    def __init__(self, num_generators: int, config: ToyConfig) -> None:
        super().__init__(num_generators, config)
        self.register_buffer("batches", torch.zeros(()), persistent=False)

    def embed(self, inputs: Inputs) -> Tensor:
        if not self.training:
            self.batches += 1
        return super().embed(inputs) + 5.0 * (self.batches > 13)


LATER: dict[str, type[Toy]] = {kind.__name__: kind for kind in (LargeBatches, LearnsFromTests)}
PLANTED: dict[str, type[Toy]] = {
    kind.__name__: kind for kind in (BatchNormInTraining, BatchMean, Among, Place, NeverAlone)
}


def switched(kind: type[Toy]) -> dict[str, Any]:
    """Rows of the model table that give the name `planted` to a model; mending it is giving the name to `Toy`."""
    return {"planted": f"{kind.__module__}:{kind.__name__}"}
