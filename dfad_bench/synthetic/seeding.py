"""Randomness of the synthetic faces: every draw depends on the seed and a name, never on an order."""

from __future__ import annotations

import hashlib
import math
from statistics import NormalDist

import numpy as np

# Quasi-random steps along shots: irrational and unrelated to the steps along identities.
_SHOT_STEPS = tuple(math.sqrt(prime) % 1.0 for prime in (2, 3, 5, 7))


def rng_for(seed: int, *names: str | int) -> np.random.Generator:
    """A random generator that depends on the seed and the names only.

    >>> float(rng_for(0, "a", 1).random()) == float(rng_for(0, "a", 1).random())
    True
    """
    text = "\0".join(str(part) for part in (seed, *names))
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little"))


def lattice(seed: int, name: str, number: int, shot: int, dims: int) -> np.ndarray:
    """A point of [0, 1)^dims for face (`number`, `shot`), evenly spread over consecutive numbers.

    A rank-one lattice with generalised golden steps, shifted by the seed and the name: groups of a few dozen faces
    already have nearly the mean and the spread of the population, so that differences between generators are larger
    than the sampling error of poses.
    """
    golden = 2.0
    for _ in range(40):
        golden = (1.0 + golden) ** (1.0 / (dims + 1))
    steps = golden ** -np.arange(1, dims + 1)
    shots = np.asarray(_SHOT_STEPS[:dims])
    return (rng_for(seed, "lattice", name).random(dims) + number * steps + shot * shots) % 1.0


def normal_quantile(share: float, limit: float = 2.2) -> float:
    """The standard normal quantile of `share`, clipped to +-`limit`."""
    return min(max(NormalDist().inv_cdf(min(max(share, 1e-6), 1.0 - 1e-6)), -limit), limit)
