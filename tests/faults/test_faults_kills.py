"""Killed builds and killed workers: the manifest is the same as if nothing had happened."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from helpers.faults import (
    build_here,
    digests,
    flat_tree,
    kill_builds,
    kill_workers,
    start_build,
    wait_for_parts,
)

from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest.check import check_manifest

COUNT = 60


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flat_tree(tmp_path_factory.mktemp("kills") / "root", COUNT)


@pytest.fixture(scope="module")
def whole(root: Path) -> dict[str, str]:
    build_here(root, root.parent / "whole")
    return digests(root.parent / "whole")


def survive_kills_of_builds(root: Path, out: Path, whole: dict[str, str], kills: int) -> None:
    assert kill_builds(root, out, kills) >= kills // 2
    process = start_build(root, out)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert digests(out) == whole
    assert [p.name for p in out.glob(".*.tmp*")] == []
    assert Manifest.open(out).frame()["sample_id"].nunique() == len(list(root.rglob("*.png")))
    check_manifest(out)


def survive_kills_of_workers(root: Path, out: Path, whole: dict[str, str], kills: int) -> None:
    process = start_build(root, out)
    assert kill_workers(process, out, kills) == kills
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    assert digests(out) == whole


@pytest.mark.heavy
def test_killed_builds_lose_nothing(root: Path, whole: dict[str, str], tmp_path: Path):
    survive_kills_of_builds(root, tmp_path / "m", whole, kills=2)


@pytest.mark.slow
def test_builds_killed_at_ten_random_moments_lose_nothing(tmp_path: Path):
    bigger = flat_tree(tmp_path / "root", 2 * COUNT)
    build_here(bigger, tmp_path / "whole")
    survive_kills_of_builds(bigger, tmp_path / "m", digests(tmp_path / "whole"), kills=10)


@pytest.mark.heavy
def test_a_killed_worker_loses_nothing(root: Path, whole: dict[str, str], tmp_path: Path):
    survive_kills_of_workers(root, tmp_path / "m", whole, kills=1)


@pytest.mark.slow
def test_workers_killed_at_ten_random_moments_lose_nothing(tmp_path: Path):
    big = flat_tree(tmp_path / "root", 1200)
    build_here(big, tmp_path / "whole")
    survive_kills_of_workers(big, tmp_path / "m", digests(tmp_path / "whole"), kills=10)


@pytest.mark.heavy
@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupt_ends_with_130_and_the_build_goes_on_later(
    root: Path, whole: dict[str, str], tmp_path: Path, how: signal.Signals
):
    out = tmp_path / "m"
    process = start_build(root, out)
    assert wait_for_parts(process, out, 3)
    process.send_signal(how)
    _, error = process.communicate(timeout=30)
    assert (process.returncode, error.strip()) == (130, "Interrupted.")
    assert not (out / "manifest.json").exists()
    assert [p.name for p in out.glob(".*.tmp*")] == []
    report = build_here(root, out)
    assert report.parts_kept >= 3
    assert digests(out) == whole


@pytest.mark.heavy
@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
@pytest.mark.parametrize("gap", [0.02, *(pytest.param(gap, marks=pytest.mark.slow) for gap in (0.005, 0.05))])
def test_a_second_interrupt_during_clean_up_changes_nothing(
    root: Path, tmp_path: Path, how: signal.Signals, gap: float
):
    process = start_build(root, tmp_path / "m")
    assert wait_for_parts(process, tmp_path / "m", 3)
    process.send_signal(how)
    time.sleep(gap)
    process.send_signal(how)
    _, error = process.communicate(timeout=30)
    assert (process.returncode, error.strip()) == (130, "Interrupted.")
    assert [p.name for p in (tmp_path / "m").glob(".*.tmp*")] == []
