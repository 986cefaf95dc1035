"""Which number format suits a device: what its hardware has, and what a short measurement on it says.

A processor computes bf16 at speed where it has AMX or AVX-512 BF16 (on ARM: BF16); elsewhere it is emulated, and a
matrix product was 172 times as slow as in fp32. So `auto` asks the hardware, any other format than fp32 is measured
before hours are spent on it, and what was chosen is recorded with the reason. On Apple's mps, which was not tried,
`auto` is fp32.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from torch.nn import functional as F

from dfad_bench.core.cores import CPUINFO, bf16_units
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.settings import AskedPrecision, Precision
from dfad_bench.engine.devices import Place, wait_for

REFUSED = 10.0  # a format that takes so many times as long as fp32 is taken only where it is forced
SAID = 1.1  # one that takes this many times as long is said; less is within what other work on the machine does
LIMIT_S = 0.25  # no larger size is begun after so many seconds
_TURNS = 12  # at most; fewer where the time is over
# (rows, inputs, outputs) of a product; (images, channels, side) of a 3 x 3 convolution; small first
_PRODUCTS = {"cpu": ((64, 256, 256), (128, 512, 512)), "gpu": ((512, 512, 512), (2048, 2048, 2048))}
_CONVOLUTIONS = {"cpu": ((4, 16, 28), (4, 32, 56)), "gpu": ((8, 64, 56), (16, 128, 56))}


@dataclass(frozen=True)
class Slowness:
    """How many times as long as fp32 a matrix product and a convolution take; below 1 is faster."""

    product: float
    convolution: float

    @property
    def worst(self) -> float:
        """The larger of both: a model may be made of either."""
        return max(self.product, self.convolution)

    @property
    def mean(self) -> float:
        """The geometric mean of both."""
        return math.sqrt(self.product * self.convolution)

    def __str__(self) -> str:
        return (
            f"a matrix product takes {self.product:.2g} times as long as in fp32, a convolution {self.convolution:.2g}"
        )


@dataclass(frozen=True)
class PrecisionChoice:
    """A number format, why it is used (a line for records), and what its user should know."""

    precision: Precision
    why: str
    warnings: tuple[str, ...] = ()


def hardware_format(device: torch.device, cpuinfo: Path = CPUINFO) -> tuple[Precision, str]:
    """The format that a device has hardware for, and how that is known; fp32 where nothing says otherwise.

    fp16 is never offered: its gradients need scaling, and steps are left out.
    """
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "the GPU has bf16"
        return "fp32", "the GPU has no bf16 in hardware"
    if device.type != "cpu":
        return "fp32", f"bf16 on {device.type} is untested"
    names = bf16_units(cpuinfo)
    if not names:
        return "fp32", "the processor has no bf16 in hardware (AMX, AVX-512 BF16), as far as the system says"
    return "bf16", f"the processor has {' and '.join(names)}"


@cache
def measured_slowness(device: torch.device, precision: Precision) -> Slowness:
    """A format against fp32 on a device, well under a second; measured once in a process.

    Formats take turns and the fastest pass of each counts, so that other work on the machine does not. A size that
    takes more than `REFUSED` times as long, or the end of `LIMIT_S`, ends the measurement of an operation.
    """
    kind = "cpu" if device.type == "cpu" else "gpu"
    product = _ratio([partial(_product, device, *size) for size in _PRODUCTS[kind]], device, precision)
    return Slowness(
        product, _ratio([partial(_convolution, device, *s) for s in _CONVOLUTIONS[kind]], device, precision)
    )


def choose_precision(asked: AskedPrecision, device: torch.device, *, forced: bool = False) -> PrecisionChoice:
    """The number format of a computation. fp32 is never measured.

    Args:
        asked: a format, or auto: what the device has hardware for, unless it is measured to be slower than fp32.
        device: where it runs.
        forced: take a format that is far slower than fp32, too.

    Raises:
        ConfigError: a format named in `asked` takes more than `REFUSED` times as long as fp32, and is not forced.
    """
    if asked == "fp32":
        return PrecisionChoice("fp32", "asked for")
    if asked == "auto":
        precision, has = hardware_format(device)
        if precision == "fp32":
            return PrecisionChoice("fp32", f"auto: {has}")
        slow = measured_slowness(device, precision)
        if slow.mean > SAID:
            return PrecisionChoice("fp32", f"auto: {has}, but in {precision} {slow}")
        return PrecisionChoice(precision, f"auto: {has}; in {precision} {slow}")
    slow = measured_slowness(device, asked)
    line = f"--precision {asked} is slower than fp32 on this device ({device}): {slow}"
    if slow.worst > REFUSED and not forced:
        raise ConfigError(f"{line}; use --precision fp32 or auto, or --force-precision to do it all the same")
    return PrecisionChoice(asked, f"asked for; {slow}", (line,) if slow.worst > SAID else ())


def _ratio(sizes: list[Callable[[Precision], Callable[[], object]]], device: torch.device, other: Precision) -> float:
    """Seconds in `other` over seconds in fp32, of the largest size that was measured."""
    began, found = time.perf_counter(), 1.0
    for size in sizes:
        plain, lower = size("fp32"), size(other)
        with torch.inference_mode():
            for call in (plain, lower):
                _seconds(call, device)  # first use of a kernel
            turns = [(_seconds(plain, device), _seconds(lower, device))]
            while len(turns) < _TURNS and time.perf_counter() - began < LIMIT_S:
                turns.append((_seconds(plain, device), _seconds(lower, device)))
        found = min(turn[1] for turn in turns) / max(min(turn[0] for turn in turns), 1e-9)
        if found > REFUSED or time.perf_counter() - began > LIMIT_S:
            break
    return found


def _product(device: torch.device, rows: int, inputs: int, outputs: int, precision: Precision) -> Callable[[], object]:
    x, weight, where = (
        torch.ones(rows, inputs, device=device),
        torch.ones(outputs, inputs, device=device),
        Place(device, precision),
    )

    def call() -> object:
        with where.autocast():
            return F.linear(x, weight)

    return call


def _convolution(
    device: torch.device, images: int, channels: int, side: int, precision: Precision
) -> Callable[[], object]:
    """In the memory layout that a run of this format has."""
    where = Place(device, precision)
    layout = torch.channels_last if where.channels_last else torch.contiguous_format
    x = torch.ones(images, channels, side, side, device=device).contiguous(memory_format=layout)
    weight = torch.ones(channels, channels, 3, 3, device=device).contiguous(memory_format=layout)

    def call() -> object:
        with where.autocast():
            return F.conv2d(x, weight, padding=1)

    return call


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    wait_for(device)
    began = time.perf_counter()
    call()
    wait_for(device)
    return time.perf_counter() - began
