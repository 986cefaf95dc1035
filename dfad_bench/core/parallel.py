"""A batch that is split over processes: losses and statistics over all of its rows.

Outside `split_batch()` all functions here return their argument, so models and losses need no case for it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

_split = False


@contextmanager
def split_batch(on: bool = True) -> Iterator[None]:
    """Inside the block (with `on`), each process holds its own consecutive part of every batch."""
    global _split
    before, _split = _split, on
    try:
        yield
    finally:
        _split = before


def is_split() -> bool:
    """Whether this process holds only a part of the batch."""
    return _split


@torch.compiler.disable
def gather_rows(rows: Tensor) -> Tensor:
    """The rows of all processes in the batch's order, (b, ...) to (B, ...); `rows` itself where nothing is split.

    For losses that compare the faces of a batch. Parts may differ in length. The gradients of a row, from the losses
    of all processes, are returned to the process that holds the row.
    """
    return _GatherRows.apply(rows) if _split else rows


def __getattr__(name: str) -> Callable[[Tensor], Tensor]:
    if name == "whole":  # the public name of earlier versions
        warnings.warn("dfad_bench.core.parallel.whole is now called gather_rows", DeprecationWarning, stacklevel=2)
        return gather_rows
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@torch.compiler.disable
def summed(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes, with its gradient; the tensor itself where nothing is split."""
    return _Summed.apply(values) if _split else values


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        counts = [torch.zeros(1, dtype=torch.int64) for _ in range(dist.get_world_size())]
        dist.all_gather(counts, torch.tensor([len(rows)]))  # between hosts: none waits for what its device computes
        sizes = [int(count) for count in counts]
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        begin = sum(sizes[: dist.get_rank()])
        ctx.own_rows = slice(begin, begin + len(rows))
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].float().contiguous()
        dist.all_reduce(total)
        return total[ctx.own_rows].to(gradients[0].dtype)


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total
