"""A GPU that computes devices, number formats and shapes but no values: mistakes of GPU code seen on any machine.

Tensors on it are torch's fake ones, tensors of the host are real. What a GPU would refuse or make the host wait for is
an error with its place: an operation on tensors of both, a number or a shape that is read off the device. What it would
do without a word, and may be a mistake, is noted: float64, and under autocast work in float32.
There is no backward pass, which asks for a driver.
"""

from __future__ import annotations

import math
import traceback
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    UnsupportedOperatorException,
    unset_fake_temporarily,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device("cuda", 0)
_TORCH = Path(torch.__file__).resolve().parent
_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution")
_FILLS = ("masked_fill", "masked_fill_", "fill", "fill_")  # with a number, which must be one of the tensor's format
_COPIES = ("_to_copy", "to", "copy_", "lift_fresh", "detach")  # what may bring a tensor from one device to another
M = TypeVar("M", bound=nn.Module)


class GPUError(Exception):
    """What a GPU would refuse, or make the host wait for (`waits`), and where; one line."""

    def __init__(self, line: str, *, waits: bool = False) -> None:
        super().__init__(line)
        self.waits = waits


class FakeGPU(TorchDispatchMode):
    """While it is entered, tensors sent to "cuda" are on it.

    `float64` holds a line for each place that makes such a tensor on it, `work` the number of multiply-adds, and
    `float32_places` that of those with a parameter in float32, by place; under autocast copies of it are used.

    Args:
        autocast: number format of autocast on it; None: off.
    """

    def __init__(self, autocast: torch.dtype | None = None) -> None:
        super().__init__()
        self.autocast, self.float64 = autocast, list[str]()
        self.work, self.float32_places = 0, Counter[str]()
        self._learned: dict[int, Tensor] = {}  # parameters, by their memory
        self._fake = FakeTensorMode()
        self._settings_before: tuple[bool, torch.dtype, bool] | None = None

    def __enter__(self) -> FakeGPU:
        kernels = torch.backends.cuda  # without a driver attention takes its plain way, which is in float32 by default
        plain_attention = kernels.fp16_bf16_reduction_math_sdp_allowed()
        self._settings_before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda"), plain_attention
        kernels.allow_fp16_bf16_reduction_math_sdp(True)
        if self.autocast is not None:  # `torch.autocast` switches itself off where there is no driver
            torch.set_autocast_enabled("cuda", True)
            torch.set_autocast_dtype("cuda", self.autocast)
        self._fake.__enter__()  # below this one; while it is there, torch asks for no driver
        entered: FakeGPU = super().__enter__()
        return entered

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._fake.__exit__(*error)
        assert self._settings_before is not None
        torch.set_autocast_enabled("cuda", self._settings_before[0])
        torch.set_autocast_dtype("cuda", self._settings_before[1])
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(self._settings_before[2])
        torch.clear_autocast_cache()

    def take(self, module: M) -> M:
        """The module with its parameters and buffers on the GPU; a tensor that is a plain attribute stays."""
        there: dict[int, Tensor] = {}
        for part in module.modules():
            held: Any
            for held in (part._parameters, part._buffers):
                for name, value in held.items():
                    if value is not None:
                        there.setdefault(id(value), _placed(value))
                        held[name] = there[id(value)]
        self._learned |= {p.untyped_storage()._cdata: p for p in module.parameters()}
        return module

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given, name = dict(kwargs or {}), func._schema.name.removeprefix("aten::")
        leaves = [leaf for leaf in tree_leaves((args, given)) if isinstance(leaf, Tensor)]
        devices = [leaf for leaf in tree_leaves((args, given)) if isinstance(leaf, torch.device)]
        target = devices[0].type if devices else None
        if target != "cuda" and not any(isinstance(leaf, FakeTensor) for leaf in leaves):
            with unset_fake_temporarily():
                return func(*args, **given)
        self._refuse(name, leaves, target)
        if name in _FILLS:
            _check_number(name, leaves[0].dtype, args)
        args, given = tree_map(self._as_fake_tensor, (args, given))
        try:
            result = func(*args, **given)
        except DataDependentOutputException as error:
            raise _waiting(f"a number is read ({name})") from error
        except DynamicOutputShapeException as error:
            raise _waiting(f"a shape depends on values ({name})") from error
        except UnsupportedOperatorException as error:
            raise GPUError(f"{name} does not run on a GPU, {_code_place()}") from error
        self._note(name, leaves, result)
        return result

    @staticmethod
    def _refuse(name: str, leaves: list[Tensor], target: str | None) -> None:
        """Refuse tensors of both, apart from copies, and copies down."""
        there = [leaf for leaf in leaves if leaf.device.type == "cuda"]
        if there and (target == "cpu" or (name == "copy_" and leaves[0].device.type == "cpu")):
            raise _waiting("a tensor is brought down")
        here = [leaf for leaf in leaves if leaf.device.type == "cpu"]
        if there and here and name not in _COPIES:
            raise GPUError(
                f"{name} of a tensor on the GPU with one of {tuple(here[0].shape)} on the CPU, {_code_place()}"
            )

    def _as_fake_tensor(self, value: Any) -> Any:
        """A tensor of the host as the fake mode knows it."""
        if isinstance(value, Tensor) and not isinstance(value, FakeTensor):
            return self._fake.from_tensor(value)
        return value

    def _note(self, name: str, leaves: list[Tensor], result: Any) -> None:
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if any(leaf.dtype == torch.float64 for leaf in made):
            line = f"float64 on the GPU from {name}, {_code_place()}"
            self.float64 += [line] if line not in self.float64 else []
        if name in _PRODUCTS and made:
            first, second = leaves[-2:] if name in ("addmm", "baddbmm") else leaves[:2]
            work = made[0].numel() * (second[0].numel() if name == "convolution" else first.shape[-1])
            self.work += work
            learned = [leaf for leaf in (first, second) if leaf.untyped_storage()._cdata in self._learned]
            if any(leaf.dtype == torch.float32 for leaf in learned):
                self.float32_places[_code_place()] += work


def _placed(value: Tensor) -> Tensor:
    fake = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=CUDA)
    return nn.Parameter(fake, requires_grad=value.requires_grad) if isinstance(value, nn.Parameter) else fake


def _check_number(name: str, number_format: torch.dtype, args: tuple[Any, ...]) -> None:
    """Refuse to fill with a finite number beyond the format: kernels do, the fake ones compute no values."""
    most = torch.finfo(number_format).max if number_format.is_floating_point else math.inf
    for value in args:
        if isinstance(value, float) and most < abs(value) < math.inf:
            short = str(number_format).removeprefix("torch.")
            raise GPUError(f"{name} of {short} with {value:.3g}, which is beyond it, {_code_place()}")


def _waiting(what: str) -> GPUError:
    return GPUError(f"the host waits for the GPU: {what}, {_code_place()}", waits=True)


def _code_place() -> str:
    """The innermost line of code that is neither torch's nor here."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if path != Path(__file__) and not path.is_relative_to(_TORCH):
            return f"{path.name} line {frame.lineno}: {(frame.line or '')[:80]}"
    return "at a place unknown"
