"""Shards on a Ray cluster: plain tasks that write parts to a folder all hosts share; only small records are sent.

A task whose worker dies is tried again in a supervised process on some host (`processes.run_suspect`), which finds
the item that kills the worker. A worker that was stopped shows no sign of life, and is killed. Where faces are to be
found on GPUs, shards go to actors instead, a few for each GPU of the cluster. Ray Data is not used: it hangs when its
actors hold every CPU.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from dfad_bench.core.children import STILL_SECONDS, Stillness
from dfad_bench.core.cores import usable_cores
from dfad_bench.core.errors import ConfigError, DFADError, need
from dfad_bench.core.files import read_json, write_json
from dfad_bench.core.interrupts import uninterrupted
from dfad_bench.core.resources import INCLUDE, included
from dfad_bench.ingest.shard import ShardTask
from dfad_bench.ingest.workers.processes import run_suspect, watchdog
from dfad_bench.ingest.workers.types import ProgressCallback, Run, ignore_progress

_CPU_SHARE = 0.9  # CPUs per shard: leaves room for Ray's own processes
_SLOTS_A_GPU = 4  # shards at a time on one GPU: one decodes while another detects
_RETRIES = 3  # of a supervised shard whose host is lost
_POLL_SECONDS = 1.0  # between two checks for an interrupt
_BEAT_SECONDS = 5.0  # between two signs of life


def ray_tasks(
    run: Run, tasks: Sequence[ShardTask], workers: int, on_progress: ProgressCallback = ignore_progress
) -> Generator[dict[str, Any], None, None]:
    """Run shards on the cluster that `RAY_ADDRESS` names, or on a local one that is started and ended here.

    Args:
        run: the pure function of a shard.
        tasks: the shards; every host must see the folders of their parts and sources under the same path.
        workers: shards at a time; 0 is as many as Ray has CPUs.
        on_progress: is called after every shard.

    Raises:
        MissingDependencyError: Ray is not installed.
        DFADError: no cluster, workers that cannot start, or what `run` raises (a full disk).
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage statistics are sent
    ray = need("ray", '"dfad-bench[ray]"', "--engine ray")
    ours = not ray.is_initialized()
    if ours:
        _start(ray, workers)
    try:
        yield from _Cluster(ray, run, workers, on_progress).drain(deque(tasks))
    finally:
        if ours:
            with uninterrupted():
                ray.shutdown()


def _start(ray: ModuleType, workers: int) -> None:
    settings: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
    if not os.environ.get("RAY_ADDRESS"):
        settings["num_cpus"] = max(workers, usable_cores())  # of a local cluster
    if included():  # workers of a cluster do not share this environment
        settings["runtime_env"] = {"env_vars": {INCLUDE: os.environ[INCLUDE]}}
    try:
        ray.init(**settings)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise DFADError(f"Ray does not start ({' '.join(str(error).split())[:200]}); see RAY_ADDRESS") from error


def _attempt(run: Run, task: ShardTask) -> dict[str, Any]:
    with watchdog(task, Beat(task).tell) as watch:
        return run(task, watch)


def _attempt_supervised(run: Run, task: ShardTask) -> dict[str, Any]:
    beat = Beat(task)
    return run_suspect(run, task, lambda _, done: beat.tell(done))


def _end_worker(pid: int) -> None:
    """Kill a stopped worker of this host; runs on its node, where it needs no CPU."""
    if b"ray::" in Path(f"/proc/{pid}/cmdline").read_bytes():  # not another process that has its number by now
        os.kill(pid, signal.SIGKILL)


class Beat:
    """The sign of life of a shard: a hidden file beside its part, in the folder that all hosts share.

    It names the node and the process and is written anew while items are done, at most every few seconds: a worker
    that was stopped, or waits for a file system that does not answer, leaves it as it is.
    """

    def __init__(self, task: ShardTask) -> None:
        self.file = task.part.with_name(f".{task.part.stem}.beat")
        self._written_at = -_BEAT_SECONDS

    def tell(self, index: int) -> None:
        """An item begins."""
        if time.monotonic() - self._written_at >= _BEAT_SECONDS:
            self._written_at = time.monotonic()
            ray = sys.modules.get("ray")
            node = ray.get_runtime_context().get_node_id() if ray else ""
            write_json(self.file, {"node": node, "pid": os.getpid(), "item": index, "time": time.time()})

    def read(self) -> dict[str, Any] | None:
        """What the worker wrote last; None where it wrote nothing."""
        try:
            beat = read_json(self.file)
        except ConfigError:
            return None
        return beat if isinstance(beat, dict) and isinstance(beat.get("pid"), int) else None

    def forget(self) -> None:
        """Remove the file, as a shard is begun and once it is done."""
        self.file.unlink(missing_ok=True)


