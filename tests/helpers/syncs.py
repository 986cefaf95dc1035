"""Counts what would make a host wait for a GPU, on a CPU: each place where it reads what the device computed.

Tensors that a model holds, a batch brings or anything makes of them are taken to lie on a device; all others are the
host's. A GPU's host waits where it reads a number of a device's tensor, where the shape of a result depends on one
(indexing by a mask, `nonzero`, `unique`), and where it sends up a tensor of its own without `non_blocking`. Only steps
are watched: the loader's copies are made in another thread.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from dfad_bench.core.contract import Batch

ROOT = Path(__file__).resolve().parents[2]
OURS = tuple(ROOT / name for name in ("baselines", "dfad_bench", "gazeclip", "tests"))

_SHAPED_BY_VALUES = ("nonzero", "masked_select", "_unique", "unique_dim", "unique_consecutive", "equal", "bincount")
_READ = ("_local_scalar_dense", "is_nonzero", *_SHAPED_BY_VALUES)
_TO_HOST = (Tensor.tolist, Tensor.numpy, Tensor.cpu, Tensor.__array__)
_FROM_HOST = (torch.tensor, torch.as_tensor, torch.from_numpy, Tensor.new_tensor)


def is_ours(path: Path) -> bool:
    """Whether a file is the project's; an environment may lie in the same folder."""
    return any(path.is_relative_to(folder) for folder in OURS)


class SyncWatch:
    """While it is entered, `found` counts what a host would wait for, by the file of our code.

    Args:
        model: whose parameters and buffers lie on the device.
        batches: whose tensors do.
        device: the name of the device, where tensors are sent.
    """

    def __init__(self, model: nn.Module, batches: Iterable[Batch], device: torch.device) -> None:
        self.found: Counter[str] = Counter()
        self.device, self._there = device, WeakIdKeyDictionary()
        self.take([*model.parameters(), *model.buffers()])
        for batch in batches:
            self.take([batch.attribution, batch.detection, batch.views, batch.present])
            for inputs in (batch.inputs, batch.unlabelled):
                self.take([] if inputs is None else [inputs.images, inputs.views, inputs.present])
        self._modes = (_Calls(self), _Kernels(self))

    def take(self, values: object) -> None:
        """Count these tensors as the device's."""
        for leaf in tree_leaves(values):
            if isinstance(leaf, Tensor):
                self._there[leaf] = True

    def drop(self, value: Tensor) -> None:
        """Count a tensor as the host's."""
        self._there.pop(value, None)

    def holds(self, values: object) -> bool:
        """Whether a tensor among them is the device's."""
        return any(isinstance(leaf, Tensor) and leaf in self._there for leaf in tree_leaves(values))

    def note(self, what: str) -> None:
        """Count a wait, under the innermost place of our code that is not here."""
        own = [f for f in traceback.extract_stack() if is_ours(Path(f.filename)) and f.filename != __file__]
        where = own[-1] if own else traceback.extract_stack()[0]
        path = Path(where.filename)
        self.found[f"{path.relative_to(ROOT) if own else path}: {what}"] += 1

    def __enter__(self) -> Self:
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(kind, error, trace)


class _Calls(TorchFunctionMode):
    """What a CPU does without a kernel: `tolist`, `numpy`, `cpu`, and tensors that are sent up."""

    def __init__(self, watch: SyncWatch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given, watch = dict(kwargs or {}), self._watch
        there = watch.holds([args, given])
        if func in _TO_HOST and there:
            watch.note(func.__name__)
        if func is Tensor.new_tensor or (func in _FROM_HOST and given.get("device") is not None):
            watch.note("a blocking copy from the host")
            there = True
        if func is Tensor.to and not watch.holds(args[0]) and (sent := self._target(args[1:], given)):
            if not given.get("non_blocking") and True not in args[2:]:
                watch.note("a blocking copy from the host")
            there = sent
        result = func(*args, **given)
        if func is Tensor.to and there and result is args[0]:
            result = result.clone() if not watch.holds(result) else result
        if func is Tensor.cpu and there:  # a copy of the host's own
            result = result.clone()
            watch.drop(result)
        if there and func not in _TO_HOST:
            watch.take(result)
        return result

    @staticmethod
    def _target(places: tuple[Any, ...], given: Mapping[str, Any]) -> bool:
        """Whether `to` is given a device, or a tensor on it."""
        kinds = (*places[:1], given.get("device"), given.get("other"))
        return any(isinstance(kind, torch.device | str | Tensor) for kind in kinds)


class _Kernels(TorchDispatchMode):
    """What reads values: numbers, and shapes that follow from them."""

    def __init__(self, watch: SyncWatch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given, name = dict(kwargs or {}), func._schema.name.removeprefix("aten::")
        there = self._watch.holds([args, given])
        if there and name.startswith(_READ):
            self._watch.note(name)
        indices = args[1] if len(args) > 1 and isinstance(args[1], list) else []
        masked = any(isinstance(i, Tensor) and i.dtype in (torch.bool, torch.uint8) for i in indices)
        if there and masked and name.startswith(("index", "_index_put_impl_")):
            self._watch.note("indexing by a mask")
        if there and name == "repeat_interleave" and given.get("output_size") is None:
            self._watch.note(name)
        result = func(*args, **given)
        if there:
            self._watch.take(result)
        return result
