"""The committed boards are those of the committed entries."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfad_bench.api.entries import VerifiedEntries, board_files, verify_entries
from dfad_bench.report.entries.checking import among_each_other, entry_of, find_entries
from dfad_bench.report.leaderboard import shipped_records

BOARDS = Path(__file__).parents[2] / "leaderboards" / "boards"
KIBIBYTES = 8_000  # of all entries


def unequal_files(found: VerifiedEntries) -> list[str]:
    made = board_files(found)
    there = {path.name: path.read_text(encoding="utf-8") for path in BOARDS.iterdir() if path.name != "README.md"}
    return sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))


@pytest.mark.heavy
def test_committed_boards_are_those_of_the_committed_entries() -> None:
    root = shipped_records()
    folders, further = find_entries(root)
    found, lines = among_each_other([entry_of(folder, root) for folder in folders], root)
    entries = VerifiedEntries(root, tuple(found), (*further, *lines))
    assert entries.faults == []
    assert unequal_files(entries) == [], "`make boards` renders them again"


@pytest.mark.slow  # two seconds of processor an entry; `make entries` in .ci/run does it, too
def test_every_committed_entry_follows_from_its_predictions() -> None:
    assert verify_entries().faults == []


def test_the_committed_entries_are_small() -> None:
    files = [path for path in shipped_records().parent.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < KIBIBYTES << 10
    assert not [path for path in files if path.is_symlink()]
