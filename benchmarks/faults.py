"""Bad inputs and bad luck in numbers: how many were tried, how many crashed anything, how many rows were lost.

Every line comes from real runs: damaged images, videos and manifest files, builds and workers that are killed,
a full disk, several builds at once. Needs Linux; about three minutes. Ends with exit code 1 where anything is lost.

Example: python benchmarks/faults.py --out benchmarks/results/faults.json
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from helpers.bad_videos import bad_videos, video_verdicts
from helpers.faults import (
    build_here,
    damaged_parts,
    digests,
    flat_tree,
    hand_made,
    kill_builds,
    kill_workers,
    mutants,
    start_build,
    verdicts,
)
from helpers.suites import HARDWARE, Row, Suites, arguments, run_suites, shown

from dfad_bench.core.errors import IntegrityError
from dfad_bench.core.files import write_json
from dfad_bench.data.manifest import Manifest
from dfad_bench.ingest.check import check_manifest
from dfad_bench.report.table import Column, Table, render

COLUMNS = (
    Column("what", "what", "text"),
    Column("tried", "tried", "count"),
    Column("crashes", "crashes", "count"),
    Column("lost", "rows lost", "count"),
    Column("wrong", "read wrongly", "count"),
    Column("seconds", "seconds", "text"),
)


def images(folder: Path, size: float) -> Row:
    """Damaged and hand-made images, each through the reader and the cropper."""
    hand_made(folder / "in")
    for name, data in mutants(int(2000 * size)):
        (folder / "in" / name).write_bytes(data)
    files = sorted((folder / "in").iterdir())
    counts = verdicts(files)
    crashes = counts.get("worker_crash", 0)
    return {"tried": len(files), "crashes": crashes, "lost": len(files) - sum(counts.values()), "outcomes": counts}


def videos(folder: Path, size: float) -> Row:
    """Damaged videos in a build with two workers."""
    files = bad_videos(folder / "in", int(300 * size))
    counts = video_verdicts(files, folder / "m")
    there = Manifest.open(folder / "m").frame(status=None)["origin"].nunique()
    crashes = counts.get("worker_crash", 0)
    return {"tried": len(files), "crashes": crashes, "lost": len(files) - there, "outcomes": counts}


def parts(folder: Path, size: float) -> Row:
    """Damaged Parquet parts: let pass by check-manifest, or read as other data."""
    build_here(flat_tree(folder / "root", 12), folder / "m", shard_size=5)
    number = int(1500 * size)
    passed, silent = damaged_parts(folder / "m", number, seed=2)
    return {"tried": number, "crashes": 0, "lost": 0, "wrong": passed + silent}


def bytes_flipped(folder: Path, size: float) -> Row:
    """One bit of one file of a finished manifest; wrong where check-manifest does not name the file."""
    build_here(flat_tree(folder / "root", 12), folder / "m", shard_size=5)
    rng = np.random.default_rng(0)
    tried = wrong = 0
    for name in digests(folder / "m"):
        path = folder / "m" / name
        data = path.read_bytes()
        for place in rng.integers(0, len(data), max(2, int(20 * size))):
            damaged = bytearray(data)
            damaged[place] ^= 1 << int(rng.integers(0, 8))
            path.write_bytes(bytes(damaged))
            tried += 1
            try:
                check_manifest(folder / "m")
                wrong += 1
            except IntegrityError as error:
                wrong += name not in str(error)
        path.write_bytes(data)
    return {"tried": tried, "crashes": 0, "lost": 0, "wrong": wrong}


def _compared(folder: Path, out: Path, tried: int, failed: int) -> Row:
    """Against the build nothing happened to: rows that are missing, files that differ."""
    whole, found = digests(folder / "whole"), digests(out)
    wanted = set(Manifest.open(folder / "whole").frame(status=None)["sample_id"])
    there = Manifest.open(out).frame(status=None)["sample_id"]
    differ = sum(found.get(name) != digest for name, digest in whole.items()) + len(found.keys() - whole.keys())
    lost = len(wanted - set(there)) + int(there.duplicated().sum())
    return {"tried": tried, "crashes": failed, "lost": lost, "wrong": differ}


def builds_killed(folder: Path, size: float) -> Row:
    """`kill -9` of a build's whole process group at random moments, then one more run."""
    root = flat_tree(folder / "root", 240)
    build_here(root, folder / "whole")
    kills = max(1, int(10 * size))
    at_work = kill_builds(root, folder / "m", kills)
    process = start_build(root, folder / "m")
    process.communicate(timeout=300)
    return {**_compared(folder, folder / "m", kills, int(process.returncode != 0)), "while_making_parts": at_work}


