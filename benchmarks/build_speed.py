"""How much faster is a manifest build than the plain way, image by image, and where does its time go?

The plain way: PIL opens the image, MTCNN with its default settings looks at all of it, 1.3 times the biggest box is
cut out, resized to 256 pixels and saved as PNG; one image after the other. The build is `build_manifest` in this
process, whole: listing, hashing, decoding, faces, landmarks, PNG, Parquet, sealing. Both have one thread and the
networks loaded before. They take turns, image set by image set, and the ratio is taken in each turn.

The images are the photographs of $DFAD_CORPUS of the right size; without it, drawn faces.

Example: DFAD_CORPUS=path python benchmarks/build_speed.py --out benchmarks/results/build_speed.json
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
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dfad_bench.core.cores import usable_cores
from dfad_bench.core.files import write_json
from dfad_bench.data.images import decode_image, encode_png
from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest import shard
from dfad_bench.ingest.build import build_manifest
from dfad_bench.ingest.crop.boxes import overlap
from dfad_bench.ingest.crop.cropper import FaceCropper, load_crop_profile
from dfad_bench.ingest.crop.detector import FaceDetector
from dfad_bench.ingest.media import image as still
from dfad_bench.synthetic.faces import draw_face

Box = tuple[float, ...]
REPEATS = 12  # the two-workers set holds each image so often: long enough that start-up is a small part


def choose_images(side: int, number: int) -> list[Path]:
    """JPEGs of the corpus with one side of `side` pixels and the other no shorter, by the hash of their names."""
    corpus = os.environ.get("DFAD_CORPUS")
    if not corpus:
        return []
    with (Path(corpus) / "SOURCES.csv").open(encoding="utf-8-sig", newline="") as handle:
        rows = [r for r in csv.DictReader(handle) if r["media"] == "image" and r["kind"] in ("real", "fake")]
    names = [r["path"] for r in rows if r["path"].endswith(".jpg") and r["width"] == r["height"] == str(side)]
    return [Path(corpus) / name for name in sorted(names, key=lambda n: hashlib.sha256(n.encode()).digest())[:number]]


def fill(folder: Path, side: int, number: int) -> Path:
    """A folder with JPEGs of `side` pixels: photographs, or drawn faces."""
    folder.mkdir()
    found = choose_images(side, number)
    for index, path in enumerate(found):
        shutil.copy(path, folder / f"{index:05d}.jpg")
    for index in range(0 if found else number):
        pixels = draw_face(0, f"train/real-studio/id{index:04d}_00.png")[0]
        Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{index:05d}.jpg")
    return folder


def plain_way(mtcnn: Any, folder: Path, out: Path) -> dict[str, Box | None]:
    """What a script would do; returns the box of each image."""
    boxes: dict[str, Box | None] = {}
    out.mkdir()
    for path in sorted(folder.iterdir()):
        picture = Image.open(path).convert("RGB")
        found, _ = mtcnn.detect(picture)
        boxes[path.name] = None if found is None else tuple(float(v) for v in found[0])
        if found is not None:
            x0, y0, x1, y1 = boxes[path.name] or ()
            half = 1.3 * max(x1 - x0, y1 - y0) / 2
            x, y = (x0 + x1) / 2, (y0 + y1) / 2
            square = tuple(round(v) for v in (x - half, y - half, x + half, y + half))
            picture.crop(square).resize((256, 256)).save(out / f"{path.stem}.png")  # type: ignore[arg-type]
    return boxes


def whole_build(folder: Path, out: Path, workers: int = 0) -> Manifest:
    root = folder.resolve()
    report = build_manifest("images", root, out, workers=workers, crop="face-256-1.3", shard_size=16)
    return Manifest.open(report.out)


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of this thread, the only one: other work on the machine counts less than by the clock."""
    began = time.thread_time()
    result = action()
    return time.thread_time() - began, result


def against_plain(mtcnn: Any, folder: Path, work: Path, turns: int) -> dict[str, Any]:
    """(a) and (b): seconds an image of both ways, ratio by turn, agreement of boxes, faces lost."""
    count = len(list(folder.iterdir()))
    plain_s, ours_s, boxes, manifest = [], [], {}, None
    for turn in range(turns):
        seconds, boxes = timed(lambda turn=turn: plain_way(mtcnn, folder, work / f"plain-{folder.name}-{turn}"))
        plain_s.append(seconds / count)
        seconds, manifest = timed(lambda turn=turn: whole_build(folder, work / f"ours-{folder.name}-{turn}"))
        ours_s.append(seconds / count)
    assert manifest is not None
    rows = manifest.frame(["origin", "status", "box"], status=None).set_index("origin")
    shares, lost, gained = [], [], 0
    for name, box in boxes.items():
        ours = rows.loc[name, "box"]
        if box is None:
            gained += ours is not None
        elif ours is None:
            lost.append(name)
        else:
            shares.append(float(overlap(np.array([ours], dtype=np.float64), box)[0]))
    return {
        "images": count,
        "plain_ms_an_image": round(1000 * statistics.median(plain_s), 2),
        "build_ms_an_image": round(1000 * statistics.median(ours_s), 2),
        "times_faster": round(statistics.median(p / o for p, o in zip(plain_s, ours_s, strict=True)), 2),
        "times_faster_by_turn": [round(p / o, 2) for p, o in zip(plain_s, ours_s, strict=True)],
        "box_overlap_median": round(statistics.median(shares), 4),
        "box_overlap_at_least_0.8": round(sum(s >= 0.8 for s in shares) / len(shares), 4),
        "box_overlap_least": round(min(shares), 4),
        "faces_lost": len(lost),
        "faces_gained": gained,
    }


