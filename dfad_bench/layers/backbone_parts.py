"""Parts of a backbone: its last blocks, and which of its parameters a kind of feature reaches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import nn

from dfad_bench.core.errors import ConfigError
from dfad_bench.layers.backbones import Backbone, FeatureKind, build_backbone

_NUMBERED = re.compile(r"(^|\.)(\d+)(\.|$)")  # a block is one of several


def last_blocks(backbone: Backbone, count: int) -> list[str]:
    """Names of the parameters of the last `count` blocks, and of what follows them (norm, pooling, projection).

    Blocks are those that the library itself groups parameters by (`group_matcher` of timm; residual blocks of
    open_clip's own towers): of a transformer its layers, of a convolutional network its residual blocks.

    Raises:
        ConfigError: the network has no blocks, or not more than `count`.
    """
    groups = _groups(backbone)
    blocks = [number for number, names in enumerate(groups) if any(map(_NUMBERED.search, names))]
    if len(blocks) <= count:
        raise ConfigError(f"backbone {backbone.name} has {len(blocks)} blocks; blocks={count} would leave none of them")
    return [name for names in groups[blocks[-count] :] for name in names]


def _groups(backbone: Backbone) -> list[list[str]]:
    """Names of parameters from input to output, a block each, stem and end beside them."""
    if backbone.trunk is None:
        return _tower_groups(backbone.network)
    from timm.models import group_parameters

    matcher = getattr(backbone.trunk, "group_matcher", None)
    if matcher is None:
        raise ConfigError(f"backbone {backbone.name}: timm does not say what its blocks are; take train=all")
    found: dict[int, list[str]] = group_parameters(backbone.trunk, matcher(coarse=False))
    names = [found[number] for number in sorted(found)]
    start = "network." if backbone.trunk is backbone.network else "network.trunk."
    groups = [[start + name for name in group] for group in names]
    known = {name for group in groups for name in group}
    head = [name for name, _ in backbone.named_parameters() if name not in known]  # open_clip's, after the trunk
    return [*groups, head] if head else groups


def _tower_groups(network: nn.Module) -> list[list[str]]:
    """Of open_clip's own towers: residual blocks, and what stands before and after them."""
    inner = [f"network.{path}" for path in _block_paths(network)]
    groups: list[list[str]] = [[] for _ in range(len(inner) + 2)]
    first = {"class_embedding", "positional_embedding", "conv1", "ln_pre", "patch_dropout", "bn1", "conv2", "bn2"}
    for name, _ in network.named_parameters(prefix="network"):
        block = next((k for k, path in enumerate(inner, 1) if name.startswith(f"{path}.")), None)
        begins = name.split(".")[1] in {*first, "conv3", "bn3"}
        groups[block if block is not None else 0 if begins else -1].append(name)
    return [group for group in groups if group]


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
