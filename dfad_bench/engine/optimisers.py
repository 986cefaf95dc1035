"""The optimisers of a stage: one for all parameters, or several where the model's groups ask for their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from dfad_bench.core.contract import DFADModel, ParameterGroup
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.recipe import Optimiser
from dfad_bench.engine.schedule import make_optimiser


def parameter_groups(model: DFADModel, stage: str) -> list[ParameterGroup]:
    """What learns in a stage: bare parameters together as the first group, then the model's own groups.

    Raises:
        ConfigError: a parameter is named twice, or something else than parameters and groups is given.
    """
    bare: list[nn.Parameter] = []
    groups: list[ParameterGroup] = []
    for item in model.parameters_of(stage):
        if isinstance(item, ParameterGroup):
            groups.append(item)
        elif isinstance(item, nn.Parameter):
            bare.append(item)
        else:
            raise ConfigError(
                f"{model.card.display}: parameters_of({stage!r}) gives a {type(item).__name__};"
                " give parameters and objects of ParameterGroup"
            )
    groups = [ParameterGroup(tuple(bare)), *groups] if bare else groups
    groups = [group for group in groups if group.parameters]
    numbers = [id(parameter) for group in groups for parameter in group.parameters]
    if len(set(numbers)) < len(numbers):
        raise ConfigError(f"{model.card.display}: parameters_of({stage!r}) names a parameter twice")
    return groups


class OptimiserSet:
    """The optimisers of a stage as one.

    Args:
        groups: what learns; see `parameter_groups`.
        settings: what holds where a group says nothing.
    """

    def __init__(self, groups: Sequence[ParameterGroup], settings: Optimiser) -> None:
        self.optimisers: list[torch.optim.Optimizer] = []
        self._rates: list[list[tuple[float, bool]]] = []  # of each optimiser's groups: base rate, whether scheduled
        kinds = list(dict.fromkeys(group.optimiser or settings.name for group in groups))
        for kind in kinds:
            mine = [group for group in groups if (group.optimiser or settings.name) == kind]
            own = [_settings(group, settings) for group in mine]
            optimiser = make_optimiser(list(mine[0].parameters), replace(own[0], name=kind))
            for group, setting in zip(mine[1:], own[1:], strict=True):
                optimiser.add_param_group(
                    {"params": list(group.parameters), "lr": setting.lr, "weight_decay": setting.weight_decay}
                )
            self.optimisers.append(optimiser)
            self._rates.append([(s.lr, g.scheduled) for g, s in zip(mine, own, strict=True)])

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All that learns, optimiser by optimiser."""
        return [p for optimiser in self.optimisers for group in optimiser.param_groups for p in group["params"]]

    def set_rates(self, factor: float) -> None:
        """Give every scheduled group `factor` times its base learning rate, the others the base rate itself."""
        for optimiser, rates in zip(self.optimisers, self._rates, strict=True):
            for group, (base, scheduled) in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = base * factor if scheduled else base

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """The states as of one optimiser: parameters are numbered through."""
        state, groups, offset = {}, [], 0
        for optimiser in self.optimisers:
            own = optimiser.state_dict()
            state.update({number + offset: values for number, values in own["state"].items()})
            groups += [{**group, "params": [n + offset for n in group["params"]]} for group in own["param_groups"]]
            offset += _count(own["param_groups"])
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            ValueError: it is of other groups.
        """
        groups, offset = list(state["param_groups"]), 0
        for optimiser in self.optimisers:
            mine, groups = groups[: len(optimiser.param_groups)], groups[len(optimiser.param_groups) :]
            upto = offset + _count(mine)
            own = {number - offset: values for number, values in state["state"].items() if offset <= number < upto}
            shifted = [{**group, "params": [n - offset for n in group["params"]]} for group in mine]
            optimiser.load_state_dict({"state": own, "param_groups": shifted})
            offset = upto


def _settings(group: ParameterGroup, settings: Optimiser) -> Optimiser:
    """The settings with those of the group in their place."""
    lr = settings.lr if group.lr is None else group.lr
    decay = settings.weight_decay if group.weight_decay is None else group.weight_decay
    return replace(settings, lr=lr, weight_decay=decay)


def _count(groups: Sequence[dict[str, Any]]) -> int:
    return sum(len(group["params"]) for group in groups)
