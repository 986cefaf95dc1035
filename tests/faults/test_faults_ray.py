"""Shards over a local Ray cluster. Its workers import this file and helpers.misbehaving."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from helpers.faults import build_here, digests, environment, flat_tree
from helpers.misbehaving import behave, fail, tasks

from dfad_bench.cli.main import dfad
from dfad_bench.core.errors import DFADError, MissingDependencyError
from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest.shard import ShardTask, run_shard
from dfad_bench.ingest.workers import ray as workers
from dfad_bench.ingest.workers.spread import spread

installed = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")


def killed_once(task: ShardTask, watch: Any) -> dict[str, Any]:
    """The real work, in a worker that is killed the first time."""
    marker = task.part.parent / f".{task.name}.died"
    if task.name == "part-00002.parquet" and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return run_shard(task, watch)


def test_without_ray_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    root = flat_tree(tmp_path / "root", 2)
    with pytest.raises(MissingDependencyError, match=r'--engine ray needs "dfad-bench\[ray\]": pip install'):
        build_here(root, tmp_path / "m", engine="ray")
    arguments = ["build-manifest", "--dataset", "extra", "--root", str(root), "--out", str(tmp_path / "n")]
    result = CliRunner().invoke(dfad, [*arguments, "--engine", "ray", "--crop", "raw-256"])
    assert result.exit_code == 1
    assert "pip install" in result.stderr


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": environment()})
    yield ray
    ray.shutdown()


@installed
@pytest.mark.slow
def test_workers_that_die_or_hang_cost_their_item_only(cluster: Any, tmp_path: Path):
    shards = [["a", "b"], ["c", "kill1", "d"], ["once", "e"], ["f"]]
    told: dict[str, int] = {}
    found = spread("ray", behave, tasks(tmp_path, shards), 2, lambda task, done: told.update({task.name: done}))
    assert {r["part"]: r["done"] for r in found} == {
        "part-00000.parquet": ["ok", "ok"],
        "part-00001.parquet": ["ok", "worker_crash", "ok"],
        "part-00002.parquet": ["ok", "ok"],
        "part-00003.parquet": ["ok"],
    }
    assert told == {f"part-{index:05d}.parquet": len(shard) for index, shard in enumerate(shards)}
    [hung] = spread("ray", behave, tasks(tmp_path, [["a", "hang", "b"]], seconds=0.5), 1)
    assert hung["done"] == ["ok", "timeout", "ok"]


@installed
@pytest.mark.slow
def test_a_worker_that_is_stopped_costs_its_item_only(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers, "STILL_SECONDS", 3.0)
    found = spread("ray", behave, tasks(tmp_path, [["a", "stop", "b"], ["c"]], seconds=0.5), 2)
    assert sorted(result["done"] for result in found) == [["ok"], ["ok", "timeout", "ok"]]
    assert not list(tmp_path.glob(".*.beat"))


@installed
@pytest.mark.slow
def test_what_a_shard_raises_reaches_the_caller(cluster: Any, tmp_path: Path):
    with pytest.raises(DFADError, match="^the disk is full$"):
        list(spread("ray", fail, tasks(tmp_path, [["a"], ["b"]]), 2))


@installed
@pytest.mark.slow
def test_the_manifest_is_that_of_any_other_engine(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from dfad_bench.ingest import build

    root = flat_tree(tmp_path / "root", 12)
    (root / "test/flux/bad.png").write_bytes(b"no image")
    build_here(root, tmp_path / "whole")
    build_here(root, tmp_path / "m", engine="ray", shard=(1, 2))
    monkeypatch.setattr(build, "run_shard", killed_once)
    build_here(root, tmp_path / "m", engine="ray")
    assert (tmp_path / "m/.part-00002.parquet.died").exists()
    assert digests(tmp_path / "m") == digests(tmp_path / "whole")
    assert Manifest.open(tmp_path / "m").frame(status=None)["status"].value_counts().to_dict() == {
        "ok": 12,
        "unsupported_format": 1,
    }


class FakeRay:
    """A cluster of two GPUs that runs everything at once, here, and remembers what was asked of it."""

    class exceptions:  # noqa: N801
        class RayError(Exception): ...

        class RayTaskError(RayError): ...

    def __init__(self, gpus: float = 2.0) -> None:
        self.gpus = gpus
        self.asked: list[dict[str, Any]] = []
        self.made = 0

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 64.0, "GPU": self.gpus}

    def remote(self, **options: Any) -> Any:
        self.asked.append(options)
        return self._wrapped

    def _wrapped(self, thing: Any) -> Any:
        if isinstance(thing, type):
            self.made += 1
            made = thing()
            return Remote(lambda: Actor(made))
        return Remote(thing)

    def wait(self, references: list[Any], **options: Any) -> tuple[list[Any], list[Any]]:
        return references[:1], references[1:]

    def get(self, reference: Any) -> Any:
        if isinstance(reference.value, Exception):
            raise reference.value
        return reference.value

    def cancel(self, reference: Any, force: bool) -> None: ...


class Done:
    def __init__(self, value: Any) -> None:
        self.value = value


class Remote:
    def __init__(self, function: Any) -> None:
        self.function = function

    def remote(self, *arguments: Any) -> Any:
        value = self.function(*arguments)
        return value if isinstance(value, Actor) else Done(value)


class Actor:
    def __init__(self, thing: Any) -> None:
        self.attempt = Remote(thing.attempt)


@pytest.mark.parametrize(("device", "actors"), [("cpu", 0), ("cuda", 7)])
def test_shards_go_to_actors_where_faces_are_found_on_gpus(tmp_path: Path, device: str, actors: int):
    from dataclasses import replace

    from dfad_bench.ingest.workers.ray import _Cluster

    ray = FakeRay()
    waiting = deque(replace(task, device=device) for task in tasks(tmp_path, [[str(k)] for k in range(20)]))
    told: list[str] = []
    cluster = _Cluster(ray, behave, 0, lambda task, done: told.append(task.name))  # type: ignore[arg-type]
    assert len(list(cluster.drain(waiting))) == len(set(told)) == 20
    assert ray.made == actors
    assert {options.get("num_gpus", 0) for options in ray.asked} == ({0, 0.25} if actors else {0})
    assert all(options["num_cpus"] < 1 for options in ray.asked)


class StuckRay(FakeRay):
    """A worker of it shows a sign of life once and is then stopped, until it is killed."""

    def __init__(self) -> None:
        super().__init__(gpus=0)
        self.killed: list[int] = []

    def remote(self, **options: Any) -> Any:
        def wrapped(function: Any) -> Any:
            if function is workers._end_worker:
                return Remote(self.killed.append)
            return Remote(self._stop if function is workers._attempt else lambda run, task: {"part": task.name})

        return wrapped

    def _stop(self, run: Any, task: ShardTask) -> Any:
        workers.Beat(task).tell(0)
        return self.exceptions.RayError("the worker died")

    def wait(self, references: list[Any], **options: Any) -> tuple[list[Any], list[Any]]:
        done = [r for r in references if self.killed or not isinstance(r.value, Exception)]
        return done[:1], [r for r in references if r not in done[:1]]


def test_a_worker_that_shows_no_life_is_killed_and_its_shard_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from types import SimpleNamespace

    strategies = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node, soft: node)
    monkeypatch.setitem(sys.modules, "ray.util.scheduling_strategies", strategies)
    monkeypatch.setattr(workers, "STILL_SECONDS", 0.05)
    ray = StuckRay()
    waiting = deque(tasks(tmp_path, [["a"]], seconds=0.01))
    found = list(workers._Cluster(ray, behave, 1, lambda task, done: None).drain(waiting))  # type: ignore[arg-type]
    assert found == [{"part": "part-00000.parquet"}]
    assert ray.killed == [os.getpid()]
    assert not list(tmp_path.glob(".*.beat"))


def test_only_workers_of_ray_are_killed():
    workers._end_worker(os.getpid())  # this process is none


def test_workers_of_a_cluster_are_told_of_included_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from types import SimpleNamespace

    from dfad_bench.core.resources import include
    from dfad_bench.ingest.workers.ray import _start

    monkeypatch.setenv("RAY_ADDRESS", "elsewhere")
    asked: list[dict[str, Any]] = []
    ray: Any = SimpleNamespace(init=lambda **settings: asked.append(settings))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "taxonomy.yaml").write_text("x: {display: X1, forgery: EFS, family: gan}\n")
    _start(ray, 0)
    with include(tmp_path / "mine"):
        _start(ray, 0)
    assert "runtime_env" not in asked[0]
    assert asked[1]["runtime_env"] == {"env_vars": {"DFAD_INCLUDE": str(tmp_path / "mine")}}


def test_a_cluster_without_gpus_is_said(tmp_path: Path):
    from dataclasses import replace

    from dfad_bench.ingest.workers.ray import _Cluster

    waiting = deque(replace(task, device="cuda") for task in tasks(tmp_path, [["a"]]))
    with pytest.raises(DFADError, match="Ray has no GPU; use the device cpu"):
        list(_Cluster(FakeRay(gpus=0), behave, 0, lambda task, done: None).drain(waiting))  # type: ignore[arg-type]
