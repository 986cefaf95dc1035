"""Worker processes: what each does first, and how its parent starts, watches and ends it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from dfad_bench.core.interrupts import uninterrupted

STILL_SECONDS = 300.0  # without any progress, beyond what the work itself may take, a worker counts as stopped
LEAVE_SECONDS = 10.0  # for workers to end by themselves once asked

T = TypeVar("T")


def follow_parent() -> None:
    """Ignore interrupts, which the parent process handles, and exit when the parent has ended, for whatever reason."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()


def _exit_with_parent(parent: Any) -> None:
    parent.join()
    os._exit(1)


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Processes started in the block get no Ctrl-C until `unblock_interrupts`: during imports it prints a traceback.

    This process still gets it, within the block or at its end.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its first start would unblock the signal again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Stillness:
    """How long several workers have shown no progress, by the clock of this process."""

    def __init__(self) -> None:
        self._marks: dict[Hashable, tuple[Any, float]] = {}

    def seconds(self, worker: Hashable, mark: Any) -> float:
        """Seconds since `mark`, anything that changes with progress, was first seen of a worker."""
        if worker not in self._marks or self._marks[worker][0] != mark:
            self._marks[worker] = mark, time.monotonic()
        return time.monotonic() - self._marks[worker][1]


class WorkerPool:
    """A pool of spawned processes that can be ended whatever state they are in, also stopped ones.

    Args:
        count: how many processes.
        prepare: is called first in each of them; is to call `follow_parent`.
        arguments: of `prepare`.
    """

    def __init__(self, count: int, prepare: Callable[..., None], arguments: tuple[Any, ...] = ()) -> None:
        context = multiprocessing.get_context("spawn")  # forking a process with threads in it may hang
        self._pool = ProcessPoolExecutor(count, context, prepare, arguments)
        self._processes: dict[int, BaseProcess] = {}

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Have a worker call a function.

        Raises:
            BrokenProcessPool: a worker died.
        """
        with uninterrupted(), interrupts_blocked():  # it starts processes, which must not be left half started
            future = self._pool.submit(function, *arguments)
            self._processes.update(self._pool._processes or {})
        return future

    def kill(self) -> None:
        """Kill all workers; another one that was stopped would keep the pool from ending."""
        for process in self._processes.values():
            process.kill()

    def end(self, seconds: float = LEAVE_SECONDS) -> None:
        """Drop what has not begun, and wait for the workers; those that take longer than `seconds` are killed."""
        with uninterrupted():
            late = threading.Timer(seconds, self.kill)
            late.daemon = True
            late.start()
            try:
                self._pool.shutdown(wait=True, cancel_futures=True)
            finally:
                late.cancel()
