"""Watching what a model does beside computing: connections, files, the global random generators."""

from __future__ import annotations

import os
import random
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
_STARTS = ("subprocess.Popen", "os.system", "os.posix_spawn", "os.fork", "os.forkpty")
_watchers: list[list[str]] = []  # lists that get what was seen; an audit hook cannot be removed
_hooked = False


@contextmanager
def no_network() -> Iterator[None]:
    """Every connection attempt of this process fails inside the block."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        raise ConnectionError(f"a model must build without the network; it tried to reach {address}")

    socket.socket.connect = refuse  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        socket.socket.connect = connect  # type: ignore[method-assign]


@contextmanager
def watched() -> Iterator[list[str]]:
    """Files that are opened for writing or appear in the working folder, and processes started, inside the block.

    The working folder is an empty temporary one meanwhile. Python's own bytecode files do not count.

    Yields:
        A list that is complete after the block: a few words for each.
    """
    global _hooked
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked = True
    found: list[str] = []
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        _watchers.append(found)
        try:
            yield found
        finally:
            _watchers.remove(found)
            os.chdir(before)
            # files written by libraries that do not go through Python show up here
            names = sorted(path.name for path in Path(folder).iterdir())
            found += [f"writes {name}" for name in names if not any(f.endswith(name) for f in found)]


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watchers:
        return
    if event in _STARTS:
        what = os.fsdecode(arguments[0]) if arguments and isinstance(arguments[0], str | bytes) else event
        for found in _watchers:
            found.append(f"starts a process ({what})")
    if event != "open":
        return
    path, mode, flags = arguments
    writes = any(letter in mode for letter in "wxa+") if isinstance(mode, str) else bool((flags or 0) & _WRITING)
    name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
    if writes and name and name != os.devnull and "__pycache__" not in name and not name.startswith("/dev/"):
        for found in _watchers:
            found.append(f"writes {name}")


def reseeded_generators(action: Callable[[], object]) -> list[str]:
    """Which global random generators `action` leaves in the same state whatever state they were in before."""
    states = (np.random.get_state(), random.getstate())  # noqa: NPY002
    after = []
    for seed in (101, 202):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002  the global generator is what is asked about
        random.seed(seed)
        action()
        after.append((torch.rand(4).tolist(), np.random.rand(4).tolist(), [random.random() for _ in range(4)]))  # noqa: NPY002
    np.random.set_state(states[0])  # noqa: NPY002
    random.setstate(states[1])
    names = ("torch", "NumPy", "Python's random")
    return [name for name, first, second in zip(names, *after, strict=True) if first == second]
