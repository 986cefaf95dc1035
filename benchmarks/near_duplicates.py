"""Near duplicates: how fast is the search, and how many mirrored, shifted or zoomed copies does it find?

The banded search for near hashes and the comparison of all pairs run on the same hashes in one process: as many as
brute force can compare in bearable time, and the pairs must be equal. Then the banded search alone on a million. Hashes
are drawn uniformly, or around centres (every bit of a centre flipped with some probability), which is how faces of one
pose and framing are alike. A fresh process holds each search, so that its peak memory is its own.

With `--manifest`, crops of real and forged faces are mirrored, shifted, zoomed and compressed. A copy is found where
the search for altered copies pairs it with its original. False alarms are pairs of different sources among the faces a
protocol trains on and those it tests; faces of one person or target may be among them. Prints JSON.

Example: python benchmarks/near_duplicates.py --out benchmarks/results/near_duplicates.json
         python benchmarks/near_duplicates.py --manifest manifests/corpus --out benchmarks/results/altered_copies.json
"""

from __future__ import annotations

import argparse
import io
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
from dfad_bench.data.audit.copy_search import find_copies
from dfad_bench.data.audit.near import near_pairs
from dfad_bench.data.audit.windows import grey_faces
from dfad_bench.data.images import perceptual_hash

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


def measure_search(kind: str, count: int, seed: int) -> dict[str, Any]:
    """The banded search and the memory it adds."""
    hashes = draw(kind, count, seed)
    before = peak_mib()
    found, seconds = timed(near_pairs, hashes, RADIUS)
    return {
        "hashes": len(hashes), "pairs": len(found.first), "complete": found.complete, "crowded": found.crowded,
        "seconds": round(seconds, 1), "peak_mib_before": before, "peak_mib_added": peak_mib() - before,
    }  # fmt: skip


def shifted(image: Any, right: float, down: float) -> Any:
    """Moved by shares of its size, the edge repeated."""
    from PIL import Image

    width, height = image.size
    rows = np.clip(np.arange(height) - round(down * height), 0, height - 1)
    columns = np.clip(np.arange(width) - round(right * width), 0, width - 1)
    return Image.fromarray(np.asarray(image)[rows][:, columns])


def zoomed(image: Any, factor: float) -> Any:
    from PIL import Image

    width, height = image.size
    cut = (1 - 1 / factor) / 2
    box = (cut * width, cut * height, (1 - cut) * width, (1 - cut) * height)
    return image.resize((width, height), Image.Resampling.BICUBIC, box=box)


def compressed(image: Any, quality: int = 75) -> Any:
    from PIL import Image

    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def mirrored(image: Any) -> Any:
    from PIL import Image

    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "JPEG 75": compressed,
    "mirrored": mirrored,
    "shifted 5 % right": lambda image: shifted(image, 0.05, 0),
    "shifted 5 % right and down": lambda image: shifted(image, 0.05, 0.05),
    "shifted 2.5 % right": lambda image: shifted(image, 0.025, 0),
    "shifted 2.5 % left and down": lambda image: shifted(image, -0.025, 0.025),
    "shifted 8 % right": lambda image: shifted(image, 0.08, 0),
    "zoomed 1.05": lambda image: zoomed(image, 1.05),
    "zoomed 1.1": lambda image: zoomed(image, 1.1),
    "zoomed 1.15": lambda image: zoomed(image, 1.15),
    "zoomed 1.2": lambda image: zoomed(image, 1.2),
    "zoomed 1.25": lambda image: zoomed(image, 1.25),
    "mirrored, shifted 5 %, JPEG 75": lambda image: compressed(shifted(mirrored(image), 0.05, 0)),
    "mirrored, zoomed 1.1, JPEG 75": lambda image: compressed(zoomed(mirrored(image), 1.1)),
}  # not all are windows of the search: what lies between them is measured, too


