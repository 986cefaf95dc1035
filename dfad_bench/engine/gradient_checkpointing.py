"""Gradient checkpointing: blocks keep what they were given, and compute the rest again in the backward pass.

Memory of activations falls to the inputs of blocks, for about one more forward pass of them. Values and gradients are
those without: random numbers are drawn again as they were, and number formats are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

from dfad_bench.core.contract import DFADModel


def blocks_of(model: DFADModel) -> list[nn.Module]:
    """What is computed again: the modules that the model names, or its transformer blocks.

    Blocks with norms that keep statistics are left out, which a second forward pass would move again.
    """
    named = model.blocks_to_checkpoint()
    found = transformer_blocks(model) if named is None else named
    return [block for block in found if not _keeps_statistics(block)]


def transformer_blocks(model: nn.Module) -> list[nn.Module]:
    """The outermost modules of lists and sequences that hold attention; of a list that has one, the others, too."""
    found: list[nn.Module] = []
    _collect_blocks(model, found)
    return found


def checkpoint_blocks(blocks: Iterable[nn.Module]) -> list[nn.Module]:
    """Have blocks compute their inner results again in each backward pass, until they are restored."""
    chosen = list(blocks)
    for block in chosen:
        block.__dict__["forward"] = partial(_forward_again, block.forward)  # found before the class's method
    return chosen


def restore_blocks(blocks: Iterable[nn.Module]) -> None:
    """Undo `checkpoint_blocks`."""
    for block in blocks:
        block.__dict__.pop("forward", None)


def missing_blocks(model: DFADModel) -> list[str]:
    """A line where there is nothing to compute again; no line where there is."""
    if blocks_of(model):
        return []
    return [f"--checkpointing does nothing: {model.card.display} has no transformer blocks to compute again"]


def _forward_again(forward: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*arguments, **named)
    return checkpoint(partial(forward, **named), *arguments, use_reentrant=False)


def _collect_blocks(module: nn.Module, found: list[nn.Module]) -> None:
    children = [child for child in module.children() if not _is_container(child)]
    taken: list[nn.Module] = []
    if _is_container(module) and any(map(_holds_attention, children)):
        whole = isinstance(module, nn.ModuleList)  # the two halves of a block may lie side by side
        taken = [child for child in children if whole or _holds_attention(child)]
    found += taken
    for child in module.children():
        if not any(child is block for block in taken):
            _collect_blocks(child, found)


def _is_container(module: nn.Module) -> bool:
    return type(module) in (nn.ModuleList, nn.Sequential)


def _holds_attention(module: nn.Module) -> bool:
    return any("Attention" in type(part).__name__ for part in module.modules())


def _keeps_statistics(block: nn.Module) -> bool:
    return any(part.track_running_stats for part in _norms_of(block))


def _norms_of(block: nn.Module) -> Iterator[_NormBase]:
    return (part for part in block.modules() if isinstance(part, _NormBase))
