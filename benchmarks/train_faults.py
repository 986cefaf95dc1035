"""Bad luck of training runs in numbers: damaged checkpoints let through, runs that did not end with the same bits.

Every line comes from real runs: 600 damaged files of each kind, a run killed ten times (half of them in the middle of
a checkpoint's file) and gone on with each time, runs that get too little memory. Needs Linux; about two minutes. Ends
with exit code 1 where anything is lost. Too little memory is beyond the toolkit where a library aborts the process
itself: such runs are counted as `aborts`, and the run must go on afterwards to the same bits.

Example: python benchmarks/train_faults.py --out benchmarks/results/train_faults.json
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from helpers.suites import HARDWARE, Row, Suites, arguments, run_suites, shown
from helpers.toy import toy_manifests
from helpers.train_faults import Forked, damaged_checkpoints, differing, forked, kill_training, starved, train

from dfad_bench.core.files import write_json
from dfad_bench.engine.checkpoint import MODEL, OPTIMISER
from dfad_bench.report.table import Column, Table, render

COLUMNS = (
    Column("what", "what", "text"),
    Column("tried", "tried", "count"),
    Column("crashes", "crashes", "count"),
    Column("wrong", "accepted or different", "count"),
    Column("note", "", "text"),
    Column("seconds", "seconds", "text"),
)
DELAY_S, EPOCHS = 0.05, 20


def damaged(folder: Path, size: float) -> Row:
    """Damaged weights and optimiser states."""
    rows = [damaged_checkpoints(folder / name, name, int(600 * size), seed=4) for name in (MODEL, OPTIMISER)]
    total = {key: sum(row[key] for row in rows) for key in rows[0]}
    return {**total, "wrong": total["accepted"], "note": f"{total['refused']} refused, {total['identical']} unchanged"}


def killed(folder: Path, size: float) -> Row:
    """`kill -9` at random moments, half of them in the middle of a file; then one more run to the end."""
    toy_manifests(folder)
    train(folder, folder / "whole", DELAY_S, EPOCHS)
    out, kills = folder / "run", max(2, int(10 * size))

    def start(die_at: int) -> Forked:
        return forked(folder, out, DELAY_S, die_at, EPOCHS)

    hit, halves = kill_training(start, out, kills, kills // 2, seed=5)
    train(folder, out, DELAY_S, EPOCHS)
    wrong = len(differing(folder / "whole", out)) + len(list(out.rglob(".*.tmp*")))
    note = f"{hit} hit a run at work, {halves} left half a file"
    return {"tried": kills, "crashes": 0, "wrong": wrong, "hit": hit, "halves": halves, "note": note}


def memory(folder: Path, size: float) -> Row:
    """Limits of the address space, from far too little to not quite enough."""
    toy_manifests(folder)
    starved(folder, folder / "warm", 4000, 8, folder / "words")
    cases = [(mb, width) for width in (8, 64, 512, 2048) for mb in (5, 10, 20, 40, 80)][: max(2, int(20 * size))]
    codes, long = [], 0
    for number, (megabytes, width) in enumerate(cases):
        words = folder / f"words{number}"
        codes.append(starved(folder, folder / f"run{number}", megabytes, width, words))
        long += codes[-1] == 70 or (codes[-1] == 1 and words.read_text(encoding="utf-8").count("\n") != 1)
    aborts = sum(code < 0 for code in codes)
    note = f"{codes.count(1)} ended with one line, {codes.count(0)} had enough, {aborts} aborted by a library"
    return {"tried": len(cases), "crashes": long, "wrong": 0, "aborts": aborts, "note": note}


SUITES: Suites = {
    "damaged": ("damaged checkpoint files", damaged),
    "killed": ("runs killed", killed),
    "memory": ("runs with too little memory", memory),
}


def main() -> None:
    asked = arguments(__doc__, SUITES)
    torch.set_num_threads(1)  # runs are forks of this process
    rows = run_suites(SUITES, asked)
    sys.stdout.write(render(Table("Faults of training", COLUMNS, shown(rows)), "rich"))
    if asked.out:
        write_json(asked.out, {"suites": rows, "size": asked.size, "hardware": HARDWARE})
    sys.exit(int(any(row["crashes"] or row["wrong"] for row in rows.values())))


if __name__ == "__main__":
    main()
