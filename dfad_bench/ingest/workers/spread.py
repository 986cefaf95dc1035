"""Where shards run: in this process, in supervised worker processes, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from dfad_bench.ingest.settings import Engine
from dfad_bench.ingest.shard import ShardTask
from dfad_bench.ingest.workers.processes import run_in_processes, run_serially
from dfad_bench.ingest.workers.types import ProgressCallback, Run, ignore_progress


def spread(
    engine: Engine, run: Run, tasks: Sequence[ShardTask], workers: int, on_progress: ProgressCallback = ignore_progress
) -> Generator[dict[str, Any], None, None]:
    """Run every shard by the named engine; results in the order of completion.

    Args:
        engine: one of `ingest.settings.Engine`.
        run: the pure function of a shard, `shard.run_shard`.
        tasks: the shards.
        workers: shards at a time; 0 is one (and, for Ray, as many as its cluster has CPUs).
        on_progress: is called with a shard and how many of its items are done.

    Raises:
        DFADError: workers die before they begin an item, or what `run` raises (a full disk).
        MissingDependencyError: `ray` without the package.
    """
    if engine == "ray":
        from dfad_bench.ingest.workers.ray import ray_tasks

        return ray_tasks(run, tasks, workers, on_progress)
    return (
        run_serially(run, tasks, on_progress)
        if engine == "serial"
        else run_in_processes(run, tasks, max(workers, 1), on_progress)
    )
