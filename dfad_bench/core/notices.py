"""Lines about what a function did on the way, for a reader: collected by a `heard` block, else Python warnings."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_HEARD: ContextVar[list[str] | None] = ContextVar("heard", default=None)


class Notice(UserWarning):
    """The warning of a line that no `heard` block collects."""


def tell(line: str) -> None:
    """Add a line to the innermost `heard` block; outside of one it is a Python warning, `Notice`."""
    listener = _HEARD.get()
    if listener is None:
        warnings.warn(line, Notice, stacklevel=3)
    elif line not in listener:
        listener.append(line)


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collect the lines of every `tell` within the block, each once.

    >>> with heard() as lines:
    ...     tell("prefix left out")
    ...     tell("prefix left out")
    >>> lines
    ['prefix left out']
    """
    lines: list[str] = []
    token = _HEARD.set(lines)
    try:
        yield lines
    finally:
        _HEARD.reset(token)
