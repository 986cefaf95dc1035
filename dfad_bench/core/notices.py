"""Lines about what a function did on the way, collected by a `collect_notices` block, else Python warnings."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_COLLECTED: ContextVar[list[str] | None] = ContextVar("collected", default=None)


class Notice(UserWarning):
    """The warning of a line that no `collect_notices` block collects."""


def add_notice(line: str) -> None:
    """Add a line to the innermost `collect_notices` block; outside of one it is a Python warning, `Notice`."""
    listener = _COLLECTED.get()
    if listener is None:
        warnings.warn(line, Notice, stacklevel=3)
    elif line not in listener:
        listener.append(line)


@contextmanager
def collect_notices() -> Iterator[list[str]]:
    """Collect the lines of every `add_notice` within the block, each once.

    >>> with collect_notices() as lines:
    ...     add_notice("prefix left out")
    ...     add_notice("prefix left out")
    >>> lines
    ['prefix left out']
    """
    lines: list[str] = []
    token = _COLLECTED.set(lines)
    try:
        yield lines
    finally:
        _COLLECTED.reset(token)
