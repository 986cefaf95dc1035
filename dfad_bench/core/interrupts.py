"""Ctrl-C and SIGTERM: the first ends the work, and nothing interrupts the clean-up that follows."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

EXIT_INTERRUPTED = 130
_KINDS = (signal.SIGINT, signal.SIGTERM)
_REPEAT_SECONDS = 0.02
_PATIENCE_SECONDS = 20.0  # a signal later than this after the first one ends the process without clean-up


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM that arrive within the block take effect at its end; for clean-up that waits.

    A second signal that cuts clean-up short would leave worker processes running, and Python waits for
    those when it exits.
    """
    if threading.current_thread() is not threading.main_thread():  # signals reach no other thread
        yield
        return
    arrived: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        arrived.append(signum)

    before: dict[int, Any] = {kind: signal.getsignal(kind) for kind in _KINDS}
    before = {kind: handler for kind, handler in before.items() if handler is not None}  # None: not set from Python
    try:
        for kind in before:
            signal.signal(kind, note)
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
        if arrived:
            signal.raise_signal(arrived[0])


def leads() -> bool:
    """Whether this process speaks for its team: of several training processes only the first prints the common line."""
    return os.environ.get("RANK", "0") == "0"


def interrupt_once() -> None:
    """Have the first Ctrl-C or SIGTERM of this process raise `KeyboardInterrupt`; the next ones change nothing.

    One that comes over 20 seconds after the first ends the process at once, with exit code 130; its worker
    processes then end by themselves. A Ctrl-C that the caller has chosen to ignore stays ignored.
    """
    first: list[float] = []

    def interrupt(signum: int, frame: FrameType | None) -> None:
        if not first:
            first.append(time.monotonic())
            raise KeyboardInterrupt
        if time.monotonic() - first[0] > _PATIENCE_SECONDS:
            os._exit(EXIT_INTERRUPTED)

    def ignore_the_rest() -> None:
        # Python's last step gives signals their default back, and one that came then would change the exit code
        if first:
            for kind in _KINDS:
                signal.signal(kind, signal.SIG_IGN)

    atexit.register(ignore_the_rest)  # registered before all others, hence run after them
    for kind in _KINDS:
        if signal.getsignal(kind) != signal.SIG_IGN:
            signal.signal(kind, interrupt)
    _repeat_if_swallowed(first)


def _repeat_if_swallowed(first: list[float]) -> None:
    """Interrupt once more where Python dropped the exception, as it does in callbacks of its memory management."""
    before = sys.unraisablehook

    def repeat(unraisable: sys.UnraisableHookArgs) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            return before(unraisable)
        first.clear()
        main = threading.main_thread().ident or 0
        # a little later: from within the callback it would be dropped again
        timer = threading.Timer(_REPEAT_SECONDS, signal.pthread_kill, (main, signal.SIGINT))
        timer.daemon = True
        timer.start()
        return None

    sys.unraisablehook = repeat


def unblock_interrupts() -> None:
    """Let Ctrl-C reach a process that was started in `core.children.interrupts_blocked`, now that it handles it.

    One that arrived meanwhile takes effect now.
    """
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
