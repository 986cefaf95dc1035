"""What does it cost to compare pixels with their rows? Milliseconds a crop, medians of alternating passes in one run.

Decoding happens anyway before training; hashing the pixels comes on top. Hashing the stored bytes is what a plain
`dfad check-manifest` does. Without --root the crops are drawn.

Example: python benchmarks/crop_check.py --root /data/faces --out benchmarks/results/crop_check.json
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from dfad_bench.core.cores import usable_cores
from dfad_bench.core.files import write_json
from dfad_bench.data.images import ImageRefused, decode_crop, decode_image, encode_png, perceptual_hash
from dfad_bench.data.stored_crop import StoredCrop

SIDE = 256


def crops(root: Path | None, number: int) -> list[np.ndarray]:
    """(SIDE, SIDE, 3) uint8 pictures: of a folder, in an order that does not depend on its names, or drawn."""
    if root is None:
        rng = np.random.default_rng(0)
        small = [rng.integers(0, 255, (32, 32, 3)).astype(np.uint8) for _ in range(number)]
        return [np.asarray(Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for one in small]
    found: list[np.ndarray] = []
    files = [path for path in root.rglob("*") if path.suffix.lower() in (".jpg", ".png")]
    for path in sorted(files, key=lambda path: hashlib.sha256(path.name.encode()).digest()):
        try:
            found.append(np.asarray(decode_image(path).resize((SIDE, SIDE), Image.Resampling.LANCZOS)))
        except ImageRefused:
            continue
        if len(found) == number:
            break
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder of pictures")
    parser.add_argument("--number", type=int, default=200, help="crops")
    parser.add_argument("--repeats", type=int, default=7, help="passes of each, alternating")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    given = parser.parse_args()
    pictures = crops(given.root, given.number)
    rows = [
        StoredCrop("", "", "ok", encode_png(one), hashlib.sha256(one.tobytes()).hexdigest(), SIDE, SIDE, None)
        for one in pictures
    ]
    steps: dict[str, Callable[[StoredCrop, np.ndarray], object]] = {
        "decode": lambda row, pixels: decode_crop(row.encoded()),
        "decode_and_compare": lambda row, pixels: row.pixels(),
        "deep_check": lambda row, pixels: row.check(),
        "hash_pixels": lambda row, pixels: hashlib.sha256(pixels.data).hexdigest(),
        "hash_stored_bytes": lambda row, pixels: hashlib.sha256(row.encoded()).hexdigest(),
        "phash": lambda row, pixels: perceptual_hash(pixels),
    }
    milliseconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(given.repeats):
        for name, step in steps.items():
            began = time.perf_counter()
            for row, pixels in zip(rows, pictures, strict=True):
                step(row, pixels)
            milliseconds[name].append(1000 * (time.perf_counter() - began) / len(rows))
    cost = {name: round(statistics.median(values), 4) for name, values in milliseconds.items()}
    result = {
        "question": "milliseconds a crop of 256 pixels, one thread, medians",
        "milliseconds": cost,
        "compare_over_decode": round(statistics.median(milliseconds["decode_and_compare"]) / cost["decode"], 3),
        "crops": len(rows),
        "bytes_per_crop": round(statistics.fmean(len(row.encoded()) for row in rows)),
        "drawn": given.root is None,
        "repeats": given.repeats,
        "hardware": {"machine": platform.machine(), "cores": usable_cores(), "python": platform.python_version()},
    }
    for name, value in cost.items():
        sys.stdout.write(f"{name:20} {value:8.3f} ms\n")
    sys.stdout.write(f"decoding and comparing over decoding: {result['compare_over_decode']}\n")
    if given.out:
        write_json(given.out, result)


if __name__ == "__main__":
    main()
