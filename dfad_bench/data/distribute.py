"""How shards spread over workers: in this process, or over supervised processes that may die.

A worker that is killed (out of memory, a crash in a decoder) breaks its pool. The shards that ran are then tried
again one at a time; the item a worker died on twice is given up as `worker_crash`, one that hung as `timeout`,
and everything else goes on.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import DFADError
from dfad_bench.data.shard import ShardTask

Run = Callable[..., dict[str, Any]]
_GRACE = 5.0  # seconds beyond the item limit before a worker that does not answer is ended
_DEATHS = 2
_NOWHERE = -2  # no item begun yet
_state: dict[str, Any] = {}


class _Stopped(Exception):  # noqa: N818  not an error: the parent asked the worker to stop
    pass


def serial(run: Run, tasks: Sequence[ShardTask]) -> Iterator[dict[str, Any]]:
    """One shard after the other in this process: quick to start, but a crash ends it."""
    for task in tasks:
        yield run(task)


def processes(run: Run, tasks: Sequence[ShardTask], workers: int) -> Iterator[dict[str, Any]]:
    """Shards over `workers` processes, results in the order they come.

    Raises:
        DFADError: workers die before they begin an item, or what `run` raises (a full disk).
    """
    waiting = deque(tasks)
    while waiting:
        suspects: list[ShardTask] = []
        with _Pool(min(workers, len(waiting))) as pool:
            yield from _until_broken(run, pool, waiting, suspects)
        for task in suspects:
            yield _alone(run, task)


def _until_broken(
    run: Run, pool: _Pool, waiting: deque[ShardTask], suspects: list[ShardTask]
) -> Iterator[dict[str, Any]]:
    """Feed the pool one shard a worker, so that when it breaks the suspects are exactly what it was given."""
    running: dict[Future[dict[str, Any]], ShardTask] = {}
    while waiting or running:
        try:
            while waiting and len(running) < pool.workers:
                running[pool.submit(run, waiting[0])] = waiting[0]
                waiting.popleft()
        except BrokenProcessPool:
            if not running:
                return  # an idle worker was killed: nobody is suspect, a new pool takes the rest
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            task = running.pop(future)
            try:
                result = future.result()
            except BrokenProcessPool:
                suspects.append(task)
                continue
            yield result
        if suspects:
            suspects += [task for future, task in running.items() if not _finished(future)]
            yield from (future.result() for future in running if _finished(future))
            return


def _alone(run: Run, task: ShardTask) -> dict[str, Any]:
    """A suspect shard in a worker of its own, as often as it takes to find the items that kill it."""
    deaths: Counter[int] = Counter()
    while True:
        with _Pool(1) as pool:
            try:
                return pool.submit(run, task).result()
            except BrokenProcessPool:
                index, seconds = pool.last_item()
        deaths[index] += 1
        if index < 0:
            if deaths[index] > _DEATHS:
                raise DFADError(
                    f"{task.name}: worker processes die {'while writing' if index == -1 else 'when they start'}; "
                    "is there memory enough, and does a script that builds manifests guard its main code?"
                )
        elif seconds >= task.item_seconds:
            task = task.refuse(index, "timeout", f"took more than {task.item_seconds:g} s")
        elif deaths[index] >= _DEATHS:
            task = task.refuse(index, "worker_crash", f"a worker died on it {_DEATHS} times")


class _Pool:
    """A process pool whose workers report the item they are at, and stop when asked."""

    def __init__(self, workers: int) -> None:
        context = multiprocessing.get_context("spawn")  # forking a process with threads in it may hang
        self.workers = workers
        # without locks: a worker killed while it holds one would block all others
        self._item = context.RawArray("d", [_NOWHERE, 0.0])
        self._stop = context.RawValue("b", 0)
        self._pool = ProcessPoolExecutor(workers, context, _begin, (self._item, self._stop))

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.value = 1
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, run: Run, task: ShardTask) -> Future[dict[str, Any]]:
        return self._pool.submit(_work, run, task)

    def last_item(self) -> tuple[int, float]:
        """Which item the (only) worker was at when it died, and for how many seconds."""
        index, began = self._item[:]
        return int(index), time.monotonic() - float(began)


def _finished(future: Future[dict[str, Any]]) -> bool:
    return future.done() and future.exception() is None


def _begin(item: Any, stop: Any) -> None:
    """In a new worker: leave interrupts to the parent, die with it, keep to one thread, say nothing.

    What goes wrong travels back as a result; the rest of stderr is image libraries muttering about damaged files.
    """
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _state.update(item=item, stop=stop)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent,), daemon=True).start()


def _die_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def _work(run: Run, task: ShardTask) -> dict[str, Any]:
    with Path(os.devnull).open("w") as nowhere:

        def watch(index: int) -> None:
            if _state["stop"].value:
                raise _Stopped
            _state["item"][:] = [float(index), time.monotonic()]
            faulthandler.cancel_dump_traceback_later()
            if index >= 0:  # ends the worker even where a C library never comes back
                grace = min(_GRACE, task.item_seconds)
                faulthandler.dump_traceback_later(task.item_seconds + grace, exit=True, file=nowhere)

        try:
            return run(task, watch)
        finally:
            faulthandler.cancel_dump_traceback_later()
