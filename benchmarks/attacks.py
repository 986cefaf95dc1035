"""Attacks in numbers: what was sent, how often something crashed, hung, was believed or was lost.

Signals in pairs, stopped workers, archives with flipped bits, lists that name a file twice, hostile values in every
file of text, swapped pixels behind hashes that fit, hostile names in every format of output, every other file that is
read from outside changed and signed again. Needs Linux; some eight minutes. Ends with exit code 1 where an attack came
through.

Example: python benchmarks/attacks.py --out benchmarks/results/attacks.json
"""

from __future__ import annotations

import shutil
import sys
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from helpers.attacks import (
    answers,
    damage_archives,
    doubled_lists,
    empty_archives,
    flip_stream_bits,
    hostile_documents,
    interrupt_twice,
    stop_workers,
    swap_after_listing,
)
from helpers.faults import build_here, digests, flat_tree
from helpers.hostile_names import HOSTILE
from helpers.hostile_outputs import through_every_format
from helpers.outside import change_all, change_weights_and_checkpoints
from helpers.suites import HARDWARE, Row, Suites, arguments, run_suites, shown
from helpers.swapped_pixels import FORGED, use_forged

from dfad_bench.core.files import write_json
from dfad_bench.core.resources import shipped
from dfad_bench.report.table import Column, Table, render

COLUMNS = (
    Column("what", "what", "text"),
    Column("tried", "tried", "count"),
    Column("crashes", "crashes", "count"),
    Column("lost", "rows lost", "count"),
    Column("wrong", "came through", "count"),
    Column("seconds", "seconds", "text"),
)
EARLIER_RUN = Path(__file__).resolve().parents[1] / "tests" / "fixtures" / "earlier_run"


def signals(folder: Path, size: float) -> Row:
    """Two signals 0 to 50 ms apart to a build, then the build once more."""
    root = flat_tree(folder / "root", 120)
    build_here(root, folder / "whole")
    number = max(4, int(24 * size))
    wrong = interrupt_twice(root, folder / "m", number)
    build_here(root, folder / "m")
    lost = sum(digests(folder / "m").get(name) != digest for name, digest in digests(folder / "whole").items())
    return {"tried": number, "crashes": wrong, "lost": lost}


def stopped(folder: Path, size: float) -> Row:
    """Workers stopped by SIGSTOP."""
    number = max(1, int(4 * size))
    return {"tried": number, "crashes": 0, "lost": stop_workers(folder / "m", number)}


def stream_bits(folder: Path, size: float) -> Row:
    """Single bits of archives that have checksums."""
    number = int(600 * size)
    return {"tried": number, "crashes": 0, "lost": 0, "wrong": flip_stream_bits(folder, number)}


def archives(folder: Path, size: float) -> Row:
    """Damaged archives, and empty ones in a build, each of which must be named."""
    number = int(400 * size)
    crashes, longest = damage_archives(folder, number)
    empty = empty_archives(folder)
    silent = 0
    for name, data in empty.items():
        root = flat_tree(folder / name / "root", 1)
        (root / name).write_bytes(data)
        report = build_here(root, folder / name / "m")
        silent += not any("archive" in kind for kind in report.ignored)
    tried = number + len(empty)
    return {"tried": tried, "crashes": crashes + int(longest > 5), "lost": 0, "wrong": silent, "longest_s": longest}


def lists(folder: Path, size: float) -> Row:
    """One file named twice in a list; at most one row may come of it, and one of a file that is named once."""
    listed_twice, listed_once = doubled_lists(folder)
    wrong, lost = (
        sum(build() > 1 for build in listed_twice.values()),
        sum(build() != 1 for build in listed_once.values()),
    )
    return {"tried": len(listed_twice) + len(listed_once), "crashes": 0, "lost": lost, "wrong": wrong}


