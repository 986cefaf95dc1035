"""How much faster is ETH-XGaze in batches than one face at a time, and what does a batch hold in memory?

Random weights in the official layout: the arithmetic is the same. Both ways estimate the same faces, in turns, from
crops to angles; the split says how much of a face goes into the patch and how much into the network. Each batch size's
memory is what a fresh process holds at its peak beyond the loaded network (Linux; on a GPU: its allocator). Prints
JSON.

Example: python benchmarks/gaze_networks.py --out benchmarks/results/gaze_networks.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dfad_bench.core.cores import usable_cores
from dfad_bench.core.files import atomic_path, write_json
from dfad_bench.gaze.estimators import mirror
from dfad_bench.gaze.estimators.eth_xgaze import EthXGazeEstimator

Faces = tuple[np.ndarray, np.ndarray]


def random_weights(folder: Path) -> Path:
    """A file in the official layout, seeded; its normalisations are those of a fresh network."""
    from torchvision import models

    torch.manual_seed(0)
    trunk = models.get_model("resnet50", weights=None)
    state = {f"gaze_network.{key}": value for key, value in trunk.state_dict().items()}
    state |= {"gaze_fc.0.weight": torch.randn(2, 2048) / 2048, "gaze_fc.0.bias": torch.zeros(2)}
    path = folder / "eth_xgaze.pth.tar"
    with atomic_path(path) as temporary:
        torch.save({"epoch": 0, "model_state": state}, temporary)
    return path


def faces_of(count: int) -> Faces:
    """Drawn faces, moved a little each so that no two are the same."""
    crops, landmarks = mirror.drawn_faces()
    rows = np.arange(count) % len(crops)
    moved = landmarks[rows] + np.random.default_rng(0).uniform(-1, 1, (count, 1, 2))
    return crops[rows], moved


def build(path: Path, batch: int, device: str) -> EthXGazeEstimator:
    """An estimator with that batch size that has run once; random outputs are not checked in the mirror."""
    estimator = EthXGazeEstimator(path, order="pitch_yaw")
    estimator.batch_size = batch  # type: ignore[misc]
    few = faces_of(batch)
    estimator.estimate(*few, device)
    return estimator


def seconds(estimator: EthXGazeEstimator, faces: Faces, device: str, step: int) -> tuple[float, np.ndarray]:
    """Time to estimate all faces `step` at a call, and their angles."""
    began = time.perf_counter()
    found = [
        estimator.estimate(faces[0][start : start + step], faces[1][start : start + step], device)
        for start in range(0, len(faces[0]), step)
    ]
    return time.perf_counter() - began, np.concatenate([[r.pitch_rad, r.yaw_rad] for r in found], axis=1)


def memory(path: Path, batch: int, device: str, threads: int) -> int:
    """Bytes held at the peak, beyond a network that has seen one face, when `batch` faces go in at once."""
    torch.set_num_threads(threads)
    estimator = build(path, 1, device)
    estimator.batch_size = batch  # type: ignore[misc]
    faces = faces_of(batch)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        estimator.estimate(*faces, device)
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # the peak of loading the weights is forgotten
    before = resident_bytes("VmRSS")
    estimator.estimate(*faces, device)
    return resident_bytes("VmHWM") - before


def resident_bytes(field: str) -> int:
    """Bytes of this process's memory, now (VmRSS) or at its peak (VmHWM)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def compare(path: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row a batch size; in each turn every size runs once."""
    faces = faces_of(options.faces)
    sizes = [1, *(size for size in options.batches if size > 1)]
    built = {size: build(path, size, options.device) for size in sizes}
    turns: dict[int, list[float]] = {size: [] for size in sizes}
    angles = {}
    for _ in range(options.turns):
        for size in sizes:
            spent, angles[size] = seconds(built[size], faces, options.device, size)
            turns[size].append(spent)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        held = {size: pool.submit(memory, path, size, options.device, options.threads).result() for size in sizes}
    return [
        {
            "batch": size,
            "faces_a_second": round(options.faces / statistics.median(turns[size]), 2),
            "times_one_at_a_time": round(
                statistics.median([one / many for one, many in zip(turns[1], turns[size], strict=True)]), 2
            ),
            "largest_difference_rad": float(f"{np.abs(angles[size] - angles[1]).max():.2g}"),
            "memory_mib": round(held[size] / 2**20, 1),
        }
        for size in sizes
    ]


def split(path: Path, options: argparse.Namespace) -> dict[str, float]:
    """Share of the time that goes into the normalised patch, in batches of the largest size."""
    estimator = build(path, max(options.batches), options.device)
    faces = faces_of(options.faces)
    began = time.perf_counter()
    estimator.prepare(*faces)
    patches = time.perf_counter() - began
    whole, _ = seconds(estimator, faces, options.device, options.faces)
    return {"patches": round(patches / whole, 4), "network": round(1 - patches / whole, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=32)
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 16, 32], help="batch sizes beside one at a time")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of torch, on the CPU")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        path = random_weights(Path(folder))
        result: dict[str, Any] = {
            "question": "ETH-XGaze (ResNet-50, 224 px, random weights) in batches against one face at a time",
            "faces": options.faces,
            "turns": options.turns,
            "rows": compare(path, options),
            "share_of_time": split(path, options),
            "hardware": {
                "machine": platform.machine(),
                "cores": usable_cores(),
                "threads": options.threads,
                "device": torch.cuda.get_device_name() if options.device != "cpu" else "cpu",
                "python": platform.python_version(),
                "torch": torch.__version__,
            },
        }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
