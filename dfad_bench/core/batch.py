"""What flows through a model: inputs, a training batch, an output, a loss term.

Evaluation gets `Inputs`, which can hold neither labels nor training-only views, so that neither can leak into a
forward pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

ViewValue = Tensor | tuple[str, ...]  # a vector, tokens or an image a row; or a text a row
Label = Literal["attribution", "detection"]


def _masks_on(present: Mapping[str, Tensor], device: torch.device, non_blocking: bool) -> dict[str, Tensor]:
    return {name: mask.to(device, non_blocking=non_blocking) for name, mask in present.items()}


def _which_have(present: Mapping[str, Tensor], name: str, like: Tensor) -> Tensor:
    return present[name] if name in present else torch.ones(like.shape[0], dtype=torch.bool, device=like.device)


def _views_on(views: Mapping[str, ViewValue], device: torch.device, non_blocking: bool) -> dict[str, ViewValue]:
    return {
        name: view.to(device, non_blocking=non_blocking) if isinstance(view, Tensor) else view
        for name, view in views.items()
    }


@dataclass(frozen=True)
class Inputs:
    """All that a model may see at test time: pixels, and what is computed from pixels.

    Views are named as in `dfad_bench.views`: "gaze" is (B, 2), pitch and yaw in radians; an image-shaped view is
    (B, C, H, W); a text view is a tuple of B strings. `present` has a mask for views that some faces lack: what stands
    in `views` there means nothing, and a model says in `missing_views` what it does then.
    """

    images: Tensor  # (B, 3, H, W), RGB in [0, 1]
    views: Mapping[str, ViewValue] = field(default_factory=dict)
    present: Mapping[str, Tensor] = field(default_factory=dict)  # view -> (B,) bool; a view without: all have it

    def has(self, name: str) -> Tensor:
        """(B,) bool: which faces have the view `name`."""
        return _which_have(self.present, name, self.images)

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device, *, non_blocking: bool = False) -> Inputs:
        """The same inputs on `device`."""
        images = self.images.to(device, non_blocking=non_blocking)
        masks = _masks_on(self.present, device, non_blocking)
        return Inputs(images, _views_on(self.views, device, non_blocking), masks)


@dataclass(frozen=True)
class Batch:
    """Training only: labels, prompts, training-only views and unlabelled faces never reach `forward`."""

    inputs: Inputs
    attribution: Tensor  # (B,) class of a seen generator, int64
    detection: Tensor  # (B,) 0 real, 1 fake, int64
    prompts: Sequence[Sequence[str]] = ()  # B rows, coarse to fine (levels L1 to L4)
    views: Mapping[str, ViewValue] = field(default_factory=dict)  # "mask", "parsing", ...: in training only
    unlabelled: Inputs | None = None  # faces of the protocol's unlabelled part, as many as the stage asks for
    present: Mapping[str, Tensor] = field(default_factory=dict)  # of `views`, as `Inputs.present`
    # (B,) bool, always on the CPU, so that how many there are is known without waiting: whose labels no loss may use
    # at this step (`Stage.hidden_labels`); None: all may be used
    hidden: Tensor | None = None

    def has(self, name: str) -> Tensor:
        """(B,) bool: which faces have the training-only view `name`."""
        return _which_have(self.present, name, self.attribution)

    def __len__(self) -> int:
        return len(self.attribution)

    def to(self, device: torch.device, *, non_blocking: bool = False) -> Batch:
        """The same batch on `device`."""
        return Batch(
            self.inputs.to(device, non_blocking=non_blocking),
            self.attribution.to(device, non_blocking=non_blocking),
            self.detection.to(device, non_blocking=non_blocking),
            self.prompts,
            _views_on(self.views, device, non_blocking),
            None if self.unlabelled is None else self.unlabelled.to(device, non_blocking=non_blocking),
            _masks_on(self.present, device, non_blocking),
            self.hidden,
        )


@dataclass(frozen=True)
class Output:
    """What a forward pass gives."""

    attribution_logits: Tensor  # (B, x)
    detection_logits: Tensor  # (B, 2)
    embedding: Tensor  # (B, d)


@dataclass(frozen=True)
class LossTerm:
    """One term of the training objective.

    `labels` are the labels the value was computed from; a term is trained on only where the experts of all of them
    learn (`--heads`). Prompts that name the forgery type, the family or the generator are attribution labels.
    `weight` is the model's own, a number or a learned scalar; a recipe's `loss_weights` takes its place.
    """

    value: Tensor  # scalar, without the weight
    labels: frozenset[Label] = frozenset()
    weight: float | Tensor = 1.0


def attribution_term(value: Tensor, weight: float | Tensor = 1.0) -> LossTerm:
    """A term computed from attribution labels, or from prompts that tell generators apart."""
    return LossTerm(value, frozenset({"attribution"}), weight)


def detection_term(value: Tensor, weight: float | Tensor = 1.0) -> LossTerm:
    """A term computed from detection labels only."""
    return LossTerm(value, frozenset({"detection"}), weight)


_EXPERT_LABELS: dict[str, Label] = {"dfa": "attribution", "dfd": "detection"}


def loss_terms(losses: Mapping[str, Tensor | LossTerm]) -> dict[str, LossTerm]:
    """The losses of a model with their labels: a bare tensor named dfa or dfd uses its expert's, any other none."""
    terms = {}
    for name, loss in losses.items():
        labels = frozenset({_EXPERT_LABELS[name]}) if name in _EXPERT_LABELS else frozenset()
        terms[name] = loss if isinstance(loss, LossTerm) else LossTerm(loss, labels)
    return terms


def weighted_losses(
    losses: Mapping[str, Tensor | LossTerm],
    weights: Mapping[str, float] | None = None,
    labels: frozenset[Label] = frozenset({"attribution", "detection"}),
) -> dict[str, Tensor]:
    """Each term that may be trained on, times its weight, in float32; their sum is the training objective.

    Args:
        losses: of a model.
        weights: by name, in place of the model's own (a recipe's `loss_weights`).
        labels: those of the experts that learn; a term that uses others is left out.
    """
    given = weights or {}
    terms = loss_terms(losses).items()
    return {name: given.get(name, t.weight) * t.value.float() for name, t in terms if t.labels <= labels}


def expert_losses(output: Output, batch: Batch) -> dict[str, Tensor]:
    """Cross-entropies of both experts (GazeCLIP equations 5 and 6)."""
    return {
        "dfa": F.cross_entropy(output.attribution_logits.float(), batch.attribution),
        "dfd": F.cross_entropy(output.detection_logits.float(), batch.detection),
    }