def copies(manifest: Path, protocol: str, faces: int, seed: int) -> dict[str, Any]:
    """Recall by change, false alarms and time on the faces of a protocol."""
    from dfad_bench.core.protocol import load_protocol
    from dfad_bench.data.crop_store import CropStore
    from dfad_bench.data.manifest import Manifest
    from dfad_bench.data.select import select

    opened, rules = Manifest.open(manifest), load_protocol(protocol)
    rows = select(rules, [opened]).rows.drop_duplicates("sample_id").sort_values("sample_id", ignore_index=True)
    crops = CropStore.open(rows, [opened], rules.image_size).array
    grey, seconds = timed(lambda: np.concatenate([grey_faces(crops[n : n + 64]) for n in range(0, len(crops), 64)]))
    owners = rows["source_key"].astype("category").cat.codes.to_numpy()
    tested = rows["part"].to_numpy() == "test"
    train, test = np.flatnonzero(~tested), np.flatnonzero(tested)
    found, search = timed(find_copies, lambda places: grey[places], train, test, owners)
    chosen = np.random.default_rng(seed).permutation(len(crops))[:faces]
    costs = {"grey": round(1000 * seconds / len(crops), 2), "search": round(1000 * search / len(crops), 2)}
    return {
        "faces": len(chosen),
        "recall": {name: recall(crops[chosen], grey[chosen], change) for name, change in CHANGES.items()},
        "false_alarms": {
            "pairs_of_different_sources": int((owners[train][:, None] != owners[test][None]).sum()),
            "taken_for_copies": len(found.one),
            "altered": int((found.mirrored | found.moved).sum()),
            "training_faces": len(set(found.one)),
            "test_faces": len(set(found.other)),
        },
        "milliseconds_a_face": costs,
    }


def recall(crops: np.ndarray, grey: np.ndarray, change: Callable[[Any], Any]) -> dict[str, float]:
    """Shares of copies found: by the hash of the whole crop; by the search, each in the part of the other in turn."""
    from PIL import Image

    changed = np.stack([np.asarray(change(Image.fromarray(crop))) for crop in crops])
    both, count, each = np.concatenate([grey, grey_faces(changed)]), len(crops), np.arange(2 * len(crops))
    shares = []
    for one, other in ((each[:count], each[count:]), (each[count:], each[:count])):
        found = find_copies(lambda places: both[places], one, other, each)
        shares.append(float((np.abs(found.one - found.other) == count).sum()) / count)
    before, after = (np.array([perceptual_hash(face) for face in faces]).view(np.uint64) for faces in (crops, changed))
    share_of_whole = float((np.bitwise_count(before ^ after) <= RADIUS).mean())
    return {
        "whole_crop_hash": round(share_of_whole, 3), "original_trained": round(shares[0], 3), 
        "copy_trained": round(shares[1], 3)
    }  # fmt: skip


def copy_search(count: int, seed: int) -> dict[str, Any]:
    """The search among `count` smooth pictures around 64 centres, a quarter of them tested."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(64, 6, 6))
    waves = np.stack([np.cos(np.pi * k * (2 * np.arange(64) + 1) / 128) for k in range(6)])  # (6, 64)
    grey = np.empty((count, 64, 64), np.uint8)
    for start in range(0, count, 4096):
        size = min(4096, count - start)
        low = centres[rng.integers(0, 64, size)] + 0.7 * rng.normal(size=(size, 6, 6))
        grey[start : start + size] = (128 + 12 * (waves.T @ low @ waves)).clip(0, 255)
    places = np.arange(count)
    found, seconds = timed(find_copies, lambda some: grey[some], places[count // 4 :], places[: count // 4], places)
    return {
        "faces": count, "pairs": len(found.one), "left_out": found.left_out, "seconds": round(seconds, 1),
    }  # fmt: skip


def peak_mib() -> int:
    """Largest memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1 if sys.platform != "darwin" else 1024) // 1024


def run_in_new_process(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Run in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def hash_search(options: argparse.Namespace) -> dict[str, Any]:
    kinds = ("uniform", "clustered")
    return {
        "question": f"banded search against all pairs of 64-bit hashes within {RADIUS} bits: ratio, same pairs, memory",
        "both": {kind: run_in_new_process(compare, kind, options.both, options.seed) for kind in kinds},
        "large": {kind: run_in_new_process(measure_search, kind, options.large, options.seed) for kind in kinds},
    }


def altered_copies(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "question": "copies that were mirrored, shifted or zoomed: how many are found, what else is, time",
        **copies(options.manifest, options.protocol, options.faces, options.seed),
        "search_alone": run_in_new_process(copy_search, options.copies, options.seed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--both", type=int, default=50_000, help="hashes that both ways compare")
    parser.add_argument("--large", type=int, default=1_000_000, help="hashes for the banded search alone")
    parser.add_argument("--manifest", type=Path, help="real faces: measures altered copies, not the search for hashes")
    parser.add_argument("--protocol", default="corpus", help="with --manifest: whose faces")
    parser.add_argument("--faces", type=int, default=300, help="with --manifest: faces that are changed")
    parser.add_argument("--copies", type=int, default=50_000, help="with --manifest: pictures for the search alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    options = parser.parse_args()
    result = altered_copies(options) if options.manifest else hash_search(options)
    machine = {"machine": platform.machine(), "cores": usable_cores(), "python": platform.python_version()}
    result["hardware"] = machine
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
