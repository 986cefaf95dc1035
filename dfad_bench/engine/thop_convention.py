"""A counter with the rules of `thop` 0.1.1, whose two numbers the papers print as "Params" and "FLOPs".

Only for comparison with published tables; the true figures are in `macs.py`. The rules:

- a module counts when its class is *exactly* one of the table below (no subclass) and it is called;
- its parameters count once, its operations every time it is called;
- products outside modules (attention), functional calls and raw parameters are invisible.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

Rule = Callable[[Any, Tensor, Tensor], int]


@dataclass(frozen=True)
class ThopCount:
    """Parameters and operations as `thop` would report them."""

    parameters: int
    operations: int


def _convolution(module: Any, x: Tensor, y: Tensor) -> int:
    """Outputs times the inputs each sums; the bias is free."""
    return y.numel() * (x.shape[1] // module.groups) * prod(module.kernel_size)


def _linear(module: Any, x: Tensor, y: Tensor) -> int:
    return y.numel() * module.in_features


def _norm(module: Any, x: Tensor, y: Tensor) -> int:
    """Two operations for each value, four with scale and shift."""
    affine = getattr(module, "affine", False) or getattr(module, "elementwise_affine", False)
    return (4 if affine else 2) * x.numel()


def _softmax(module: Any, x: Tensor, y: Tensor) -> int:
    """A row of n takes n exponentials, n - 1 additions and n divisions."""
    n = x.shape[module.dim]
    return x.numel() // n * (3 * n - 1)


def _average_pool(module: Any, x: Tensor, y: Tensor) -> int:
    return y.numel()


def _adaptive_average_pool(module: Any, x: Tensor, y: Tensor) -> int:
    """For each output one addition per pooled value, and a division."""
    window = prod(a // b for a, b in zip(x.shape[2:], y.shape[2:], strict=True))
    return y.numel() * (window + 1)


RULES: dict[type[nn.Module], Rule] = {
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.Conv3d: _convolution,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.BatchNorm3d: _norm,
    nn.LayerNorm: _norm,
    nn.InstanceNorm2d: _norm,
    nn.Linear: _linear,
    nn.Softmax: _softmax,
    nn.AvgPool2d: _average_pool,
    nn.AdaptiveAvgPool2d: _adaptive_average_pool,
}


def thop_count(model: nn.Module, run: Callable[[], object]) -> ThopCount:
    """Count what `run` (a forward pass of `model`) calls."""
    parameters: dict[int, int] = {}
    operations = 0

    def count(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal operations
        parameters[id(module)] = sum(p.numel() for p in module.parameters())
        operations += RULES[type(module)](module, inputs[0], output)

    hooks = [m.register_forward_hook(count) for m in model.modules() if type(m) in RULES]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return ThopCount(sum(parameters.values()), operations)
