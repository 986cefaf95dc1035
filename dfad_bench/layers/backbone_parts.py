"""Parts of a backbone: its last blocks, and which of its parameters a kind of feature reaches."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from dfad_bench.core.errors import ConfigError
from dfad_bench.layers.backbones import Backbone, FeatureKind, build_backbone

_WITH_PREVIOUS = 99999  # in timm's patterns: what they fit belongs to the group before
Group = tuple[bool, list[str]]  # whether it is a block, one of several that are numbered; names of its parameters


def last_blocks(backbone: Backbone, count: int) -> list[str]:
    """Names of the parameters of the last `count` blocks, and of what follows them (norm, pooling, projection).

    Blocks are those that the library itself groups parameters by (`group_matcher` of timm; residual blocks of
    open_clip's own towers): of a transformer its layers, of a convolutional network its residual blocks.

    Raises:
        ConfigError: the network has no blocks, or not more than `count`.
    """
    groups = _groups(backbone)
    blocks = [number for number, (is_block, _) in enumerate(groups) if is_block]
    if len(blocks) <= count:
        raise ConfigError(f"backbone {backbone.name} has {len(blocks)} blocks; blocks={count} would leave none of them")
    return [name for _, names in groups[blocks[-count] :] for name in names]


def _groups(backbone: Backbone) -> list[Group]:
    """Names of parameters from input to output, a block each, stem and end beside them."""
    if backbone.trunk is None:
        return _tower_groups(backbone.network)
    matcher = getattr(backbone.trunk, "group_matcher", None)
    patterns = matcher(coarse=False) if matcher is not None else None
    if not isinstance(patterns, Mapping):
        raise ConfigError(f"backbone {backbone.name}: timm does not say what its blocks are; take train=all")
    start = "network." if backbone.trunk is backbone.network else "network.trunk."
    names = [name for name, _ in backbone.trunk.named_parameters()]
    groups = [(is_block, [start + name for name in group]) for is_block, group in _matched(patterns, names)]
    known = {name for _, group in groups for name in group}
    head = [name for name, _ in backbone.named_parameters() if name not in known]  # open_clip's, after the trunk
    return [*groups, (False, head)] if head else groups


def _matched(patterns: Mapping[str, Any], names: list[str]) -> Iterator[Group]:
    """Names by the first pattern that fits each, in timm's order: of the patterns, then of the numbers they find.

    A pattern may have numbers of its own, the last of which may say that what it fits belongs to the group before.
    """
    flat = [
        (place, re.compile(pattern), tuple(own or ()))
        for place, given in enumerate(patterns.values())
        for pattern, own in ([(given, None)] if isinstance(given, str) else given or ())
    ]
    found: dict[tuple[float, ...], Group] = {}
    for name in names:
        fits = ((place, match, own) for place, pattern, own in flat if (match := pattern.match(name)))
        place, match, own = next(fits, (math.inf, None, ()))
        numbers = [float(number) for number in (match.groups() if match else ()) if number is not None]
        key = (float(place), *numbers, *map(float, own))
        found.setdefault(key, (bool(numbers), []))[1].append(name)
    keys = sorted(found)
    while keys:
        is_block, group = found[keys.pop(0)]
        while keys and keys[0][-1] == _WITH_PREVIOUS:
            group = [*group, *found[keys.pop(0)][1]]
        yield is_block, group


def _tower_groups(network: nn.Module) -> list[Group]:
    """Of open_clip's own towers: residual blocks, and what stands before and after them."""
    inner = [f"network.{path}" for path in _block_paths(network)]
    groups: list[Group] = [(0 < number <= len(inner), []) for number in range(len(inner) + 2)]
    first = {"class_embedding", "positional_embedding", "conv1", "ln_pre", "patch_dropout", "bn1", "conv2", "bn2"}
    for name, _ in network.named_parameters(prefix="network"):
        block = next((k for k, path in enumerate(inner, 1) if name.startswith(f"{path}.")), None)
        begins = name.split(".")[1] in {*first, "conv3", "bn3"}
        groups[block if block is not None else 0 if begins else -1][1].append(name)
    return [group for group in groups if group[1]]


def _block_paths(network: nn.Module) -> Iterator[str]:
    places = ["transformer.resblocks"] if hasattr(network, "transformer") else [f"layer{k}" for k in range(1, 5)]
    for place in places:
        yield from (f"{place}.{name}" for name, _ in network.get_submodule(place).named_children())


@lru_cache(maxsize=64)
def reached_parameters(name: str, side: int | None, kind: FeatureKind) -> frozenset[str]:
    """Names of the parameters of a backbone that decide a kind of feature; its pooling decides no token, for instance.

    Found on PyTorch's "meta" device, without numbers.
    """
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        device = "meta"
        try:
            return _with_gradient(name, side, kind, device)
        except (NotImplementedError, RuntimeError):  # an operation that needs values
            return _with_gradient(name, side, kind, "cpu")


def _with_gradient(name: str, side: int | None, kind: FeatureKind, device: str) -> frozenset[str]:
    with torch.device(device):
        backbone = build_backbone(name, side)
        images = torch.zeros(1, 3, backbone.preset.side, backbone.preset.side)
    names, parameters = zip(*backbone.named_parameters(), strict=True)
    found = torch.autograd.grad(backbone.features(images, kind).sum(), parameters, allow_unused=True)
    return frozenset(name for name, gradient in zip(names, found, strict=True) if gradient is not None)
