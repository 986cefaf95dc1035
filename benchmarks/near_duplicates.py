"""How much faster is the banded search for near-duplicate hashes than comparing all pairs, and what does it hold?

Both run on the same hashes in one process: as many as brute force can compare in bearable time, and the pairs must
be equal. Then the banded search alone on a million. Hashes are drawn uniformly, or around centres (every bit of a
centre flipped with some probability), which is how faces of one pose and framing are alike. A fresh process holds
each search, so that its peak memory is its own. Prints JSON.

Example: python benchmarks/near_duplicates.py --out benchmarks/results/near_duplicates.json
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from dfad_bench.core.cores import usable_cores
from dfad_bench.core.files import write_json
from dfad_bench.data.audit.near import near_pairs

RADIUS = 6
ROWS = 256  # of the comparison of all pairs, at once


def draw(kind: str, count: int, seed: int) -> np.ndarray:
    """(n,) distinct hashes."""
    rng = np.random.default_rng(seed)
    if kind == "uniform":
        return np.unique(rng.integers(-(2**63), 2**63, count, dtype=np.int64))
    centres = rng.integers(0, 2, (64, 64), dtype=np.uint8)
    parts = []
    for start in range(0, count, 100_000):
        size = min(100_000, count - start)
        bits = centres[rng.integers(0, len(centres), size)] ^ (rng.random((size, 64)) < 0.2)
        parts.append(np.packbits(bits, axis=1).view(">i8").ravel().astype(np.int64))
    return np.unique(np.concatenate(parts))


def brute_force(hashes: np.ndarray, radius: int) -> set[tuple[int, int]]:
    """Every pair within the radius, by comparing all."""
    words = hashes.view(np.uint64)
    pairs: set[tuple[int, int]] = set()
    for start in range(0, len(words), ROWS):
        near = np.bitwise_count(words[start : start + ROWS, None] ^ words[None, start:]) <= radius
        first, second = np.nonzero(near)
        keep = second > first
        pairs.update(zip((first[keep] + start).tolist(), (second[keep] + start).tolist(), strict=True))
    return pairs


def banded(hashes: np.ndarray, radius: int) -> tuple[set[tuple[int, int]], dict[str, Any]]:
    found = near_pairs(hashes, radius, most=20_000_000)
    return set(zip(found.first.tolist(), found.second.tolist(), strict=True)), {"complete": found.complete}


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    began = time.perf_counter()
    value = function(*arguments)
    return value, time.perf_counter() - began


def compare(kind: str, count: int, seed: int) -> dict[str, Any]:
    """Both ways on the same hashes."""
    hashes = draw(kind, count, seed)
    (found, facts), seconds = timed(banded, hashes, RADIUS)
    expected, slow = timed(brute_force, hashes, RADIUS)
    return {
        "hashes": len(hashes), "pairs": len(expected), "same_pairs": found == expected, **facts,
        "times_faster": round(slow / seconds, 1),
    }  # fmt: skip


def alone(kind: str, count: int, seed: int) -> dict[str, Any]:
    """The banded search and the memory it adds."""
    hashes = draw(kind, count, seed)
    before = peak_mib()
    found, seconds = timed(near_pairs, hashes, RADIUS)
    return {
        "hashes": len(hashes), "pairs": len(found.first), "complete": found.complete, "crowded": found.crowded,
        "seconds": round(seconds, 1), "peak_mib_before": before, "peak_mib_added": peak_mib() - before,
    }  # fmt: skip


def peak_mib() -> int:
    """Largest memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1 if sys.platform != "darwin" else 1024) // 1024


def fresh(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Run in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--both", type=int, default=50_000, help="hashes that both ways compare")
    parser.add_argument("--large", type=int, default=1_000_000, help="hashes for the banded search alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    options = parser.parse_args()
    kinds = ("uniform", "clustered")
    result: dict[str, Any] = {
        "question": f"banded search against all pairs of 64-bit hashes within {RADIUS} bits: ratio, same pairs, memory",
        "both": {kind: fresh(compare, kind, options.both, options.seed) for kind in kinds},
        "large": {kind: fresh(alone, kind, options.large, options.seed) for kind in kinds},
        "hardware": {"machine": platform.machine(), "cores": usable_cores(), "python": platform.python_version()},
    }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