def documents(folder: Path, size: float) -> Row:
    """Hostile values in every file of text that a command reads, the command run on each."""
    number = max(2, int(50 * size))
    faults: list[str] = []
    tried = 0
    for path, commands in _files_of_text(folder):
        whole = path.read_text()
        for text in islice(hostile_documents(whole, yaml=path.suffix == ".yaml"), number // len(commands)):
            path.write_text(text, errors="surrogatepass")
            for command in commands:
                tried += 1
                if fault := answers(command.split()):
                    faults.append(f"{path.name}: {command.split()[0]}: {fault}")
        path.write_text(whole)
    return {"tried": tried, "crashes": len(faults), "lost": 0, "examples": sorted(set(faults))[:20]}


def _files_of_text(folder: Path) -> list[tuple[Path, list[str]]]:
    """Files that people exchange, each with the commands that read it."""
    root, manifest, run, included = folder / "root", folder / "m", folder / "runs" / "run", folder / "mine"
    build_here(flat_tree(root, 2), manifest)
    shutil.copytree(EARLIER_RUN, run)
    dataset, protocol = folder / "dataset.yaml", folder / "protocol.yaml"
    shutil.copy(shipped("manifests") / "datasets" / "synthetic.yaml", dataset)
    shutil.copy(shipped("manifests") / "protocols" / "synthetic.yaml", protocol)
    lists = {"recipes/default.yaml": "recipes", "crops/raw-256.yaml": "crops", "taxonomy.yaml": "generators"}
    for name in lists:
        (included / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(shipped("manifests") / name, included / name)
    of_run = [f"scores --run {run}", f"verify-record --run {run}", f"leaderboard --protocol synthetic --runs {run}"]
    return [
        (dataset, [f"doctor --dataset {dataset} --root {root}"]),
        (
            protocol,
            [
                f"check-manifest --manifest {manifest} --protocol {protocol}",
                f"leaderboard --protocol {protocol} --runs {run}",
            ],
        ),
        (
            manifest / "manifest.json",
            [f"check-manifest --manifest {manifest}", f"gaze-extract --manifest {manifest} --quiet"],
        ),
        *((run / name, of_run) for name in ("run.json", "record.json", "config.yaml")),
        *((included / name, [f"list {kind} --long --include {included}"]) for name, kind in lists.items()),
    ]


def links(folder: Path, size: float) -> Row:
    """Files replaced by links to the outside after they were listed."""
    number = max(3, int(30 * size))
    return {"tried": number, "crashes": 0, "lost": 0, "wrong": swap_after_listing(folder, number)}


def pixels(folder: Path, size: float) -> Row:
    """Pictures that are not those of their rows, behind hashes that fit, given to all that reads pictures."""
    names = list(FORGED)[:: max(1, round(0.5 / size))]
    tried, faults = use_forged(folder, max(1, int(2 * size)), names)
    return {"tried": tried, "crashes": 0, "lost": 0, "wrong": len(faults), "examples": faults[:20]}


def names(folder: Path, size: float) -> Row:
    """Strangers' names in every format of output, read back."""
    tried, faults = through_every_format(folder, HOSTILE[:: max(1, round(1 / size))])
    return {"tried": tried, "crashes": 0, "lost": 0, "wrong": len(faults), "examples": faults[:20]}


def outside_files(folder: Path, size: float) -> Row:
    """Files of runs and evaluations, published tables: changed, signed again, read."""
    tried, faults = change_all(folder, max(20, int(400 * size)))
    return {"tried": tried, "crashes": len(faults), "lost": 0, "examples": faults[:20]}


def weights(folder: Path, size: float) -> Row:
    """Weight files and checkpoints: changed, signed again, read."""
    tried, faults = change_weights_and_checkpoints(folder, max(12, int(500 * size)))
    return {"tried": tried, "crashes": len(faults), "lost": 0, "examples": faults[:20]}


SUITES: Suites = {
    "signals": ("two signals to a build", signals),
    "stopped": ("stopped workers", stopped),
    "stream_bits": ("single bits of checked archives", stream_bits),
    "archives": ("damaged and empty archives", archives),
    "lists": ("files named twice in a list", lists),
    "documents": ("hostile values in files of text", documents),
    "links": ("files replaced by links", links),
    "pixels": ("pixels swapped behind their hashes", pixels),
    "names": ("hostile names in outputs", names),
    "outside_files": ("files of runs changed and signed again", outside_files),
    "weights": ("weight files and checkpoints changed", weights),
}


def main() -> None:
    asked = arguments(__doc__, SUITES)
    rows = run_suites(SUITES, asked)
    tried, crashes, lost, wrong = (
        sum(row[key] for row in rows.values()) for key in ("tried", "crashes", "lost", "wrong")
    )
    verdict = f"{tried:,} attacks tried, {crashes} crashes, {wrong} came through, {lost} rows lost"
    sys.stdout.write(render(Table("Attacks", COLUMNS, shown(rows)), "rich"))
    sys.stdout.write(f"\n{verdict}\n")
    if asked.out:
        write_json(asked.out, {"verdict": verdict, "suites": rows, "size": asked.size, "hardware": HARDWARE})
    sys.exit(int(any(row["crashes"] or row["lost"] or row["wrong"] for row in rows.values())))


if __name__ == "__main__":
    main()
