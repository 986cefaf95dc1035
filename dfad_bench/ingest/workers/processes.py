"""Shards in this process, or over supervised processes that may die.

A worker that is killed (out of memory, a crash in a decoder) breaks its pool. The shards that ran are then tried
again one at a time; the item a worker died on twice is given up as `worker_crash`, one that hung as `timeout`,
and everything else goes on.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dfad_bench.core.children import follow_parent
from dfad_bench.core.errors import DFADError
from dfad_bench.ingest.shard import ShardTask, Watch
from dfad_bench.ingest.workers.types import Run, Tell, silent

_GRACE = 5.0  # seconds beyond the item limit before a worker that does not answer is ended

_DEATHS = 2

_NOWHERE = -2  # no item begun yet

_LOOK = 0.3  # seconds between looks at how far the workers are

_state: dict[str, Any] = {}


class _Stopped(Exception):  # noqa: N818  not an error: the parent asked the worker to stop
    pass


def serial(run: Run, tasks: Sequence[ShardTask], tell: Tell = silent) -> Iterator[dict[str, Any]]:
    """One shard after the other in this process: quick to start, but a crash ends it."""
    for task in tasks:

        def watch(index: int, task: ShardTask = task) -> None:
            tell(task, index if index >= 0 else len(task.samples))

        yield run(task, watch)


def processes(run: Run, tasks: Sequence[ShardTask], workers: int, tell: Tell = silent) -> Iterator[dict[str, Any]]:
    """Shards over `workers` processes, results in the order they come.

    Raises:
        DFADError: workers die before they begin an item, or what `run` raises (a full disk).
    """
    waiting = deque(tasks)
    while waiting:
        suspects: list[ShardTask] = []
        with _Pool(min(workers, len(waiting))) as pool:
            yield from _until_broken(run, pool, waiting, suspects, tell)
        for task in suspects:
            yield alone(run, task, tell)


def _until_broken(
    run: Run, pool: _Pool, waiting: deque[ShardTask], suspects: list[ShardTask], tell: Tell
) -> Iterator[dict[str, Any]]:
    """Feed the pool one shard a worker, so that when it breaks the suspects are exactly what it was given."""
    running: dict[Future[dict[str, Any]], tuple[ShardTask, int]] = {}
    free = set(range(pool.workers))
    while waiting or running:
        try:
            while waiting and free:
                slot = min(free)
                running[pool.submit(run, waiting[0], slot)] = waiting[0], slot
                waiting.popleft()
                free.remove(slot)
        except BrokenProcessPool:
            if not running:
                return  # an idle worker was killed: nobody is suspect, a new pool takes the rest
        done, _ = wait(running, timeout=_LOOK, return_when=FIRST_COMPLETED)
        for task, slot in running.values():
            tell(task, pool.done(task, slot))
        for future in done:
            task, slot = running.pop(future)
            free.add(slot)
            try:
                result = future.result()
            except BrokenProcessPool:
                suspects.append(task)
                continue
            yield result
        if suspects:
            suspects += [task for future, (task, _) in running.items() if not _finished(future)]
            yield from (future.result() for future in running if _finished(future))
            return


def alone(run: Run, task: ShardTask, tell: Tell = silent) -> dict[str, Any]:
    """A suspect shard in a worker of its own, as often as it takes to find the items that kill it.

    Raises:
        DFADError: workers die before they begin an item, or what `run` raises (a full disk).
    """
    deaths: Counter[int] = Counter()
    while True:
        with _Pool(1) as pool:
            try:
                future = pool.submit(run, task, 0)
                while not wait([future], timeout=_LOOK).done:
                    tell(task, pool.done(task, 0))
                return future.result()
            except BrokenProcessPool:
                index, seconds = pool.last_item(0)
        deaths[index] += 1
        if index < 0:
            if deaths[index] > _DEATHS:
                raise DFADError(
                    f"{task.name}: worker processes die {'while writing' if index == -1 else 'when they start'}; "
                    "is there memory enough, and does a script that builds manifests guard its main code?"
                )
        elif seconds >= task.seconds(index):
            task = task.refuse(index, "timeout", f"took more than {task.seconds(index):g} s")
        elif deaths[index] >= _DEATHS:
            task = task.refuse(index, "worker_crash", f"a worker died on it {_DEATHS} times")


class _Pool:
    """A process pool whose workers report the item they are at, and stop when asked."""

    def __init__(self, workers: int) -> None:
        context = multiprocessing.get_context("spawn")  # forking a process with threads in it may hang
        self.workers = workers
        # without locks: a worker killed while it holds one would block all others. Two numbers a running shard:
        # its item, and when that was begun
        self._items = context.RawArray("d", [_NOWHERE, 0.0] * workers)
        self._stop = context.RawValue("b", 0)
        self._pool = ProcessPoolExecutor(workers, context, _begin, (self._items, self._stop))

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.value = 1
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, run: Run, task: ShardTask, slot: int) -> Future[dict[str, Any]]:
        """Have a worker run a shard; of the running shards no two share a slot."""
        self._items[2 * slot] = _NOWHERE
        return self._pool.submit(_work, run, task, slot)

    def done(self, task: ShardTask, slot: int) -> int:
        """How many items of the shard in a slot are done."""
        index = int(self._items[2 * slot])
        return len(task.samples) if index == -1 else max(index, 0)

    def last_item(self, slot: int) -> tuple[int, float]:
        """Which item the worker of a slot was at when it died, and for how many seconds."""
        index, began = self._items[2 * slot : 2 * slot + 2]
        return int(index), time.monotonic() - float(began)


def _finished(future: Future[dict[str, Any]]) -> bool:
    return future.done() and future.exception() is None


def _begin(items: Any, stop: Any) -> None:
    """In a new worker: leave interrupts to the parent, die with it, keep to one thread, say nothing.

    What goes wrong travels back as a result; the rest of stderr is image libraries muttering about damaged files.
    """
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    os.environ["OMP_NUM_THREADS"] = "1"
    _state.update(items=items, stop=stop)
    follow_parent()


def _work(run: Run, task: ShardTask, slot: int) -> dict[str, Any]:
    def report(index: int) -> None:
        if _state["stop"].value:
            raise _Stopped
        _state["items"][2 * slot : 2 * slot + 2] = [float(index), time.monotonic()]

    with watchdog(task, report) as watch:
        return run(task, watch)


@contextmanager
def watchdog(task: ShardTask, report: Callable[[int], None]) -> Iterator[Watch]:
    """What a worker's shard is watched by: an item that hangs ends the process, even in a C library."""
    with Path(os.devnull).open("w") as nowhere:

        def watch(index: int) -> None:
            report(index)
            faulthandler.cancel_dump_traceback_later()
            if index >= 0:
                seconds = task.seconds(index)
                faulthandler.dump_traceback_later(seconds + min(_GRACE, seconds), exit=True, file=nowhere)

        try:
            yield watch
        finally:
            faulthandler.cancel_dump_traceback_later()