class _GpuSlot:
    """A share of a GPU; the networks stay loaded from shard to shard."""

    def attempt(self, run: Run, task: ShardTask) -> dict[str, Any]:
        """Run one shard; GPU and networks are those of this process."""
        return _attempt(run, replace(task, device="cuda"))  # Ray shows it one GPU


@dataclass
class _Running:
    task: ShardTask
    slot: Any = None  # the actor it runs on


@dataclass
class _Cluster:
    ray: ModuleType
    run: Run
    workers: int
    on_progress: ProgressCallback
    _slots: list[Any] = field(default_factory=list)  # idle actors
    _tried_shards: set[str] = field(default_factory=set)  # shards a worker died on
    _watch: Stillness = field(default_factory=Stillness)

    def drain(self, waiting: deque[ShardTask]) -> Iterator[dict[str, Any]]:
        """Run every shard; a shard whose worker died is run again under supervision."""
        ray = self.ray
        resources = ray.cluster_resources()
        wanted = bool(waiting) and waiting[0].device != "cpu"
        gpus = int(resources.get("GPU", 0)) if wanted else 0
        if wanted and not gpus:
            raise DFADError("Ray has no GPU; use the device cpu")
        self._slots = [self._slot() for _ in range(gpus * _SLOTS_A_GPU - 1)]  # one is left for suspects
        most = len(self._slots) or self.workers or max(1, int(resources.get("CPU", 1)))
        plain = ray.remote(num_cpus=_CPU_SHARE, max_retries=0)(_attempt)
        share = 1 / _SLOTS_A_GPU if gpus else 0
        supervised = ray.remote(num_cpus=_CPU_SHARE, num_gpus=share, max_retries=_RETRIES)(_attempt_supervised)
        running: dict[Any, _Running] = {}
        suspects: deque[ShardTask] = deque()
        try:
            while waiting or suspects or running:
                while suspects and len(running) < most:
                    task = suspects.popleft()
                    Beat(task).forget()
                    running[supervised.remote(self.run, task)] = _Running(task)
                while waiting and len(running) < most and (self._slots or not gpus):
                    task = waiting.popleft()
                    Beat(task).forget()
                    slot = self._slots.pop() if gpus else None
                    reference = slot.attempt.remote(self.run, task) if slot else plain.remote(self.run, task)
                    running[reference] = _Running(task, slot)
                done, _ = ray.wait(list(running), num_returns=1, timeout=_POLL_SECONDS)
                self._end_stopped(item.task for reference, item in running.items() if reference not in done)
                for reference in done:
                    record = self._result(reference, running.pop(reference), suspects)
                    if record is not None:
                        yield record
        finally:
            with uninterrupted():
                for reference, item in running.items():
                    Beat(item.task).forget()
                    if item.slot is None:  # actors end with this process
                        ray.cancel(reference, force=True)

    def _end_stopped(self, tasks: Iterable[ShardTask]) -> None:
        """Kill the workers that show no life; Ray then says that they died, as of any other."""
        for task in tasks:
            beat = Beat(task).read()
            longest = max((task.seconds(index) for index in range(len(task.samples))), default=0)
            if beat is None or self._watch.seconds(task.name, beat) < longest + STILL_SECONDS:
                continue
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            there = NodeAffinitySchedulingStrategy(str(beat["node"]), soft=False)
            self.ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(_end_worker).remote(beat["pid"])
            self._watch.seconds(task.name, None)  # should that fail, it is tried again after the same time

    def _slot(self) -> Any:
        share = 1 / _SLOTS_A_GPU
        return self.ray.remote(num_cpus=_CPU_SHARE, num_gpus=share, max_restarts=0)(_GpuSlot).remote()

    def _result(self, reference: Any, item: _Running, suspects: deque[ShardTask]) -> dict[str, Any] | None:
        """A shard's record; None where its worker died, and it is now a suspect."""
        errors = self.ray.exceptions
        try:
            record: dict[str, Any] = self.ray.get(reference)
        except errors.RayTaskError as error:  # what the shard itself raised
            raise error.cause from None
        except errors.RayError as error:
            if item.slot is not None:
                self._slots.append(self._slot())  # the actor died with its shard
            if item.task.name in self._tried_shards:
                raise DFADError(f"{item.task.name}: Ray cannot run it ({type(error).__name__})") from error
            self._tried_shards.add(item.task.name)
            suspects.append(item.task)
            return None
        Beat(item.task).forget()
        if item.slot is not None:
            self._slots.append(item.slot)
        self.on_progress(item.task, len(item.task.samples))
        return record
