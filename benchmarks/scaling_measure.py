"""What does one face cost, in core seconds, bytes and memory? The input of `scaling_estimate.py`.

Builds a manifest of real photographs with one and with two workers and of a few of them, so that starting up can be
told apart; writes the same photographs once more as 1024-pixel JPEGs; lists a tree of links; hashes and reads the
manifest. Processor time is taken, not the clock, wherever other work on the machine would falsify it.

Example: DFAD_CORPUS=path python benchmarks/scaling_measure.py --out benchmarks/results/scaling_measure.json
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dfad_bench.core.cores import usable_cores
from dfad_bench.core.files import write_json
from dfad_bench.data.images import ImageRefused, decode_image, encode_png
from dfad_bench.data.manifest import Manifest
from dfad_bench.data.manifest_parts import rows_hash
from dfad_bench.ingest.build import deal_into_parts
from dfad_bench.ingest.sources.folders import list_images
from dfad_bench.ingest.sources.spec import load_dataset_spec

SMALL = 20  # images of the build that tells what starting up costs


def photographs(corpus: Path, number: int) -> list[Path]:
    """Images of the corpus, chosen by the hash of their names."""
    with (corpus / "SOURCES.csv").open(encoding="utf-8-sig", newline="") as handle:
        names = [r["path"] for r in csv.DictReader(handle) if r["media"] == "image" and r["kind"] in ("real", "fake")]
    return [corpus / name for name in sorted(names, key=lambda n: hashlib.sha256(n.encode()).digest())[:number]]


def build(root: Path, out: Path, workers: int) -> dict[str, float]:
    """Processor seconds and the largest process of one `dfad build-manifest`."""
    command = [sys.executable, "-m", "dfad_bench", "build-manifest", "--dataset", "images", "--root", str(root)]
    command += ["--out", str(out), "--workers", str(workers), "--shard-size", "16", "--max-refused", "1", "--quiet"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu": cpu, "rss_mib": after.ru_maxrss / 1024}


def rates(images: Path, few: Path, folder: Path) -> dict[str, Any]:
    """Core seconds an image with one and two workers, starting up aside, and what the second worker costs the first.

    Efficiency is the ratio of core seconds: two workers that wait for the same memory need more of them. The clock
    would tell what else the machine was doing.
    """
    count = len(list(images.iterdir()))
    result: dict[str, Any] = {"images": count}
    for workers in (1, 2):
        start = build(few, folder / f"few-{workers}", workers)
        whole = build(images, folder / f"all-{workers}", workers)
        result[f"workers_{workers}"] = {
            "core_seconds_an_image": round((whole["cpu"] - start["cpu"]) / (count - SMALL), 4),
            "start_core_seconds": round(start["cpu"], 2),
            "rss_mib_largest_process": round(whole["rss_mib"]),
        }
    each = [result[f"workers_{workers}"]["core_seconds_an_image"] for workers in (1, 2)]
    result["efficiency_of_two_workers"] = round(each[0] / each[1], 3)
    result["source_bytes_an_image"] = round(sum(p.stat().st_size for p in images.iterdir()) / count)
    return result


def floor(images: Path) -> float:
    """Core seconds to decode, shrink and write a PNG, without looking for a face."""
    began, count = time.process_time(), 0
    for path in sorted(images.iterdir()):
        try:
            picture = decode_image(path)
        except ImageRefused:
            continue
        encode_png(np.asarray(picture.resize((256, 256), Image.Resampling.LANCZOS)))
        count += 1
    return round((time.process_time() - began) / count, 4)


def sizes(manifest: Manifest) -> dict[str, Any]:
    """Bytes and seconds a row of everything that grows with a manifest."""
    rows, parts = manifest.info["rows"], len(manifest.parts)
    kept = len(manifest.frame(["sample_id"]))
    began = time.process_time()
    rows_hash(manifest.parts)
    hashed = time.process_time() - began
    frame = manifest.frame(status=None)
    return {
        "rows": rows,
        "kept": kept,
        "parquet_bytes_a_row": round(sum(p.stat().st_size for p in manifest.parts) / rows),
        "sidecar_bytes_a_part": round(sum(p.with_suffix(".json").stat().st_size for p in manifest.parts) / parts),
        "manifest_json_bytes_a_part": round(len(json.dumps(manifest.info["parts"], indent=2)) / parts),
        "seal_core_seconds_a_row": round(hashed / rows, 7),
        "frame_bytes_a_row": round(int(frame.memory_usage(deep=True).sum()) / rows),
    }


def listing(folder: Path, files: int) -> dict[str, Any]:
    """Seconds and memory a file of listing a tree of links to one image and dealing it into parts."""
    spec = load_dataset_spec("images")
    one = folder / "one.png"
    Image.new("RGB", (8, 8)).save(one)
    for index in range(files):
        if index % 1000 == 0:
            place = folder / "tree" / f"{index // 1000:05d}"
            place.mkdir(parents=True)
        (place / f"{index:09d}.png").hardlink_to(one)
    began = time.process_time()
    parts = list(deal_into_parts(list_images(spec, folder / "tree").samples, 256))
    seconds = time.process_time() - began
    if (dealt := sum(map(len, parts))) != files:
        raise RuntimeError(f"dealt {dealt} of {files} files")
    del parts
    tracemalloc.start()
    parts = list(deal_into_parts(list_images(spec, folder / "tree").samples, 256))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del parts
    return {
        "files": files,
        "core_seconds_a_file": round(seconds / files, 7),
        "memory_bytes_a_file": round(peak / files),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=os.environ.get("DFAD_CORPUS"))
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--large", type=int, default=200, help="1024-pixel images")
    parser.add_argument("--files", type=int, default=50_000, help="links of the tree that is listed")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    options = parser.parse_args()
    if options.corpus is None:
        parser.error("give --corpus or set DFAD_CORPUS")
    with tempfile.TemporaryDirectory(prefix="scaling-") as temporary:
        folder = Path(temporary)
        result = measure(options.corpus, folder, options)
    result["hardware"] = {
        "machine": platform.machine(), "cores": usable_cores(), "python": platform.python_version(),
    }  # fmt: skip
    write_json(options.out, result) if options.out else sys.stdout.write(f"{result}\n")


def measure(corpus: Path, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    result: dict[str, Any] = {"question": "what one face costs in core seconds, bytes and memory"}
    for name, number in (("mixed", options.images), ("large", options.large)):
        images, few = folder / name, folder / f"{name}-few"
        images.mkdir()
        few.mkdir()
        for index, path in enumerate(photographs(corpus, number)):
            place = images / f"{index:04d}{path.suffix.lower() if name == 'mixed' else '.jpg'}"
            if name == "mixed":
                shutil.copyfile(path, place)
            else:
                picture = Image.open(path).convert("RGB").resize((1024, 1024), Image.Resampling.LANCZOS)
                picture.save(place, quality=95)
            if index < SMALL:
                shutil.copyfile(place, few / place.name)
        result[name] = {**rates(images, few, folder / f"out-{name}"), "floor_core_seconds_an_image": floor(images)}
    result["sizes"] = sizes(Manifest.open(folder / "out-mixed" / "all-1"))
    result["listing"] = listing(folder, options.files)
    return result


if __name__ == "__main__":
    main()
