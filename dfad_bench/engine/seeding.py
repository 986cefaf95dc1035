"""Every random source from one seed."""

from __future__ import annotations

import hashlib
import os
import random
from functools import cache

import numpy as np
import torch


def derived(seed: int, *names: object) -> int:
    """A 63-bit seed for one purpose, from the run's seed and the purpose's names; stable over machines.

    >>> derived(0, "order") == derived(0, "order") != derived(1, "order")
    True
    """
    text = ":".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seed_all(seed: int) -> None:
    """Seed Python, numpy and torch (all devices).

    Called before every step with a seed derived from (seed, stage, step): what a model draws inside `losses` is then a
    pure function of the step, and a resumed run needs no saved generator states.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  third-party code draws from the global generator
    if _has_accelerator():
        torch.manual_seed(seed)
    else:  # torch would note for a GPU that may come who asked for the seed: a stack of calls, 3 ms a step
        torch.default_generator.manual_seed(seed)


@cache
def _has_accelerator() -> bool:
    return torch.accelerator.is_available()


def make_deterministic() -> None:
    """Ask torch for deterministic kernels; it warns where an operation has none."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
