"""Shards in this process, or in supervised worker processes that may die.

A worker that is killed (out of memory, a crash in a decoder) breaks its pool. The shards that were running are then
tried again one at a time; an item on which a worker died twice is refused as `worker_crash`, one that hung as
`timeout`, and everything else continues. A worker ends itself when an item takes too long; this process kills one that
cannot, because it was stopped or waits for a file system that does not answer.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dfad_bench.core.children import LEAVE_SECONDS, STILL_SECONDS, WorkerPool, follow_parent
from dfad_bench.core.errors import DFADError
from dfad_bench.ingest.shard import ShardTask, Watch
from dfad_bench.ingest.workers.types import ProgressCallback, Run, ignore_progress

_GRACE = 5.0  # seconds beyond the item limit after which a worker that hangs is killed

_DEATHS = 2

_NO_ITEM_YET = -2  # in place of an item's index before the first one

_POLL_SECONDS = 0.3  # between two checks of the workers' progress
_LEAVE_SECONDS = LEAVE_SECONDS  # they look at every item whether they are to end

_state: dict[str, Any] = {}


class _Stopped(Exception):  # noqa: N818  not an error: the parent asked the worker to stop
    pass


def run_serially(
    run: Run, tasks: Sequence[ShardTask], on_progress: ProgressCallback = ignore_progress
) -> Generator[dict[str, Any], None, None]:
    """Run one shard after the other in this process: quick to start, but a crash ends the build."""
    for task in tasks:

        def watch(index: int, task: ShardTask = task) -> None:
            on_progress(task, index if index >= 0 else len(task.samples))

        yield run(task, watch)


def run_in_processes(
    run: Run, tasks: Sequence[ShardTask], workers: int, on_progress: ProgressCallback = ignore_progress
) -> Generator[dict[str, Any], None, None]:
    """Run shards in `workers` processes; results in the order of completion.

    Raises:
        DFADError: workers die before they begin an item, or what `run` raises (a full disk).
    """
    waiting = deque(tasks)
    while waiting:
        suspects: list[ShardTask] = []
        with _Pool(min(workers, len(waiting))) as pool:
            yield from _until_broken(run, pool, waiting, suspects, on_progress)
        for task in suspects:
            yield run_suspect(run, task, on_progress)


def _until_broken(
    run: Run, pool: _Pool, waiting: deque[ShardTask], suspects: list[ShardTask], on_progress: ProgressCallback
) -> Generator[dict[str, Any], None, None]:
    """Give the pool one shard per worker, so that when it breaks the suspects are exactly the running shards."""
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
                return  # an idle worker was killed: no shard is suspect, a new pool takes the rest
        done, _ = wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
        for task, slot in running.values():
            on_progress(task, pool.count_done(task, slot))
        pool.kill_stopped(running.values())
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
            suspects += [task for future, (task, _) in running.items() if not _has_result(future)]
            yield from (future.result() for future in running if _has_result(future))
            return


def run_suspect(run: Run, task: ShardTask, on_progress: ProgressCallback = ignore_progress) -> dict[str, Any]:
    """Run a suspect shard in a worker of its own, repeatedly, until the items that kill the worker are found.

    Raises:
        DFADError: workers die before they begin an item, or what `run` raises (a full disk).
    """
    deaths: Counter[int] = Counter()
    while True:
        with _Pool(1) as pool:
            try:
                future = pool.submit(run, task, 0)
                while not wait([future], timeout=_POLL_SECONDS).done:
                    on_progress(task, pool.count_done(task, 0))
                    pool.kill_stopped([(task, 0)])
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
        context = multiprocessing.get_context("spawn")
        self.workers = workers
        # without locks: a worker killed while it holds one would block all others. Two numbers a running shard:
        # its item, and when that was begun
        self._items = context.RawArray("d", [_NO_ITEM_YET, 0.0] * workers)
        self._stop = context.RawValue("b", 0)
        self._pool = WorkerPool(workers, _prepare_worker, (self._items, self._stop))

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.value = 1
        self._pool.end(_LEAVE_SECONDS)

    def submit(self, run: Run, task: ShardTask, slot: int) -> Future[dict[str, Any]]:
        """Have a worker run a shard; each running shard needs a slot of its own."""
        self._items[2 * slot : 2 * slot + 2] = [_NO_ITEM_YET, time.monotonic()]
        return self._pool.submit(_run_reporting, run, task, slot)

    def kill_stopped(self, running: Iterable[tuple[ShardTask, int]]) -> None:
        """Kill all workers if one of those that run a shard is over its time limit and did not end by itself.

        All of them, since another one that was stopped would keep the pool from ending.
        """
        if any(self._is_stopped(task, slot) for task, slot in running):
            self._pool.kill()

    def _is_stopped(self, task: ShardTask, slot: int) -> bool:
        index, seconds = self.last_item(slot)
        limit = task.seconds(index) if index >= 0 else STILL_SECONDS  # to start a worker, or to write a part
        return seconds > limit + 2 * min(_GRACE, limit)  # its own watchdog comes first

    def count_done(self, task: ShardTask, slot: int) -> int:
        """How many items of the shard in a slot are done."""
        index = int(self._items[2 * slot])
        return len(task.samples) if index == -1 else max(index, 0)

    def last_item(self, slot: int) -> tuple[int, float]:
        """Which item the worker of a slot was at when it died, and for how many seconds."""
        index, began = self._items[2 * slot : 2 * slot + 2]
        return int(index), time.monotonic() - float(began)


def _has_result(future: Future[dict[str, Any]]) -> bool:
    return future.done() and future.exception() is None


def _prepare_worker(items: Any, stop: Any) -> None:
    """Set up a new worker: ignore interrupts, end with the parent, use one thread, write nothing to stderr.

    Errors travel back as results; what else would go to stderr are warnings of image libraries on damaged files.
    """
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    os.environ["OMP_NUM_THREADS"] = "1"
    _state.update(items=items, stop=stop)
    follow_parent()


def _run_reporting(run: Run, task: ShardTask, slot: int) -> dict[str, Any]:
    def report(index: int) -> None:
        if _state["stop"].value:
            raise _Stopped
        _state["items"][2 * slot : 2 * slot + 2] = [float(index), time.monotonic()]

    with watchdog(task, report) as watch:
        return run(task, watch)


@contextmanager
def watchdog(task: ShardTask, report: Callable[[int], None]) -> Iterator[Watch]:
    """Watches the shard of a worker: an item that hangs ends the process, even inside a C library."""
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