def workers_killed(folder: Path, size: float) -> Row:
    """`kill -9` of single workers of one build at random moments."""
    root = flat_tree(folder / "root", 600)
    build_here(root, folder / "whole")
    process = start_build(root, folder / "m")
    kills = kill_workers(process, folder / "m", max(1, int(10 * size)))
    process.communicate(timeout=300)
    return _compared(folder, folder / "m", kills, int(process.returncode != 0))


def full_disk(folder: Path, size: float) -> Row | None:
    """A small tmpfs runs full; the same command goes on after it has grown. Needs root."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        return None
    try:
        root = flat_tree(folder / "root", 60)
        build_here(root, folder / "whole")
        process = start_build(root, disk / "m")
        _, error = process.communicate(timeout=120)
        clean = process.returncode == 1 and "the disk is full" in error and error.count("\n") == 1
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        build_here(root, disk / "m")
        return _compared(folder, disk / "m", 1, int(not clean))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def at_once(folder: Path, size: float) -> Row:
    """Two and eight builds into one folder, and four shards of one build, all at the same time."""
    root = flat_tree(folder / "root", 24)
    build_here(root, folder / "whole")
    rows = []
    for name, options in (("two", [()] * 2), ("eight", [()] * 8), ("hosts", [("--shard", f"{k}/4") for k in range(4)])):
        started = [start_build(root, folder / name, *chosen, workers=1) for chosen in options]
        ended = [(process.communicate(timeout=300)[1], process.returncode) for process in started]
        failed = sum(code != 0 and "another build is writing here" not in error for error, code in ended)
        rows.append(_compared(folder, folder / name, len(started), failed))
    return {key: sum(row[key] for row in rows) for key in rows[0]}


SUITES: Suites = {
    "images": ("bad images", images),
    "videos": ("bad videos", videos),
    "parts": ("damaged Parquet parts", parts),
    "flips": ("single bits flipped in a finished manifest", bytes_flipped),
    "builds": ("builds killed", builds_killed),
    "workers": ("workers killed", workers_killed),
    "disk": ("full disks", full_disk),
    "at_once": ("builds at once", at_once),
}


def main() -> None:
    asked = arguments(__doc__, SUITES)
    rows = run_suites(SUITES, asked)
    kills = sum(rows[name]["tried"] for name in ("builds", "workers") if name in rows)
    inputs = sum(rows[name]["tried"] for name in ("images", "videos", "parts", "flips") if name in rows)
    crashes, lost = (sum(row[key] for row in rows.values()) for key in ("crashes", "lost"))
    verdict = f"{inputs:,} bad inputs tried, {crashes} crashes, {kills} kills survived, {lost} rows lost"
    sys.stdout.write(render(Table("Faults", COLUMNS, shown(rows)), "rich"))
    sys.stdout.write(f"\n{verdict}\n")
    if asked.out:
        write_json(asked.out, {"verdict": verdict, "suites": rows, "size": asked.size, "hardware": HARDWARE})
    sys.exit(int(any(row["crashes"] or row["lost"] or row["wrong"] for row in rows.values())))


if __name__ == "__main__":
    main()
