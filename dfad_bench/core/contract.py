"""The contract every model keeps: pixels in, two experts' logits out, losses by name.

Evaluation gets `Inputs`, which can hold neither labels nor text, so that neither can leak into a forward pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Size = Literal["paper", "tiny"]


@dataclass(frozen=True)
class Inputs:
    """All that a model may see at test time: pixels, and what is computed from pixels."""

    images: Tensor  # (B, 3, H, W), RGB in [0, 1]
    views: Mapping[str, Tensor] = field(default_factory=dict)  # "gaze" (B, 2) pitch, yaw in radians, ...

    def to(self, device: torch.device, *, non_blocking: bool = False) -> Inputs:
        """The same inputs on `device`."""
        views = {name: view.to(device, non_blocking=non_blocking) for name, view in self.views.items()}
        return Inputs(self.images.to(device, non_blocking=non_blocking), views)


@dataclass(frozen=True)
class Batch:
    """Training only: labels, prompts and training-only views never reach `forward`."""

    inputs: Inputs
    attribution: Tensor  # (B,) class of a seen generator, int64
    detection: Tensor  # (B,) 0 real, 1 fake, int64
    prompts: Sequence[Sequence[str]] = ()  # B rows, coarse to fine (levels L1 to L4)
    views: Mapping[str, Tensor] = field(default_factory=dict)  # "mask", "parsing", ...: in training only

    def to(self, device: torch.device, *, non_blocking: bool = False) -> Batch:
        """The same batch on `device`."""
        views = {name: view.to(device, non_blocking=non_blocking) for name, view in self.views.items()}
        return Batch(
            self.inputs.to(device, non_blocking=non_blocking),
            self.attribution.to(device, non_blocking=non_blocking),
            self.detection.to(device, non_blocking=non_blocking),
            self.prompts,
            views,
        )


@dataclass(frozen=True)
class Output:
    """What a forward pass gives."""

    attribution_logits: Tensor  # (B, x)
    detection_logits: Tensor  # (B, 2)
    embedding: Tensor  # (B, d)


@dataclass(frozen=True)
class Stage:
    """One phase of training, e.g. DNA-Det's pre-training before its contrastive phase.

    Fields left `None` are as the recipe says. `sampler`: "shuffle" visits every row once an epoch in random
    order; "class_balanced" gives each class the same number of rows in every batch.
    """

    name: str
    epochs: int | None = None
    lr: float | None = None
    batch_size: int | None = None
    sampler: Literal["shuffle", "class_balanced"] = "shuffle"
    validate: bool = True  # False: no validation loss, no early stopping in this stage


@dataclass(frozen=True)
class Card:
    """What a reader of a table must know about a model."""

    display: str  # as printed in tables: "DNA-Det"
    paper: str  # citation of the model's own paper
    year: int
    task: Literal["attribution", "detection", "both", "trivial"]  # what its paper does
    idea: str  # one sentence
    added: str  # which expert the benchmark added, and how
    deviations: tuple[str, ...] = ()
    reference: str | None = None  # where the authors' code is; never opened while writing ours
    reference_licence: str | None = None
    weights: tuple[str, ...] = ()  # names in manifests/weights.yaml that `weights=` may hold


class Experts(nn.Module):
    """Attribution and detection expert, one linear layer each, on the same embedding (GazeCLIP III-E)."""

    def __init__(self, dim: int, num_generators: int) -> None:
        super().__init__()
        self.attribution = nn.Linear(dim, num_generators)
        self.detection = nn.Linear(dim, 2)

    def forward(self, embedding: Tensor) -> Output:
        return Output(self.attribution(embedding), self.detection(embedding), embedding)


class DFADModel(nn.Module):
    """Subclasses write `embed`; those with more losses or phases override `losses` or `stages`.

    Images come as RGB in [0, 1] at the protocol's size; `prepare` resizes and normalises inside the model, so
    that no model can be evaluated with another's statistics. A model may replace `self.experts` by the head
    form of its paper; whatever it is must map an embedding to `Output`.
    """

    card: ClassVar[Card]
    image_size: ClassVar[int] = 256  # side the model works at (size="paper")
    mean: ClassVar[tuple[float, float, float]] = (0.0, 0.0, 0.0)
    std: ClassVar[tuple[float, float, float]] = (1.0, 1.0, 1.0)
    needs: ClassVar[tuple[str, ...]] = ()  # views the loader must compute, at test time too
    needs_training: ClassVar[tuple[str, ...]] = ()  # views the loader must compute for `losses` only
    needs_prompts: ClassVar[bool] = False
    stages: ClassVar[tuple[Stage, ...]] = (Stage("main"),)
    known_zero_gradient: ClassVar[tuple[str, ...]] = ()  # name suffixes of parameters that never learn

    def __init__(self, dim: int, num_generators: int, *, side: int | None = None) -> None:
        super().__init__()
        self.side = side or self.image_size
        self.num_generators = num_generators
        self.experts: nn.Module = Experts(dim, num_generators)

    @classmethod
    def build(
        cls,
        num_generators: int,
        *,
        size: Size = "paper",
        weights: Path | None = None,
        class_prompts: Sequence[Sequence[str]] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Self:
        """A new model.

        Args:
            num_generators: classes of the attribution expert.
            size: "paper" is the published architecture, "tiny" the same modules at toy widths.
            weights: pre-trained weights to start from; None is random initialisation, always possible.
            class_prompts: per class, its prompts coarse to fine (for models whose classifier is text).
            options: overrides of the model's own settings, checked strictly.
        """
        raise NotImplementedError

    def embed(self, inputs: Inputs) -> Tensor:
        """(B, 3, H, W) images to the embedding (B, d) both experts read."""
        raise NotImplementedError

    def forward(self, inputs: Inputs) -> Output:
        return self.experts(self.embed(inputs))

    def losses(self, batch: Batch, stage: str = "main") -> dict[str, Tensor]:
        """Named, unweighted scalars; the engine sums them. "dfa" and "dfd" are always among those of the last stage."""
        return expert_losses(self(batch.inputs), batch)

    def prepare(self, images: Tensor) -> Tensor:
        """Resize to (B, 3, side, side), antialiased, and normalise with the model's mean and std."""
        if images.shape[-1] != self.side or images.shape[-2] != self.side:
            images = F.interpolate(images, (self.side, self.side), mode="bilinear", antialias=True, align_corners=False)
        if self.mean == (0.0, 0.0, 0.0) and self.std == (1.0, 1.0, 1.0):
            return images
        mean = images.new_tensor(self.mean)[:, None, None]
        std = images.new_tensor(self.std)[:, None, None]
        return (images - mean) / std

    def parameters_of(self, stage: str) -> Iterable[nn.Parameter]:
        """The parameters trained in a stage (default: all that require a gradient)."""
        return (parameter for parameter in self.parameters() if parameter.requires_grad)


def expert_losses(output: Output, batch: Batch) -> dict[str, Tensor]:
    """Cross-entropies of both experts (GazeCLIP equations 5 and 6)."""
    return {
        "dfa": F.cross_entropy(output.attribution_logits.float(), batch.attribution),
        "dfd": F.cross_entropy(output.detection_logits.float(), batch.detection),
    }
