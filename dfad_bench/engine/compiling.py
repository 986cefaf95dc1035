"""torch.compile on the outermost modules that take only tensors.

Whole losses read prompts, and torch.compile makes a new version for every text it meets; modules below them do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from dfad_bench.engine.devices import Place


def works(place: Place, warnings: list[str]) -> bool:
    """Whether torch.compile works on this machine; if not, `warnings` gets a line and training goes on without."""
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(4, device=place.device))
    except Exception as error:  # a missing compiler raises many kinds of errors
        text = (str(error).splitlines() or [""])[0][:120]
        warnings.append(f"--compile does not work here ({type(error).__name__}: {text}); trained without it")
        return False
    return True


def compile_called(root: nn.Module, call: Callable[[], object]) -> list[nn.Module]:
    """Compile, in place, the outermost modules below `root` that `call` calls with tensors only; returns them.

    Buffers are as before afterwards; what `call` draws at random is drawn.
    """
    torch.compiler.reset()  # else recompilations of earlier stages and runs count against this one
    before = [buffer.clone() for buffer in root.buffers()]
    with _outermost_blocks() as found:
        call()
    for buffer, value in zip(root.buffers(), before, strict=True):
        buffer.copy_(value)
    for module in found:
        module.compile()
    return found


def restore(modules: list[nn.Module]) -> None:
    """Undo the compilation of modules."""
    for module in modules:
        module._compiled_call_impl = None


@contextmanager
def _outermost_blocks() -> Iterator[list[nn.Module]]:
    """Collects modules called with tensors only, unless from within another one."""
    found: list[nn.Module] = []
    inside: list[nn.Module] = []

    def begin(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if inside or not arguments or not all(isinstance(value, Tensor | None) for value in arguments):
            return
        inside.append(module)
        if module not in found:
            found.append(module)

    def end(module: nn.Module, arguments: tuple[Any, ...], result: object) -> None:
        if inside and inside[-1] is module:
            inside.pop()

    handles = hooks.register_module_forward_pre_hook(begin), hooks.register_module_forward_hook(end)
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
