"""Grad-CAM (Selvaraju et al., ICCV 2017) at a layer found from the model's own graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dfad_bench.core.errors import ConfigError, UnknownNameError, quoted
from dfad_bench.explain.places import as_map, shows_picture
from dfad_bench.explain.watched_pass import ModuleOutput, WatchedPass


@dataclass(frozen=True)
class Layer:
    """A layer whose map is weighed: its module, activations and their gradients, both (B, C, h, w)."""

    name: str
    value: Tensor
    gradient: Tensor


def grad_cam(value: Tensor, gradient: Tensor) -> Tensor:
    """Equations 1 and 2: channels weighed by their mean gradient, summed, negative values dropped.

    Args:
        value: activations A (B, C, h, w).
        gradient: of the asked logit by A, likewise.

    Returns:
        (B, h, w).
    """
    return torch.relu((gradient.mean(dim=(2, 3), keepdim=True) * value).sum(dim=1))


def find_layer(passed: WatchedPass, score: Tensor) -> Layer | None:
    """The last map of the first stream of a model that shows the whole picture and that the logit follows from.

    A stream's last map is one from which no later map follows. Streams that read a part of the picture, or its
    frequencies, are left out; where all do, an earlier map of theirs may show the whole.

    Args:
        passed: of the model.
        score: scalar, the sum of the faces' asked logits.

    Returns:
        The layer, or None where there is none.
    """
    found = _maps(passed)
    gradients = _gradients(score, [each.value for each in found])
    used = [(each, own) for each, own in zip(found, gradients, strict=True) if own is not None and _reaches(own)]
    (pixels,) = _gradients(score, [passed.images])
    judged = pixels is not None and bool(pixels.any())
    for through in (False, True):
        ends = _last_maps(used, passed.images, judged=judged, through=through)
        if ends:
            return ends[-1]
    return None


def _last_maps(
    used: Sequence[tuple[ModuleOutput, Tensor]], images: Tensor, *, judged: bool, through: bool
) -> list[Layer]:
    """The last map of each stream that shows the whole picture, the first stream's last.

    With `through`, a map that does not show it is as if it were not there.
    """
    waiting, ends = list(used), []
    while waiting:
        last, gradient = waiting.pop()
        layer = _layer(last, gradient)
        shows = shows_picture(layer.value, images, judged=judged)
        if shows:
            ends.append(layer)
        if shows or not through:
            before = _gradients(last.value.sum(), [each.value for each, _ in waiting])
            waiting = [pair for pair, reached in zip(waiting, before, strict=True) if reached is None]
    return ends


def named_layer(passed: WatchedPass, score: Tensor, name: str) -> Layer:
    """The layer of that name, as `named_modules` of the model names it.

    Raises:
        UnknownNameError: no module of that name gave a map.
        ConfigError: the logit does not follow from it.
    """
    found = _maps(passed)
    chosen = [each for each in found if name in each.names]
    if not chosen:
        raise UnknownNameError("layer with a map", name, list(dict.fromkeys(each.name for each in found)))
    (gradient,) = _gradients(score, [chosen[-1].value])
    if gradient is None or not _reaches(gradient):
        raise ConfigError(
            f"layer {quoted(name)}: the answer does not follow from its map; take an earlier one (a transformer whose"
            " experts read the class token: the norm before its last attention)"
        )
    return _layer(chosen[-1], gradient)


def _maps(passed: WatchedPass) -> list[ModuleOutput]:
    """What modules gave that is a map of places; what happens within an attention is none."""
    within = tuple(each.module for each in passed.attentions)
    return [
        each
        for each in passed.modules
        if as_map(each.value) is not None and not any(f"{each.names[0]}.".startswith(f"{name}.") for name in within)
    ]


def _layer(found: ModuleOutput, gradient: Tensor) -> Layer:
    value, folded = as_map(found.value), as_map(gradient)
    assert value is not None
    assert folded is not None
    return Layer(found.name, value, folded)


def _gradients(score: Tensor, values: Sequence[Tensor]) -> list[Tensor | None]:
    """Gradients of a scalar by tensors; None for those it does not follow from."""
    places = [place for place, value in enumerate(values) if value.requires_grad]
    found: list[Tensor | None] = [None] * len(values)
    if places and score.requires_grad:
        chosen = [values[place] for place in places]
        gradients = torch.autograd.grad(score, chosen, retain_graph=True, allow_unused=True)
        for place, gradient in zip(places, gradients, strict=True):
            found[place] = gradient
    return found


def _reaches(gradient: Tensor) -> bool:
    """Whether there is a gradient on the map itself, not on the class token alone."""
    folded = as_map(gradient)
    return folded is not None and bool(folded.any())
