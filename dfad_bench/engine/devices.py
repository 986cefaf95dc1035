"""The device, precision and memory layout of computations."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from dfad_bench.core.contract import Inputs
from dfad_bench.core.device import find_device
from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.settings import Precision
from dfad_bench.engine.distributed import processes

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


UNREAD = 20  # steps a GPU is given before the host waits for what they came to


@dataclass(frozen=True)
class Place:
    """A device and a precision; weights stay fp32, lower precisions are autocast."""

    device: torch.device
    precision: Precision = "fp32"
    layout: Literal["auto", "channels_last", "contiguous"] = "auto"

    @property
    def channels_last(self) -> bool:
        """Whether images and convolutions are channels-last; "auto": where that is much faster (GPUs, bf16 on CPUs)."""
        if self.layout != "auto":
            return self.layout == "channels_last"
        return self.device.type == "cuda" or self.precision == "bf16"

    @property
    def steps_unread(self) -> int:
        """Steps between readings of what they came to: 1 where the host waits for each anyway."""
        return UNREAD if self.device.type == "cuda" else 1

    @property
    def name(self) -> str:
        """Name of the device, for records."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type

    def autocast(self) -> AbstractContextManager[object]:
        """The autocast context of a forward pass."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=_TYPES[self.precision])

    def exact(self, values: Tensor) -> Tensor:
        """The values as float64, on the CPU where the device (mps) has none."""
        return (values.cpu() if self.device.type == "mps" else values).double()

    def move(self, model: nn.Module) -> nn.Module:
        """The model on this device, in the memory layout that suits it."""
        if self.channels_last:
            return model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model.to(self.device)

    def lay_out(self, inputs: Inputs) -> Inputs:
        """The inputs in that memory layout."""
        if not self.channels_last:
            return inputs
        images: Tensor = inputs.images.contiguous(memory_format=torch.channels_last)
        return replace(inputs, images=images)


def place(device: str = "auto", precision: str = "fp32", channels_last: bool | None = None) -> Place:
    """The device of a name: auto (the first GPU of NVIDIA, else the CPU), cpu, cuda, cuda:N or mps.

    Under torchrun "auto" and "cuda" are the GPU of the process's rank on its machine.

    Args:
        device: its name.
        precision: fp32, bf16 or fp16.
        channels_last: memory layout of images and convolutions; None: as suits the device.

    Raises:
        ConfigError: no such device or precision, or fp16 without a GPU.
    """
    if precision not in ("fp32", "bf16", "fp16"):
        raise ConfigError(f"precision must be fp32, bf16 or fp16, got {quoted(precision)}")
    chosen = find_device(device, local_rank=processes()[2])
    if precision == "fp16" and chosen.type == "cpu":
        raise ConfigError("fp16 needs a GPU; use --precision bf16 or fp32 on the CPU")
    layout = "auto" if channels_last is None else "channels_last" if channels_last else "contiguous"
    return Place(chosen, precision, layout)  # type: ignore[arg-type]


def gpus() -> int:
    """How many GPUs this machine has."""
    return torch.cuda.device_count()


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what it was given; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