@contextmanager
def clocked(parts: dict[str, tuple[Any, str]]) -> Iterator[dict[str, float]]:
    """Seconds spent in the named functions while the block runs; those called by another are taken off it."""
    spent = dict.fromkeys(parts, 0.0)
    running: list[str] = []

    def wrap(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            began = time.thread_time()
            running.append(name)
            try:
                return function(*args, **options)
            finally:
                running.pop()
                took = time.thread_time() - began
                spent[name] += took
                if running:
                    spent[running[-1]] -= took

        return call

    originals = {name: getattr(owner, attribute) for name, (owner, attribute) in parts.items()}
    for name, (owner, attribute) in parts.items():
        setattr(owner, attribute, wrap(name, originals[name]))
    try:
        yield spent
    finally:
        for name, (owner, attribute) in parts.items():
            setattr(owner, attribute, originals[name])


STAGES: dict[str, tuple[Any, str]] = {
    "read": (still, "read_source"),
    "decode": (still, "decode_known"),
    "detection": (FaceDetector, "detect"),
    "landmarks": (FaceCropper, "_landmarks"),
    "cut and resize": (FaceCropper, "_cut"),
    "PNG": (shard, "encode_png"),
    "perceptual hash": (shard, "perceptual_hash"),
    "Parquet": (shard, "commit_part"),
}


def from_the_floor(folder: Path, work: Path) -> dict[str, Any]:
    """(d): the build over what cannot be saved (decode, one crop, PNG), and its time by stage."""
    count = len(list(folder.iterdir()))
    manifest = whole_build(folder, work / f"known-{folder.name}")
    squares = manifest.frame(["origin", "crop_box"]).set_index("origin")["crop_box"]

    def floor() -> None:
        for path in sorted(folder.iterdir()):
            picture = decode_image(path)
            square = squares.get(path.name)
            if square is not None:
                pixels = picture.resize((256, 256), Image.Resampling.LANCZOS, box=tuple(float(v) for v in square))
                encode_png(np.asarray(pixels))

    least, _ = timed(floor)
    with clocked(STAGES) as spent:
        whole_run, _ = timed(lambda: whole_build(folder, work / f"stages-{folder.name}"))
    stages = {name: round(1000 * seconds / count, 2) for name, seconds in spent.items()}
    stages["listing, sealing, rest"] = round(1000 * (whole_run - sum(spent.values())) / count, 2)
    return {
        "build_over_floor": round(whole_run / least, 2),
        "floor_ms_an_image": round(1000 * least / count, 2),
        "build_ms_an_image": round(1000 * whole_run / count, 2),
        "stages_ms_an_image": stages,
        "largest_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def more_workers(folder: Path, work: Path, turns: int) -> dict[str, Any]:
    """(c): how much faster two workers are than one, by the clock; start-up is taken off with a small build.

    The processor seconds of the workers are given, too: where they grow with the second worker, the two wait for
    each other's memory; where they do not, and the clock still says little, the cores were busy with other things.
    """
    names = sorted(folder.iterdir())
    few, many = work / "few", work / "many"
    few.mkdir()
    many.mkdir()
    for index, path in enumerate(names * REPEATS):
        os.link(path, many / f"{index:05d}.jpg")
        if index < 32:
            os.link(path, few / f"{index:05d}.jpg")

    def run(root: Path, workers: int, turn: int) -> tuple[float, float]:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        whole_build(root, work / f"{root.name}-{workers}-{turn}", workers)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return time.perf_counter() - began, cpu

    clock: list[float] = []
    cpu: list[float] = []
    for turn in range(turns):
        seconds = {}
        for workers in (1, 2):
            short_run, whole_run = run(few, workers, turn), run(many, workers, turn)
            seconds[workers] = [w - s for s, w in zip(short_run, whole_run, strict=True)]
        clock.append(seconds[1][0] / seconds[2][0])
        cpu.append(seconds[2][1] / seconds[1][1])
    return {
        "images": len(names) * REPEATS,
        "times_faster_by_clock": round(statistics.median(clock), 2),
        "times_faster_by_turn": [round(value, 2) for value in clock],
        "processor_seconds_two_over_one": round(statistics.median(cpu), 3),
    }


def measure(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    from facenet_pytorch import MTCNN

    mtcnn = MTCNN(device="cpu")
    large, small = fill(work / "large", 1024, options.images), fill(work / "small", 256, options.images)
    for folder in (large, small):  # everything loaded and warm
        few = work / f"warm-{folder.name}"
        few.mkdir()
        for path in sorted(folder.iterdir())[:3]:
            os.link(path, few / path.name)
        plain_way(mtcnn, few, work / f"warm-plain-{folder.name}")
        whole_build(few, work / f"warm-ours-{folder.name}")
    result: dict[str, Any] = {
        "question": "processor time of the whole build against the plain way, on the same images in turns",
        "images_are": "photographs and forgeries of a public corpus" if choose_images(256, 1) else "drawn faces",
        "jpeg_1024": against_plain(mtcnn, large, work, options.turns),
        "jpeg_256": against_plain(mtcnn, small, work, options.turns),
        "floor_1024": from_the_floor(large, work),
        "floor_256": from_the_floor(small, work),
        "two_workers": more_workers(small, work, options.turns),
    }
    return result


def hardware() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    return {
        "processor": model,
        "cores": usable_cores(),
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "crop_sha256": load_crop_profile("face-256-1.3").sha256[:12],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=120, help="of each size, at most")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    options = parser.parse_args()
    torch.set_num_threads(1)
    work = Path(tempfile.mkdtemp(prefix="build_speed_"))
    try:
        result = {**measure(options, work), "hardware": hardware()}
    finally:
        shutil.rmtree(work)
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
