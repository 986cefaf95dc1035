"""What a model asks of its data, found out before any data are touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dfad_bench.core.contract import DFADModel, Size
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.registry import model_class
from dfad_bench.views.provider import ViewProvider


@dataclass(frozen=True)
class Needs:
    """Views needed at test time (`views`) and in training only, whether prompts are, and names of weight files."""

    views: tuple[str, ...] = ()
    training_views: tuple[str, ...] = ()
    prompts: bool = False
    weights: tuple[str, ...] = ()

    @property
    def all_views(self) -> tuple[str, ...]:
        """Views of either kind, each once."""
        return tuple(dict.fromkeys((*self.views, *self.training_views)))


def needs_of(
    model_name: str,
    num_generators: int,
    size: Size = "paper",
    options: Mapping[str, Any] | None = None,
    class_prompts: Sequence[Sequence[str]] = (),
) -> Needs:
    """What a model of these settings needs; a setting such as `use_gaze=false` may change it, so one is built.

    It is built on PyTorch's "meta" device, which holds no values, or on the CPU where it cannot be. The state of the
    random generators is as before afterwards.

    Args:
        model_name: a registered name.
        num_generators: classes of the attribution expert.
        size: "paper" or "tiny".
        options: the model's own settings.
        class_prompts: per class, its prompts coarse to fine.

    Raises:
        UnknownNameError: no such model.
        ConfigError: bad options.
    """
    kind = model_class(model_name)

    def build(device: str) -> DFADModel:
        with torch.random.fork_rng(devices=[]), torch.device(device):
            return kind.build(num_generators, size=size, class_prompts=class_prompts, options=dict(options or {}))

    try:
        model = build("meta")
    except (NotImplementedError, RuntimeError):  # an operation that needs values
        model = build("cpu")
    for name in ("needs", "needs_training"):
        if isinstance(getattr(model, name), str):
            raise ConfigError(f"{model.card.display}: {name} must be a tuple of names, got a text")
    return Needs(tuple(model.needs), tuple(model.needs_training), bool(model.needs_prompts), tuple(model.pretrained))


def random_start(model: str, size: Size, needs: Needs, *, weights: bool) -> list[str]:
    """A line where a model whose paper starts from pre-trained weights starts from random ones; not for tiny models.

    Args:
        model: a registered name.
        size: "paper" or "tiny".
        needs: of the model.
        weights: whether a weight file is given.
    """
    if not needs.weights or size == "tiny" or weights:
        return []
    return [
        f"{model_class(model).card.display} starts from random weights, in its paper from pre-trained ones: its numbers"
        " do not compare with the paper's;"
        f" add --weights {needs.weights[0]} (`dfad list weights --long` says where to get it)"
    ]


def views_needed(needs: Needs, views: ViewProvider | None) -> ViewProvider:
    """The provider of a model that needs views.

    Raises:
        ConfigError: none was given, or it cannot meet the model's needs.
        UnknownNameError: the model needs a view that is not registered.
    """
    if views is None:
        raise ConfigError(f"the model needs the view {needs.all_views[0]!r}, and no views were given")
    views.check(needs.views, needs.training_views)
    return views
