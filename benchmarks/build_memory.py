"""Does the memory of a manifest build stay flat over a hundred thousand images?

A tree of links to a few hundred small drawn images is built as any other, with one worker. While it runs, the
resident memory of this process and of the worker is read off; after the first fifth, a straight line through each
tells how much a thousand further images add. What the list of all images takes is there from the start, and the
peak while the manifest is sealed is given, too.

Example: python benchmarks/build_memory.py --images 100000 --out benchmarks/results/build_memory.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dfad_bench.cli.progress import make_progress
from dfad_bench.core.cores import usable_cores
from dfad_bench.core.files import write_json
from dfad_bench.core.progress import Progress
from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest.build import build_manifest
from dfad_bench.synthetic.faces import draw_face

ORIGINALS = 256  # files that are linked to; a file system allows some ten thousand links to each
SIDE = 96  # pixels; small, so that the run takes minutes
SETTLED = 0.2  # of the images; until then caches fill


def fill(folder: Path, images: int) -> Path:
    """A tree with `images` links, a thousand a folder."""
    originals, tree = folder / "originals", folder / "tree"
    originals.mkdir()
    for index in range(min(ORIGINALS, images)):
        pixels = draw_face(0, f"train/real-studio/id{index:04d}_00.png")[0]
        small = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        small.save(originals / f"{index:04d}.jpg", quality=90)
    files = sorted(originals.iterdir())
    for index in range(images):
        place = tree / f"{index // 1000:04d}" / f"{index:07d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(files[index % len(files)], place)
    return tree


def resident_mib(process: int) -> float:
    """Resident memory of a process, 0 where it has gone."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def children() -> list[int]:
    """Processes this one and its threads have started."""
    found = []
    for listing in Path("/proc/self/task").glob("*/children"):
        found += [int(number) for number in listing.read_text(encoding="ascii").split()]
    return found


class Watch:
    """Counts finished images, and samples memory once a second in a thread of its own."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.finished_images, self.rows, self.ended = progress, 0, [], False
        self.thread = threading.Thread(target=self._sample, daemon=True)

    def start(self, label: str, total: int | None) -> None:
        """Begin to look."""
        self.progress.start(label, total)
        if not self.thread.is_alive():
            self.thread.start()

    def advance(self, steps: int = 1, **facts: object) -> None:
        """Count."""
        self.finished_images += steps
        self.progress.advance(steps, **facts)

    def finish(self) -> None:
        """End the bar; sealing comes after it, and is looked at, too."""
        self.progress.finish()

    def _sample(self) -> None:
        while not self.ended:
            worker = max((resident_mib(child) for child in children()), default=0.0)
            self.rows.append((self.finished_images, resident_mib(os.getpid()), worker))
            time.sleep(0.5)


def slope(done: np.ndarray, mib: np.ndarray) -> float:
    """MiB that a thousand images add, by least squares."""
    return float(np.polyfit(done / 1000, mib, 1)[0])


def measure(images: int, folder: Path) -> dict[str, Any]:
    tree, watch = fill(folder, images), Watch(make_progress(quiet=False))
    began = time.perf_counter()
    build_manifest("images", tree, folder / "manifest", workers=1, crop="raw-256", progress=watch)
    seconds = time.perf_counter() - began
    watch.ended = True
    rows = np.array(watch.rows)
    building = rows[(rows[:, 0] >= SETTLED * images) & (rows[:, 0] < images) & (rows[:, 2] > 0)]
    found = len(Manifest.open(folder / "manifest").frame(["sample_id"]))
    return {
        "question": "MiB that a thousand further images add to the memory of a build",
        "images": images,
        "rows": found,
        "samples_taken": len(building),
        "main_process_mib_a_thousand": round(slope(building[:, 0], building[:, 1]), 4),
        "worker_mib_a_thousand": round(slope(building[:, 0], building[:, 2]), 4),
        "main_process_mib": {
            "with_the_list_of_images": round(float(rows[0, 1])),
            "at_a_fifth": round(float(building[0, 1])),
            "at_the_end": round(float(building[-1, 1])),
            "largest_with_sealing": round(float(rows[:, 1].max())),
        },
        "worker_mib": {"at_a_fifth": round(float(building[0, 2])), "at_the_end": round(float(building[-1, 2]))},
        "images_a_second": round(images / seconds, 1),
        "hardware": {"cores": usable_cores(), "python": platform.python_version()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="build_memory_") as folder:
        result = measure(options.images, Path(folder))
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
