"""What every worker process does first."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from typing import Any


def follow_parent() -> None:
    """Leave interrupts to the parent process, and die when it is gone, however it ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent,), daemon=True).start()


def _die_with(parent: Any) -> None:
    parent.join()
    os._exit(1)
