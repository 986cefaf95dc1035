"""A full disk: one clear line, what was written stays, and the same command goes on when there is room."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.faults import OPTIONS, build_here, digests, environment, flat_tree, parts, start_build

from dfad_bench.core.errors import DFADError
from dfad_bench.data.crop_store import CropStore
from dfad_bench.data.manifest import Manifest

CHILD = """
import resource, runpy, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
runpy.run_module("dfad_bench", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def small_disk(tmp_path: Path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("a tmpfs needs root; the file size limit is tested instead")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs here ({mounted.stderr.strip()}); the file size limit is tested instead")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.heavy
@pytest.mark.parametrize("workers", [0, 2])
def test_a_full_disk_is_one_line_and_the_build_goes_on_later(tmp_path: Path, small_disk: Path, workers: int):
    root = flat_tree(tmp_path / "root", 60)
    build_here(root, tmp_path / "whole")
    process = start_build(root, small_disk / "m", workers=workers)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 1
    assert error.count("\n") == 1, error
    assert "the disk is full; free some space and run the same command again" in error
    kept = parts(small_disk / "m")
    assert kept > 2
    assert not (small_disk / "m/manifest.json").exists()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    report = build_here(root, small_disk / "m")
    assert report.parts_kept >= kept - 1
    assert digests(small_disk / "m") == digests(tmp_path / "whole")


@pytest.mark.heavy
@pytest.mark.parametrize("limit", [1, 200, 20_000])
def test_files_that_may_not_grow_are_one_line(tmp_path: Path, limit: int):
    root = flat_tree(tmp_path / "root", 8)
    command = [sys.executable, "-c", CHILD, str(limit), "build-manifest", "--dataset", "extra", "--root", str(root)]
    command += ["--out", str(tmp_path / "m"), "--workers", "0", *OPTIONS]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False, timeout=120)
    assert done.returncode == 1, done.stderr
    assert "free some space and run the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert build_here(root, tmp_path / "m").rows == 8


@pytest.mark.heavy
def test_every_write_of_a_build_survives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The n-th file finds the disk full, for every n: the line is the same, and the rest can be done after it."""
    from dfad_bench.core import files
    from dfad_bench.core.errors import DFADError

    root = flat_tree(tmp_path / "root", 6)
    build_here(root, tmp_path / "whole")
    replace = Path.replace
    number, full_at = 0, 0

    def fill(self: Path, target: Path) -> Path:
        nonlocal number
        number += 1
        if number == full_at:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(files.Path, "replace", fill)
    for full_at in range(1, 13):
        number = 0
        out = tmp_path / f"m{full_at}"
        with pytest.raises(DFADError, match="the disk is full"):
            build_here(root, out)
        assert not (out / "manifest.json").exists()
        assert [p.name for p in out.glob(".*.tmp*")] == []
        number = full_at + 1
        build_here(root, out)
        assert digests(out) == digests(tmp_path / "whole")
    number, full_at = 0, 13
    build_here(root, tmp_path / "m13")
    assert number == 12  # settings, three parts with their JSON and what their sources looked like, card, summary


def test_decoded_crops_on_a_full_disk_are_one_line(tmp_path: Path, small_disk: Path):
    """The file they lie in is mapped into memory: where its room is not taken before, writing kills the process."""
    build_here(flat_tree(tmp_path / "root", 30), tmp_path / "m")
    manifest = Manifest.open(tmp_path / "m")
    rows = manifest.frame(["sample_id", "dataset", "crop_sha256"])
    with pytest.raises(DFADError, match="the disk is full"):
        CropStore.open(rows, [manifest], 256, folder=small_disk)
    assert not [path for path in small_disk.iterdir() if path.suffix != ".lock"]
    assert len(CropStore.open(rows, [manifest], 32, folder=small_disk).array) == len(rows)
