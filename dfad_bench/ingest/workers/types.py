"""What engines share: the function of a shard, and who is told how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dfad_bench.ingest.shard import ShardTask

Run = Callable[..., dict[str, Any]]
Tell = Callable[[ShardTask, int], None]  # a shard, and how many of its items are done; may go back after a crash


def silent(task: ShardTask, done: int) -> None:
    """Tells nobody."""
