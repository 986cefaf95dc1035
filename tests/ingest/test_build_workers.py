"""Workers that die or hang; `helpers.misbehaving` holds the functions that run in them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from helpers.misbehaving import behave, die, fail, slow_part, tasks

from dfad_bench.core.errors import DFADError
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.shard import ItemTimeout, crop_sample, time_limit
from dfad_bench.ingest.workers import processes
from dfad_bench.ingest.workers.processes import run_in_processes, run_serially


@pytest.mark.heavy
def test_items_that_kill_are_given_up_and_the_rest_goes_on(tmp_path: Path):
    shards = [["a", "b"], ["c", "kill1", "d"], ["once", "e"], ["f"]]
    results = {r["part"]: r["done"] for r in run_in_processes(behave, tasks(tmp_path, shards), 2)}
    assert results == {
        "part-00000.parquet": ["ok", "ok"],
        "part-00001.parquet": ["ok", "worker_crash", "ok"],
        "part-00002.parquet": ["ok", "ok"],
        "part-00003.parquet": ["ok"],
    }


@pytest.mark.heavy
def test_items_that_hang_are_given_up(tmp_path: Path):
    results = list(run_in_processes(behave, tasks(tmp_path, [["a", "hang", "b"]], seconds=0.5), 1))
    assert results[0]["done"] == ["ok", "timeout", "ok"]


@pytest.mark.heavy
def test_items_that_stop_their_worker_are_given_up_and_the_rest_goes_on(tmp_path: Path):
    results = run_in_processes(behave, tasks(tmp_path, [["a", "stop", "b"], ["c"]], seconds=0.5), 2)
    assert sorted(result["done"] for result in results) == [["ok"], ["ok", "timeout", "ok"]]


@pytest.mark.heavy
def test_a_worker_that_is_stopped_does_not_keep_the_pool_from_ending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processes, "_LEAVE_SECONDS", 0.5)
    results = run_in_processes(behave, tasks(tmp_path, [["a"], ["stop"]], seconds=600), 2)
    next(results)
    time.sleep(0.5)
    results.close()
    assert not multiprocessing.active_children()


def test_what_a_shard_raises_reaches_the_caller(tmp_path: Path):
    with pytest.raises(DFADError, match="the disk is full"):
        list(run_in_processes(fail, tasks(tmp_path, [["a"], ["b"]]), 2))


def test_workers_that_cannot_start_are_said(tmp_path: Path):
    with pytest.raises(DFADError, match="worker processes die when they start"):
        list(run_in_processes(die, tasks(tmp_path, [["a"]]), 1))


def test_an_interrupt_stops_the_workers_at_the_next_item(tmp_path: Path):
    results = run_in_processes(slow_part, tasks(tmp_path, [["a"], ["b"] * 400]), 2)
    next(results)
    results.close()  # what an exception in the caller's loop does
    assert len(list(tmp_path.glob("part-00001.parquet.*"))) < 300


def test_serial_runs_here_in_order(tmp_path: Path):
    ran = []
    list(run_serially(lambda task, watch: ran.append((task.name, os.getpid())) or {}, tasks(tmp_path, [["a"], ["b"]])))
    assert ran == [("part-00000.parquet", os.getpid()), ("part-00001.parquet", os.getpid())]


def test_an_image_that_takes_too_long_is_a_row(tmp_path: Path):
    class Slow:
        batch = 1

        def crop(self, *_: object) -> None:
            time.sleep(30)

    class Broken:
        batch = 1

        def crop(self, *_: object) -> None:
            raise RuntimeError("not foreseen\nby anyone")

    from helpers.trees import save

    sample = RawSample("extra", "flux", None, "a.png", save(tmp_path / "a.png"))
    [row] = crop_sample(sample, Slow(), 0.1)  # type: ignore[arg-type]
    assert (row["status"], row["reason"]) == ("timeout", "took more than 0.1 s")
    [row] = crop_sample(sample, Broken(), 5)  # type: ignore[arg-type]
    assert (row["status"], row["reason"]) == ("worker_crash", "RuntimeError: not foreseen by anyone")


def test_time_limit_passes_handlers_and_cannot_be_swallowed():
    def swallow() -> None:
        try:
            time.sleep(5)
        except Exception as error:  # as careless decoders do
            pytest.fail(f"swallowed {error!r}")

    with pytest.raises(ItemTimeout), time_limit(0.05):
        swallow()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
