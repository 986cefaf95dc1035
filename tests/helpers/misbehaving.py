"""What a worker may do wrong, as functions that worker processes import, and shards of such items."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import DFADError
from dfad_bench.ingest.crop.cropper import load_crop_profile
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.shard import ShardTask


def tasks(folder: Path, names: list[list[str]], seconds: float = 30) -> list[ShardTask]:
    """A shard for each list of items; nothing is read, `behave` looks at the names only."""
    profile = load_crop_profile("raw-256")
    return [
        ShardTask(
            folder / f"part-{number:05d}.parquet",
            tuple(RawSample("extra", "flux", None, name, folder / name) for name in shard),
            profile,
            "config",
            seconds,
        )
        for number, shard in enumerate(names)
    ]


def behave(task: ShardTask, watch: Any) -> dict[str, Any]:
    """What an image is called is what it does to its worker."""
    done = []
    for index, sample in enumerate(task.samples):
        watch(index)
        if index in task.verdicts:
            done.append(task.verdicts[index][0])
            continue
        marker = task.part.parent / f"{sample.origin}.died"
        if sample.origin.startswith("kill") or (sample.origin.startswith("once") and not marker.exists()):
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if sample.origin.startswith("stop"):  # its own watchdog is stopped with it
            os.kill(os.getpid(), signal.SIGSTOP)
        if sample.origin.startswith("hang"):
            time.sleep(600)
        done.append("ok")
    watch(-1)
    return {"part": task.name, "done": done}


def fail(task: ShardTask, watch: Any) -> dict[str, Any]:
    raise DFADError("the disk is full")


def die(task: ShardTask, watch: Any) -> dict[str, Any]:
    os._exit(1)


def slow_part(task: ShardTask, watch: Any) -> dict[str, Any]:
    for index in range(len(task.samples)):
        watch(index)
        (task.part.parent / f"{task.name}.{index}").touch()
        time.sleep(0.05)
    return {}


def hears_interrupts() -> bool:
    """Whether Ctrl-C would reach this process."""
    return signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def sleep_stopped() -> None:
    """Stop this process, as a debugger does."""
    os.kill(os.getpid(), signal.SIGSTOP)
