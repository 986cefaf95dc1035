"""Does the loader keep the device at work? An epoch against steps on one batch, and the caches against each other."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from dfad_bench.data.crop_storage import DevicePixels
from dfad_bench.data.crop_store import CropStore
from dfad_bench.engine.devices import wait_for
from dfad_bench.report.table import Column
from gpu_items.faces import Training, mapped_store, sample_ids
from gpu_items.item import Bench, Item, Kind, Rows

EPOCH = 10_000
EPOCH_KIND = Kind(
    "epoch",
    f"An epoch of {EPOCH:,} faces",
    (
        Column("model", "Model", "text"),
        Column("format", "format", "text"),
        Column("faces", "faces", "count"),
        Column("faces_s", "faces/s", digits=1),
        Column("resident_faces_s", "on one batch that is there, faces/s", digits=1),
        Column("kept_pace", "share of it, %", "percent", 0),
        Column("gpu_busy", "GPU at work, %", "percent", 0),
        Column("note", "", "text"),
    ),
    "From the cache on disk, batches made ahead. The share of the pace on one batch that stays on the device is what"
    " the loader lets through; the GPU's own count, where there is one, is the median of readings.",
)
CACHE_KIND = Kind(
    "cache",
    "Crops on the GPU against crops on disk",
    (
        Column("cache", "cache", "text"),
        Column("faces", "faces", "count"),
        Column("loader_faces_s", "loader alone, faces/s", digits=0),
        Column("faces_s", "with steps of Xception, faces/s", digits=1),
    ),
    "The file on disk is in the system's memory, having just been written.",
)


def epoch_item(name: str) -> Item:
    """One model's epoch."""
    return Item(f"epoch/{name}", (30.0, 12.0), lambda bench: measure_epoch(name, bench))


def cache_item() -> Item:
    """Both caches in turn."""
    return Item("cache", (15.0, 10.0), measure_caches)


def measure_epoch(name: str, bench: Bench) -> Rows:
    """Pace over an epoch, that of a batch which is there, and what the GPU says of itself."""
    count, batch = bench.choose(EPOCH, 48), bench.choose(64, 8)
    training = Training(name, bench, bench.fast_format, count, batch)
    dataset = training.dataset(mapped_store(bench, count))
    first = dataset.batch(training.batches[0], training.where.device)
    training.take_steps(iter([first] * 3))  # warms up
    resident = training.take_steps(iter([first] * bench.choose(20, 3)))[0]
    with gpu_readings(bench) as (readings, note):
        seconds = training.take_steps(training.coming_batches(dataset))[0]
    row: dict[str, Any] = {"model": name, "format": training.where.precision, "faces": count}
    row |= {"faces_s": round(batch / seconds, 1), "resident_faces_s": round(batch / resident, 1)}
    busy = round(statistics.median(readings), 3) if readings else None
    return [row | {"kept_pace": round(resident / seconds, 3), "gpu_busy": busy, "note": "" if readings else note}]


def measure_caches(bench: Bench) -> Rows:
    """Loader alone, and with steps."""
    count, batch = bench.choose(2048, 32), bench.choose(64, 8)
    disk = mapped_store(bench, count)
    stores = {"disk": disk, "gpu": CropStore(DevicePixels(disk.array, bench.device), sample_ids(count))}
    training, rows = Training("xception", bench, bench.fast_format, count, batch), []
    for cache, store in stores.items():
        dataset = training.dataset(store)
        training.take_steps(training.coming_batches(dataset, 2))  # warms up
        alone = _loader_pace(training, dataset)
        seconds = training.take_steps(training.coming_batches(dataset))[0]
        name = cache if bench.on_gpu or cache == "disk" else f"{cache} (here: memory)"
        row = {"cache": name, "faces": count, "loader_faces_s": round(alone, 1)}
        rows.append(row | {"faces_s": round(batch / seconds, 1)})
    return rows


def _loader_pace(training: Training, dataset: Any) -> float:
    began = time.perf_counter()
    faces = sum(len(batch) for batch in training.coming_batches(dataset))
    wait_for(training.where.device)
    return faces / (time.perf_counter() - began)


@contextmanager
def gpu_readings(bench: Bench) -> Iterator[tuple[list[float], str]]:
    """Shares of time that the GPU was at work, read while the block runs; and why there are none."""
    read, note, found = _reader(bench)
    end = threading.Event()

    def follow() -> None:
        while read is not None and not end.wait(0.25):
            try:
                found.append(read())
            except (OSError, ValueError, RuntimeError, subprocess.SubprocessError):
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield found, note
    finally:
        end.set()
        thread.join(timeout=5)


def _reader(bench: Bench) -> tuple[Any, str, list[float]]:
    if not bench.on_gpu:
        return None, "GPU at work: not measured, no GPU", []
    index = bench.device.index or 0
    try:
        torch.cuda.utilization(index)
    except Exception:  # without the package nvidia-ml-py it is a ModuleNotFoundError, else one of that package's
        pass
    else:
        return (lambda: torch.cuda.utilization(index) / 100), "", []
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None, "GPU at work: not measured, neither nvidia-ml-py nor nvidia-smi", []
    words = [tool, f"--id={index}", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]

    def ask() -> float:
        done = subprocess.run(words, capture_output=True, text=True, timeout=5, check=True)
        return float(done.stdout.strip()) / 100

    return ask, "GPU at work: nvidia-smi gave no number", []
