"""How many processor cores this process may use, and which number formats they have in hardware."""

from __future__ import annotations

import os
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_BF16_FLAGS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16", "bf16": "BF16"}  # the last one on ARM


def usable_cores() -> int:
    """Cores this process is allowed to run on (its affinity, where the system has one), at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bf16_units(cpuinfo: Path = CPUINFO) -> list[str]:
    """What the first processor computes bf16 with; nothing where the system does not list its flags."""
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
    found = [line.partition(":")[2].split() for line in lines if line.lower().startswith(("flags", "features"))]
    return [name for flag, name in _BF16_FLAGS.items() if found and flag in found[0]]
