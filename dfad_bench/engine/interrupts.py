"""Failures from outside a run, as one line each: lack of memory, a folder that cannot be written, Ctrl-C."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from dfad_bench.core.errors import DFADError

_NO_MEMORY = (
    "allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "can't start new thread",
    "could not create a primitive",  # oneDNN's message
)
_SAME_S = 1.0
_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOTDIR)


class InterruptedRunError(DFADError):
    """The run was asked to stop, by Ctrl-C or SIGTERM."""

    exit_code = 130


def interruption(run: Path, step: int, total: int, *, resumed: bool) -> InterruptedRunError:
    """The error of a training that was asked to stop and has written a checkpoint."""
    command = "the same command" if resumed else "the same command without --no-resume"
    return InterruptedRunError(
        f"{run}: interrupted after step {step} of {total}, which is saved; {command} goes on from there"
    )


@contextlib.contextmanager
def one_line(doing: str, advice: str) -> Iterator[None]:
    """Turn a lack of memory while `doing` something, and files that cannot be written, into a `DFADError`.

    Args:
        doing: continues the sentence "out of memory", with the numbers that decide how much is needed.
        advice: what the user can do.

    Raises:
        DFADError: in place of torch's, numpy's and the system's errors.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.errno in _UNWRITABLE and error.filename:
            why = os.strerror(error.errno or 0)
            raise DFADError(
                f"{error.filename}: cannot be written ({why}); correct that or use another --out"
            ) from error
        if (kind := _memory(error)) is None:
            raise
        raise DFADError(f"out of {kind} {doing}; {advice}") from error


def _memory(error: Exception) -> str | None:
    """The kind of memory that has run out; None for other errors."""
    if isinstance(error, torch.OutOfMemoryError):
        return "GPU memory"
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return "memory"
    return "memory" if any(word in str(error).lower() for word in _NO_MEMORY) else None


class Interrupts:
    """Within the block, the first Ctrl-C (or SIGTERM) only sets `stop_requested`; a later one raises KeyboardInterrupt.

    Those within a second of the first are the same one: a terminal, torchrun and a scheduler each pass it on.
    """

    def __init__(self) -> None:
        self.stop_requested = False
        self._requested_at = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():  # signals reach no other thread
            for kind in (signal.SIGINT, signal.SIGTERM):
                self._before[kind] = signal.signal(kind, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for kind, handler in self._before.items():
            signal.signal(kind, handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.stop_requested and time.monotonic() - self._requested_at > _SAME_S:
            raise KeyboardInterrupt
        if not self.stop_requested:
            self.stop_requested, self._requested_at = True, time.monotonic()
