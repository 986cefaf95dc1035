"""True multiply-adds of one forward pass, and which parameters it uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Work:
    """`macs`: multiply-adds of matrix products and convolutions; `parameters`: numbers in the parameters used."""

    macs: int
    parameters: int


class _UsedTensors(TorchDispatchMode):
    """Remembers which of some tensors any operation reads, inside `no_grad` and frozen parts too."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__()
        self._known_ids = {id(parameter) for parameter in parameters}
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        leaves = tree_leaves((args, kwargs))
        self.seen |= {id(leaf) for leaf in leaves if isinstance(leaf, torch.Tensor)} & self._known_ids
        return func(*args, **(kwargs or {}))


def count_work(model: nn.Module, run: Callable[[], object]) -> Work:
    """Count what `run` (a forward pass of `model`, in evaluation) computes and reads.

    PyTorch's own counter gives two operations a multiply-add and knows neither the fused attention of
    `nn.MultiheadAttention` nor every fused kernel, so both are switched off while it counts. Works on the
    "meta" device too, where nothing is computed.
    """
    parameters = list(model.parameters())
    used = _UsedTensors(parameters)
    counter = FlopCounterMode(display=False)
    with without_fused_attention(), torch.no_grad(), used, counter:
        run()
    return Work(counter.get_total_flops() // 2, sum(p.numel() for p in parameters if id(p) in used.seen))


@contextmanager
def without_fused_attention() -> Iterator[None]:
    """Attention as plain matrix products inside the block."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
