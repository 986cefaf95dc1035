"""The torch device of a name, or an error in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfad_bench.core.errors import ConfigError, quoted

if TYPE_CHECKING:
    import torch


def find_device(name: str = "auto", *, local_rank: int = 0) -> torch.device:
    """The device of a name: auto (the first GPU of NVIDIA, else the CPU), cpu, cuda, cuda:N or mps (Apple, untested).

    Args:
        name: name of the device.
        local_rank: rank of the process on its machine; "auto" and "cuda" are the GPU of that number.

    Raises:
        ConfigError: no such device, or this machine does not have it.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"no device named {quoted(name)}; known: auto, cpu, cuda, cuda:N, mps") from error
    if chosen.type not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"device {quoted(name)} is not supported; use auto, cpu, cuda, cuda:N or mps")
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device 'mps' is not here (it is that of Apple's processors); use --device cpu")
    if chosen.type == "cuda" and chosen.index is None and local_rank:
        chosen = torch.device("cuda", local_rank)
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {name!r} is not here ({torch.cuda.device_count()} GPUs found); use --device cpu")
    return chosen
