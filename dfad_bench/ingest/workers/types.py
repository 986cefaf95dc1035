"""Types that the engines share: the function of a shard, and the callback for its progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dfad_bench.ingest.shard import ShardTask

Run = Callable[..., dict[str, Any]]
# called with a shard and how many of its items are done; after a crash the number may be lower than before
ProgressCallback = Callable[[ShardTask, int], None]


def ignore_progress(task: ShardTask, done: int) -> None:
    """A callback that does nothing."""
