"""Whether a batch fits into memory, asked before the first step: a program out of memory may end without a message."""

from __future__ import annotations

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
