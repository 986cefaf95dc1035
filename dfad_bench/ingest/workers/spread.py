"""How shards spread over workers: in this process, over supervised processes, or over a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from dfad_bench.ingest.shard import ShardTask
from dfad_bench.ingest.workers.processes import processes, serial
from dfad_bench.ingest.workers.types import Run, Tell, silent

Engine = Literal["serial", "processes", "ray"]
ENGINES: tuple[Engine, ...] = ("serial", "processes", "ray")


def spread(
    engine: Engine, run: Run, tasks: Sequence[ShardTask], workers: int, tell: Tell = silent
) -> Iterator[dict[str, Any]]:
    """Run every shard by the named engine; results in the order they come.

    Args:
        engine: one of `ENGINES`.
        run: the pure function of a shard, `shard.run_shard`.
        tasks: the shards.
        workers: shards at a time; 0 is one (and, for Ray, as many as its cluster has CPUs).
        tell: told how far each shard is.

    Raises:
        DFADError: workers die before they begin an item, or what `run` raises (a full disk).
        MissingDependencyError: `ray` without the package.
    """
    if engine == "ray":
        from dfad_bench.ingest.workers.ray import ray_tasks

        return ray_tasks(run, tasks, workers, tell)
    return serial(run, tasks, tell) if engine == "serial" else processes(run, tasks, max(workers, 1), tell)
