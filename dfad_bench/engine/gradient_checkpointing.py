"""Gradient checkpointing: blocks keep what they were given, and compute the rest again in the backward pass.

Memory of activations falls to the inputs of blocks, for about one more forward pass of them. Values and gradients are
those without: random numbers are drawn again as they were, and number formats are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

from dfad_bench.core.contract import DFADModel
from dfad_bench.core.errors import ConfigError


def blocks_of(model: DFADModel) -> list[nn.Module]:
    """What is computed again: the modules that the model names, or its transformer blocks.

    Blocks that are known to keep statistics (norms with running ones, spectral norms) are left out: a second forward
    pass would move them again.

    Raises:
        ConfigError: what the model names are not modules of it.
    """
    return [block for block in _named_blocks(model) if not _keeps_statistics(block)]


def transformer_blocks(model: nn.Module) -> list[nn.Module]:
    """The outermost modules of lists and sequences that hold attention; of a list that has one, the others, too."""
    found: list[nn.Module] = []
    _collect_blocks(model, found)
    return found


def checkpoint_blocks(blocks: Iterable[nn.Module], note: Callable[[], None] | None = None) -> list[nn.Module]:
    """Have blocks compute their inner results again in each backward pass, until they are restored.

    A block that changes a buffer or a parameter of its own while it computes ends the step with a `ConfigError`, before
    anything is learnt: it would change it twice.

    Args:
        blocks: of a model.
        note: called whenever a block's inner results were left to the backward pass.
    """
    chosen = list(blocks)
    for block in chosen:
        again = partial(_forward_again, block, block.forward, note or (lambda: None))
        block.__dict__["forward"] = again  # found before the class's method
    return chosen


def restore_blocks(blocks: Iterable[nn.Module]) -> None:
    """Undo `checkpoint_blocks`."""
    for block in blocks:
        block.__dict__.pop("forward", None)


def left_out_blocks(model: DFADModel) -> list[str]:
    """A line where there is nothing to compute again, or where some blocks are not; no line where all are."""
    named, taken, display = _named_blocks(model), blocks_of(model), model.card.display
    if not named:
        return [f"--checkpointing does nothing: {display} has no transformer blocks to compute again"]
    why = "they keep statistics (batch norm, spectral norm), which a second forward pass would move again"
    if not taken:
        return [f"--checkpointing does nothing: no block of {display} can be computed again, since {why}"]
    some = f"--checkpointing leaves out {len(named) - len(taken)} of {len(named)} blocks of {display}, since {why}"
    return [some] if len(taken) < len(named) else []


def _named_blocks(model: DFADModel) -> list[nn.Module]:
    """What the model names, each once, or its transformer blocks."""
    given = model.blocks_to_checkpoint()
    if given is None:
        return transformer_blocks(model)
    where = f"{model.card.display}: blocks_to_checkpoint() must give modules of the model, or None"
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigError(f"{where}; it gives one {type(given).__name__}")
    found, own = list(given), set(map(id, model.modules()))
    for each in found:
        if not isinstance(each, nn.Module):
            raise ConfigError(f"{where}; one of those it gives is a {type(each).__name__}")
        if id(each) not in own or each is model:
            raise ConfigError(f"{where}; a {type(each).__name__} that it gives is not a part of it")
    return list({id(each): each for each in found}.values())


def _forward_again(
    block: nn.Module, forward: Callable[..., Any], note: Callable[[], None], *arguments: Any, **named: Any
) -> Any:
    if not torch.is_grad_enabled() or not _needs_gradient(block, (arguments, named)):
        return forward(*arguments, **named)  # keeps no inner results
    before = _state_of(block)
    output = checkpoint(partial(forward, **named), *arguments, use_reentrant=False)
    if changed := [name for name, now in _state_of(block).items() if before.get(name) != now]:
        raise ConfigError(
            f"--checkpointing: a block ({type(block).__name__}) changes {changed[0]!r} of its own when it computes, and"
            " would change it twice; leave --checkpointing out, or that block out of the model's blocks_to_checkpoint()"
        )
    note()
    return output


def _state_of(block: nn.Module) -> dict[str, tuple[int, int]]:
    """Which tensors a block's parameters and buffers are, and how often each was written to; known without waiting."""
    tensors = (*block.named_parameters(), *block.named_buffers())
    return {name: (id(tensor), tensor._version) for name, tensor in tensors}


def _needs_gradient(block: nn.Module, given: object) -> bool:
    return any(p.requires_grad for p in block.parameters()) or any(t.requires_grad for t in _tensors_in(given))


def _tensors_in(given: object) -> Iterator[Tensor]:
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, dict | list | tuple):
        for each in given.values() if isinstance(given, dict) else given:
            yield from _tensors_in(each)


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
    """Whether it holds a norm with running statistics, or a spectral norm of either kind that torch has."""
    parts: Sequence[nn.Module] = list(block.modules())
    kinds = {type(each).__name__ for part in parts for each in (part, *part._forward_pre_hooks.values())}
    running = any(part.track_running_stats for part in parts if isinstance(part, _NormBase))
    return running or not kinds.isdisjoint({"_SpectralNorm", "SpectralNorm"})
