"""Progress of long work, as an interface: the CLI draws a bar, libraries and tests print nothing."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A progress bar; one at a time."""

    def start(self, label: str, total: int | None) -> None:
        """Start a bar of `total` steps (None: unknown)."""

    def advance(self, steps: int = 1, **facts: object) -> None:
        """Advance the bar; `facts` (loss, refused, ...) are shown beside it."""

    def finish(self) -> None:
        """Remove the bar."""


class NoProgress:
    """Progress that prints nothing."""

    def start(self, label: str, total: int | None) -> None:
        """Ignore."""

    def advance(self, steps: int = 1, **facts: object) -> None:
        """Ignore."""

    def finish(self) -> None:
        """Ignore."""
