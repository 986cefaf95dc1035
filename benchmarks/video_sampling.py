"""Sampling frames of videos by seeking against decoding every frame: how much sooner, and are they the same frames?

Three ways to the same frames, in turns, in processor seconds of one thread:
  every frame   decode all frames and convert each to RGB, as tools that read with OpenCV do
  sampled only  decode all frames, convert the wanted ones
  ours          hash the file, index its packets, seek to keyframes, leave out frames that no other needs
Videos are drawn (H.264 with B-frames, several distances of keyframes); with --root, files of one's own are added.
Exits 1 where a frame differs. Prints JSON.

Example: python benchmarks/video_sampling.py --out benchmarks/results/video_sampling.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from dfad_bench.core.files import sha256_file, write_json
from dfad_bench.data.images import VIDEO_EXTENSIONS, ImageRefused
from dfad_bench.ingest.media import read
from dfad_bench.ingest.media.base import Sampling, medium_of
from dfad_bench.ingest.media.frame_index import read_index
from dfad_bench.ingest.media.turning import turn_upright
from dfad_bench.ingest.sample import RawSample

Hashes = dict[int, str]  # frame -> hash of its pixels


def draw(path: Path, frames: int, keyframes: int, size: tuple[int, int], seed: int) -> None:
    """A video of a textured picture that drifts, with noise that changes: neither trivial nor white."""
    width, height = size
    rng = np.random.default_rng(seed)
    field = rng.integers(0, 256, (height // 4 + 80, width // 4 + 80, 3), dtype=np.uint8)
    field = field.repeat(4, 0).repeat(4, 1)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"g": str(keyframes), "preset": "veryfast", "threads": "1", "crf": "28", "sc_threshold": "0"}
        for index in range(frames):
            x, y = (int(120 + 100 * np.sin(index / 40 + k)) for k in (0, 1))
            picture = field[y : y + height, x : x + width] // 2 + rng.integers(0, 24, (height, width, 1), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode(None))


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def decoded(path: Path) -> Iterator[Any]:
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        yield from container.decode(video=0)


def every_frame(path: Path, wanted: set[int]) -> dict[int, Any]:
    kept = {}
    for index, frame in enumerate(decoded(path)):
        image = turn_upright(frame.to_image(threads=1), frame.side_data.get("DISPLAYMATRIX"))
        if index in wanted:
            kept[index] = image
    return kept


def sampled_only(path: Path, wanted: set[int]) -> dict[int, Any]:
    return {
        index: turn_upright(frame.to_image(threads=1), frame.side_data.get("DISPLAYMATRIX"))
        for index, frame in enumerate(decoded(path))
        if index in wanted
    }


def our_frames(path: Path, sampling: Sampling) -> dict[int, Any]:
    sample = RawSample("videos", "unlabelled", None, path.name, path, medium=medium_of(path.name))
    return {frame.index: frame.image for frame in read(sample, sampling) if frame.index is not None}


def measure(path: Path, sampling: Sampling, repeats: int) -> dict[str, Any]:
    """Median seconds of the three ways, taken in turns, and whether they agree."""
    index = read_index(path)
    wanted = set(sampling.indices(index.count))
    ways: dict[str, Callable[[], dict[int, Any]]] = {
        "every_frame": lambda: every_frame(path, wanted),
        "sampled_only": lambda: sampled_only(path, wanted),
        "ours": lambda: our_frames(path, sampling),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    hashes: dict[str, Hashes] = {}
    for _ in range(repeats):
        for name, way in ways.items():
            began = time.process_time()
            images = way()
            seconds[name].append(time.process_time() - began)
            hashes[name] = {number: digest(np.asarray(image)) for number, image in images.items()}
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "video": path.name,
        "frames": index.count,
        "keyframes": len(index.keys),
        "taken": len(wanted),
        "seconds": {name: round(value, 4) for name, value in median.items()},
        "times_faster_than_every_frame": round(median["every_frame"] / median["ours"], 2),
        "times_faster_than_sampled_only": round(median["sampled_only"] / median["ours"], 2),
        "same_frames": hashes["ours"] == hashes["every_frame"] == hashes["sampled_only"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[8, 32], help="frames to take of each video")
    parser.add_argument("--length", type=int, nargs="+", default=[300, 900], help="frames of the drawn videos")
    parser.add_argument("--keyframes", type=int, nargs="+", default=[12, 50, 250], help="frames between keyframes")
    parser.add_argument("--size", type=int, nargs=2, default=[640, 360])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--root", type=Path, help="a folder of videos to measure as well")
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for length in options.length:
            for distance in options.keyframes:
                paths.append(Path(folder) / f"{length} frames, a keyframe every {distance}.mp4")
                draw(paths[-1], length, distance, tuple(options.size), seed=length + distance)
        if options.root:
            paths += sorted(p for p in options.root.rglob("*") if p.suffix[1:].lower() in VIDEO_EXTENSIONS)
        for path in paths:
            for count in options.frames:
                try:
                    rows.append(measure(path, Sampling(frames=count), options.repeats))
                except ImageRefused as refused:
                    print(f"{path.name}: {refused}", file=sys.stderr)
                    continue
                print(json.dumps(rows[-1]), file=sys.stderr)
    result = {
        "script_sha256": sha256_file(Path(__file__)),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, PyAV {av.__version__}",
        "repeats": options.repeats,
        "size": list(options.size),
        "same_frames": all(row["same_frames"] for row in rows),
        "median_times_faster_than_every_frame": statistics.median(r["times_faster_than_every_frame"] for r in rows),
        "videos": rows,
    }
    if options.out:
        write_json(options.out, result)
    print(json.dumps(result, indent=2))
    return 0 if result["same_frames"] else 1


if __name__ == "__main__":
    sys.exit(main())
