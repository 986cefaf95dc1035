"""Whether a batch fits into memory, asked before the first step, and how much memory a call takes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

from dfad_bench.core.errors import DFADError
from dfad_bench.engine.devices import Place

_BYTES = 3 * 4  # of a pixel: three channels of float32


def require_room(rows: int, side: int, place: Place, where: str) -> None:
    """Refuse a batch whose images alone are larger than the memory that is free.

    Args:
        rows: images of a batch on one device.
        side: of the images.
        place: the device.
        where: recipe and stage, for the error.

    Raises:
        DFADError: with the sizes, and the largest batch that could be.
    """
    asked, free = rows * side * side * _BYTES, free_bytes(place.device)
    if free is not None and asked > free:
        sizes = f"{asked / 2**30:.1f} GiB for the images of a batch of {rows:,}, {free / 2**30:.1f} GiB are free"
        most = max(1, free // (side * side * _BYTES))
        raise DFADError(f"{where}: {sizes} on {place.device}; lower batch_size, well below {most:,}")


def free_bytes(device: torch.device) -> int | None:
    """Memory that is free, of the GPU or of this machine; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    sizes = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(sizes[0]) * 1024 if sizes and sizes[0].isdecimal() else None


def peak_bytes(call: Callable[[], object], device: torch.device) -> int | None:
    """Memory that a call needs beside what is held before it, at most, results and work space included.

    On a GPU, that of torch's allocator. On a CPU, the growth of this process as the system counts it; whatever else
    runs in the process meanwhile counts, too.

    Returns:
        Bytes; None where the system does not say (anything but Linux without a GPU). `call` is made in any case.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    resident = _reset_peak()
    call()
    peak = _resident_bytes("VmHWM")
    return None if resident is None or peak is None else max(0, peak - resident)


def _reset_peak() -> int | None:
    """Let the system forget this process's peak; bytes it holds now, None where it cannot be told to."""
    import ctypes

    try:
        ctypes.CDLL(None).malloc_trim(0)  # so that memory freed before is not used again unnoticed
        asks = os.open("/proc/self/clear_refs", os.O_WRONLY)  # no file: a request to the system
        try:
            os.write(asks, b"5")
        finally:
            os.close(asks)
    except (OSError, AttributeError, TypeError):  # no Linux, no glibc, or forbidden; TypeError: Windows
        return None
    return _resident_bytes("VmRSS")


def _resident_bytes(key: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    sizes = [line.split()[1] for line in lines if line.startswith(f"{key}:")]
    return int(sizes[0]) * 1024 if sizes and sizes[0].isdecimal() else None
