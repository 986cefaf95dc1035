"""Runs of several seeds, checked as one: each run, and the mean that stands beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dfad_bench.core.files import read_json
from dfad_bench.core.record import plain, read_record
from dfad_bench.core.run_folder import SeedsFolder
from dfad_bench.report.aggregate import seeds_table
from dfad_bench.report.record_diff import differences, leaves
from dfad_bench.report.verify import Verification


def verify_seeds(folder: Path, found: Sequence[Verification]) -> Verification:
    """What was found in runs of several seeds as one; the mean that stands beside them is computed again.

    Args:
        folder: of the runs.
        found: of each run.

    Raises:
        ConfigError: runs that differ in more than the seed.
    """
    summary = SeedsFolder(folder).summary
    names = [one.record.parent.name for one in found]
    compared = sum(one.compared for one in found)
    wrong = [
        replace(d, name=f"{name}: {d.name}") for name, one in zip(names, found, strict=True) for d in one.differences
    ]
    notes = [f"{name}: {note}" for name, one in zip(names, found, strict=True) for note in one.notes]
    unchecked = [f"{name}: {note}" for name, one in zip(names, found, strict=True) for note in one.unchecked]
    repredicted = tuple(each for one in found for each in one.repredicted)
    if not summary.is_file():
        unchecked += [f"no {summary.name}: no mean to check"]
        return Verification(folder, compared, tuple(wrong), (*notes, unchecked[-1]), tuple(unchecked), repredicted)
    whole = seeds_table([read_record(one.record, verify=False, ranges=False) for one in found], every=True)
    stated, ours = read_json(summary), plain({"title": whole.title, "rows": [dict(row) for row in whole.rows]})
    wrong += differences(summary.name, stated, ours)
    return Verification(summary, compared + leaves(stated), tuple(wrong), tuple(notes), tuple(unchecked), repredicted)
