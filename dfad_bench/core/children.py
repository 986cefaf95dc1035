"""The first thing every worker process does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from typing import Any


def follow_parent() -> None:
    """Ignore interrupts, which the parent process handles, and exit when the parent has ended, for whatever reason."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()


def _exit_with_parent(parent: Any) -> None:
    parent.join()
    os._exit(1)
