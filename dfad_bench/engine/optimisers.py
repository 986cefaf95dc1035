"""The optimisers of a stage: one for all parameters, or several where the model's groups ask for their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from dfad_bench.core.contract import DFADModel, ParameterGroup
from dfad_bench.core.errors import ConfigError, listed
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
    named = {id(parameter) for parameter in (*bare, *(p for group in groups for p in group.parameters))}
    if named and model.added_loss is not None:  # a stage without gradients stays one
        bare += [parameter for parameter in model.added_loss.parameters() if id(parameter) not in named]
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
        self._settings: list[Optimiser] = []  # of each optimiser
        self._rates: list[list[tuple[float, bool]]] = []  # of each optimiser's groups: base rate, whether scheduled
        kinds = list(dict.fromkeys(group.optimiser or settings.name for group in groups))
        for kind in kinds:
            mine = [group for group in groups if (group.optimiser or settings.name) == kind]
            own = [_settings(group, settings) for group in mine]
            self._settings.append(replace(own[0], name=kind))
            optimiser = make_optimiser(list(mine[0].parameters), self._settings[-1])
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
        """Go on from what `state_dict` gave. Settings of groups stay as they are: they follow from the recipe.

        Raises:
            ValueError: it is of other groups, or not what these optimisers keep of a parameter.
        """
        groups, offset = list(state["param_groups"]), 0
        for optimiser, settings in zip(self.optimisers, self._settings, strict=True):
            own = optimiser.state_dict()["param_groups"]
            mine, groups = groups[: len(own)], groups[len(own) :]
            if [len(group["params"]) for group in mine] != [len(group["params"]) for group in own]:
                raise ValueError("other groups of parameters")
            upto = offset + _count(own)
            kept = {number - offset: values for number, values in state["state"].items() if offset <= number < upto}
            _check_kept(kept, optimiser, settings)
            optimiser.load_state_dict({"state": kept, "param_groups": own})
            offset = upto
        if groups or any(not 0 <= number < offset for number in state["state"]):
            raise ValueError("more groups or parameters")


def step_unless(optimiser: torch.optim.Optimizer, broken: torch.Tensor) -> None:
    """A step that changes nothing where `broken` is 1, decided on the device: torch's fused steps know that of fp16.

    Args:
        optimiser: of gradients that are there, unscaled.
        broken: a float32 scalar, 0 or 1, on the device of the parameters; where they have no fused step it is read.
    """
    if not getattr(optimiser, "_step_supports_amp_scaling", False):
        if not bool(broken):
            optimiser.step()
        return
    _begin_momenta(optimiser)
    optimiser.found_inf = broken  # type: ignore[attr-defined]  # where torch's own gradient scaling puts it
    try:
        optimiser.step()
    finally:
        del optimiser.found_inf  # type: ignore[attr-defined]  # torch declares it nowhere; the next step has its own


def _begin_momenta(optimiser: torch.optim.Optimizer) -> None:
    """Begin SGD's momenta with zeros: its first fused step makes them of memory as it is, also where it is left out."""
    if not isinstance(optimiser, torch.optim.SGD):
        return
    for group in optimiser.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            if parameter.grad is not None and "momentum_buffer" not in optimiser.state[parameter]:
                optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def _check_kept(kept: dict[int, dict[str, Any]], optimiser: torch.optim.Optimizer, settings: Optimiser) -> None:
    """Refuse a state that would break a step or silently change it: `torch` does not check what it loads."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    like = _kept_of_one(settings)
    for number, values in kept.items():
        if values and values.keys() != like.keys():
            raise ValueError(f"parameter {number} has {listed(values, 3)}, not {listed(like, 3)}")
        for name, value in values.items():
            shape = parameters[number].shape if like[name].dim() else like[name].shape
            counted = isinstance(value, (int, float)) and not like[name].dim() and abs(value) < 2**53
            tensor = torch.as_tensor(value) if counted else value  # earlier versions stored steps as plain numbers
            if not isinstance(tensor, torch.Tensor) or tensor.shape != shape or tensor.is_complex():
                raise ValueError(f"{name} of parameter {number} is not real numbers of shape {tuple(shape)}")
            if not bool(tensor.isfinite().all()):
                raise ValueError(f"{name} of parameter {number} holds NaN or inf")


def _kept_of_one(settings: Optimiser) -> dict[str, torch.Tensor]:
    """What an optimiser of this kind stores for a scalar parameter, by name; found by taking one step."""
    parameter = nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    optimiser = make_optimiser([parameter], settings)
    optimiser.step()
    return {name: torch.as_tensor(value) for name, value in optimiser.state[parameter].items()}


def _settings(group: ParameterGroup, settings: Optimiser) -> Optimiser:
    """The settings with those of the group in their place."""
    lr = settings.lr if group.lr is None else group.lr
    decay = settings.weight_decay if group.weight_decay is None else group.weight_decay
    return replace(settings, lr=lr, weight_decay=decay)


def _count(groups: Sequence[dict[str, Any]]) -> int:
    return sum(len(group["params"]) for group in groups)
