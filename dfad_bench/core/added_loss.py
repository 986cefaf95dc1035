"""A loss that any model takes beside its own: options `centre_loss` and what belongs to it (BMRL, section 3.6).

    --set centre_loss=dfacc --set centre_margin=0.5

Whatever the model is, the added loss reads what its experts read, and learns its centres with the model. It is a
term of the objective under its own name, "dfacc" or "vcc", made of attribution labels; a recipe may weigh it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfad_bench.core.batch import Batch, LossTerm, Output, attribution_term
from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.strict import from_mapping

_CLASSES = {"dfacc": "DFACC", "vcc": "ContrastiveCentre"}  # of losses.centres, which core must not import at once
_PREFIX = "centre_"


@dataclass(frozen=True)
class CentreOptions:
    """Options of every model, beside its own.

    Attributes:
        centre_loss: "dfacc", BMRL's deepfake attribution contrastive center loss; "vcc", the vanilla contrastive
            center loss; or none.
        centre_margin: m of DFACC (BMRL Table 9).
        centre_lambda: weight of its inter-generator part (BMRL Table 10).
        centre_space: what is compared with the centres. BMRL prints y_pre, the class probabilities, for the faces but
            centres in R^d, the embedding's space. "feature" compares normalised embeddings: without normalisation,
            pushing apart has no end. "probability" compares class probabilities, with centres of that many numbers.
        centre_start: where centres begin, see `losses.centres.Centres`.
    """

    centre_loss: Literal["none", "dfacc", "vcc"] = "none"
    centre_margin: float = 0.7
    centre_lambda: float = 0.5
    centre_space: Literal["feature", "probability"] = "feature"
    centre_start: Literal["sphere", "small"] = "sphere"

    def __post_init__(self) -> None:
        if self.centre_margin <= 0:
            raise ValueError(f"centre_margin must be above 0, got {self.centre_margin}")
        if self.centre_lambda < 0:
            raise ValueError(f"centre_lambda must be 0 or more, got {self.centre_lambda}")


def split_options(
    options: Mapping[str, Any], own: type[Any] | None, defaults: Mapping[str, Any], model: str
) -> tuple[dict[str, Any], CentreOptions]:
    """A model's own options, and those of its added loss.

    Args:
        options: of a model.
        own: its `Config`, if it has one. A field there may begin like these options, and must not be one of them.
        defaults: what the model's paper adds.
        model: for messages.

    Raises:
        ConfigError: an unknown option of an added loss, a bad value, or a field of the model with the name of such an
            option, which could then not be set.
    """
    taken = {field.name for field in fields(own)} if own is not None else set()
    if shadows := sorted(taken & {field.name for field in fields(CentreOptions)}):
        raise ConfigError(
            f"{model}: its Config has a field {shadows[0]}, an option that every model has for a loss that a user adds"
            " (dfad_bench.core.added_loss); give the field another name"
        )
    added = {name: value for name, value in options.items() if name.startswith(_PREFIX) and name not in taken}
    rest = {name: value for name, value in options.items() if name not in added}
    return rest, from_mapping(CentreOptions, {**defaults, **added}, f"options of {model}")


class AddedLoss(nn.Module):
    """The centres of one model and its added loss.

    Args:
        options: whose `centre_loss` is not "none".
        classes: generators.
        dim: of the embedding.
    """

    def __init__(self, options: CentreOptions, classes: int, dim: int) -> None:
        super().__init__()
        self.options = options
        more: dict[str, Any] = {"start": options.centre_start}
        if options.centre_loss == "dfacc":
            more |= {"margin": options.centre_margin, "factor": options.centre_lambda}
        rows = dim if options.centre_space == "feature" else classes
        kind = getattr(import_module("dfad_bench.losses.centres"), _CLASSES[options.centre_loss])
        self.loss: nn.Module = kind(classes, rows, **more)

    def terms(self, outputs: list[Output], batch: Batch, *, last: bool, model: str) -> dict[str, LossTerm]:
        """The loss of what the experts were given; nothing in an early stage that does not use them.

        Where they got several rows a face (crops), those of a face lie one after another.

        Raises:
            ConfigError: the experts were not used, rows do not belong to faces, or no parameter of the model lies
                before what is compared, so that the loss would move nothing but its own centres.
        """
        name = self.options.centre_loss
        if not outputs:
            if last:
                raise ConfigError(f"{model}: its losses do not use `self.experts`, so centre_loss={name} has no input")
            return {}
        rows = self._rows(outputs[0])
        if torch.is_grad_enabled() and not rows.requires_grad:
            read = {"feature": "read does not learn; centre_space=probability compares what they answer"}
            raise ConfigError(
                f"{model}: centre_loss={name} would teach the model nothing: what its experts"
                f" {read.get(self.options.centre_space, 'answer as classes does not learn')}"
            )
        each, left = divmod(len(rows), len(batch))
        if left or not each:
            raise ConfigError(f"{model}: centre_loss={name} got {len(rows)} rows for {len(batch)} faces")
        return {name: attribution_term(self.loss(rows, batch.attribution.repeat_interleave(each)))}

    def _rows(self, output: Output) -> Tensor:
        if self.options.centre_space == "feature":
            return F.normalize(output.embedding.float(), dim=1)
        return output.attribution_logits.float().softmax(dim=1)


class _RecordedExperts:
    """Calls experts and keeps what they give; everything else is theirs. Not a module, so that none is compiled."""

    def __init__(self, experts: nn.Module) -> None:
        self.experts, self.outputs = experts, list[Output]()

    def __call__(self, embedding: Tensor) -> Output:
        output: Output = self.experts(embedding)
        self.outputs.append(output)
        return output

    def __getattr__(self, name: str) -> Any:
        return getattr(self.experts, name)


@contextmanager
def heard_experts(model: nn.Module) -> Iterator[list[Output]]:
    """Inside the block, collect what the model's experts give.

    A hook would do the same until a module is compiled: torch.compile need not see hooks that come later.
    """
    heard = _RecordedExperts(model.get_submodule("experts"))
    model.__dict__["experts"] = heard  # found before the registered module, which stays where it is
    try:
        yield heard.outputs
    finally:
        del model.__dict__["experts"]


def check_dim(dim: Any, model: str) -> int:
    """The width of a model's embedding.

    Raises:
        ConfigError: it has none.
    """
    if not isinstance(dim, int) or dim < 1:
        raise ConfigError(f"{model}: no embedding of a known width ({quoted(dim)}), so it takes no centre_loss")
    return dim
