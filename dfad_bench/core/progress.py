"""How long work reports that it is alive; the CLI draws it, libraries and tests stay silent."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """One bar at a time."""

    def start(self, label: str, total: int | None) -> None:
        """Begin a bar of `total` steps (None: unknown)."""

    def advance(self, steps: int = 1, **facts: object) -> None:
        """Move the bar; `facts` (loss, refused, ...) are shown behind it."""

    def finish(self) -> None:
        """End the bar."""


class Silent:
    """Says nothing."""

    def start(self, label: str, total: int | None) -> None:
        """Ignore."""

    def advance(self, steps: int = 1, **facts: object) -> None:
        """Ignore."""

    def finish(self) -> None:
        """Ignore."""
