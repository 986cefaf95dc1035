"""Where entries lie, what their files are called, and how large each may be.

    ROOT/<protocol>/<model>/<settings>/seed-<k>/entry.json          see `entry.Entry`
    ROOT/<protocol>/<model>/<settings>/seed-<k>/record.json.gz      the record, packed
    ROOT/<protocol>/<model>/<settings>/seed-<k>/predictions.parquet    or predictions-00000.parquet, ... of many faces
    ROOT/<protocol>/shared/<sha256>.parquet      what runs have in common: selected faces, reference predictions

`<settings>` is of all that rows of a board are told apart by, so that two entries of one place are one run trained
twice. Names follow from the record: an entry elsewhere is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dfad_bench.core.record import ResultRecord
from dfad_bench.core.run_folder import PACKED_RECORD, PREDICTIONS, SEED, SELECTION
from dfad_bench.report.copies import row_key

ENTRY, SHARED = "entry.json", "shared"
DOCUMENT = "README.md"  # the one other file, at the root
DEPTH = 4  # folders from the root to an entry
FILE_BYTES = 8 << 20  # of a Parquet file
PART_ROWS = 100_000  # predictions of more faces are kept in parts
ROWS = 2_000_000  # of an entry
UNPACKED_BYTES = 256 << 20  # of a Parquet file
COLUMNS = 1_000
_KEY = 10  # digits of a hash in the name of a folder
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_SHARED = re.compile(r"[0-9a-f]{64}\.parquet")
_PARTS = re.compile(rf"{re.escape(Path(PREDICTIONS).stem)}(-[0-9]{{5}})?\.parquet")


@dataclass(frozen=True)
class Place:
    """Where an entry belongs: names of folders below the root."""

    protocol: str
    model: str
    settings: str
    seed: str

    def folder(self, root: Path) -> Path:
        """Its folder."""
        return Path(root) / self.protocol / self.model / self.settings / self.seed

    def __str__(self) -> str:
        return "/".join((self.protocol, self.model, self.settings, self.seed))


def place_of(record: ResultRecord) -> Place:
    """Where the entry of a record belongs.

    Raises:
        ValueError: the name of its protocol or model is none that a folder can have.
    """
    model = record.model.name
    if record.imported is not None:  # anybody's words
        words = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")[:40]
        model = f"imported-{words or 'model'}"
    for name in (record.protocol.name, model):
        if not _NAME.fullmatch(name) or ".." in name or name == SHARED:
            raise ValueError(f"{name!a} cannot be the name of a folder of entries")
    return Place(record.protocol.name, model, row_key(record)[:_KEY], f"{SEED}{record.run.seed_text.replace(' ', '-')}")


def shared_file(root: Path, protocol: str, sha256: str) -> Path:
    """A file that several entries of a protocol have in common."""
    return Path(root) / protocol / SHARED / f"{sha256}.parquet"


def shared_names(record: ResultRecord) -> list[str]:
    """Names, in a run, of the files that its entry shares with others: reference predictions, and the selection."""
    return [*(about.path for about in record.run.references.values()), SELECTION]


def is_part(name: str) -> bool:
    """Whether a file is of predictions, by its name."""
    return _PARTS.fullmatch(name) is not None


def is_shared(name: str) -> bool:
    """Whether a file is one that entries share, by its name."""
    return _SHARED.fullmatch(name) is not None


def is_entry(path: Path) -> bool:
    """Whether a record is that of an entry, by its path."""
    return path.name == PACKED_RECORD


def lost_entries(folders: Iterable[Path]) -> list[str]:
    """A line for each entry under folders whose record is not there: no row of a board can be made of it."""
    entries = [path.parent for folder in folders for path in sorted(Path(folder).rglob(ENTRY))]
    return [f"left out: {entry}: no {PACKED_RECORD}" for entry in entries if not (entry / PACKED_RECORD).exists()]
