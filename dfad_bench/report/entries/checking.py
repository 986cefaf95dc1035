"""Entries as they are read: written by anybody, so every name, size and hash is checked before a number is.

Nothing here trusts what an entry says of itself. What does not hold is a line; a board strikes out the row.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dfad_bench.core.errors import DFADError, IntegrityError, cut, listed
from dfad_bench.core.files import sha256_file
from dfad_bench.core.record import ResultRecord, plain, read_record
from dfad_bench.core.run_folder import PACKED_RECORD, PREDICTIONS, SELECTION
from dfad_bench.core.run_parquet import prediction_files
from dfad_bench.report.copies import one_checkpoint, row_key
from dfad_bench.report.entries.content import content_faults
from dfad_bench.report.entries.entry import Entry, read_entry, stated_facts
from dfad_bench.report.entries.layout import (
    DEPTH,
    DOCUMENT,
    ENTRY,
    SHARED,
    is_part,
    is_shared,
    place_of,
    shared_file,
    shared_names,
)
from dfad_bench.report.entries.parquet import Kind, check_size, read_bounded
from dfad_bench.report.entries.private import private_places
from dfad_bench.report.record_diff import differences
from dfad_bench.report.verify import ConfigHash, RowsHash, verify_record

_FILES = 100  # of one entry


@dataclass(frozen=True)
class EntryCheck:
    """What was found of one entry; `place` is its folder below the root, `faults` are empty where all holds."""

    place: str
    folder: Path
    record: ResultRecord | None = None
    compared: int = 0
    faces: int = 0
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def find_entries(root: Path) -> tuple[list[Path], list[str]]:
    """The folders of entries below a root, and a line for whatever else lies there."""
    found, faults = [], []
    for top, folders, files in os.walk(root):
        here = Path(top)
        parts = here.relative_to(root).parts
        folders.sort()
        if links := [name for name in folders if (here / name).is_symlink()]:
            faults += [f"{_relative_name(root, here / name)}: a link" for name in links]
        if len(parts) == DEPTH:
            found.append(here)
            folders.clear()
        elif len(parts) == 2 and parts[1] == SHARED:
            odd = [name for name in [*folders, *files] if not is_shared(name) or not _is_plain(here / name)]
            faults += [f"{_relative_name(root, here / name)}: no file that entries share" for name in sorted(odd)]
            folders.clear()
        else:
            odd = sorted(name for name in files if parts or name != DOCUMENT)
            faults += [f"{_relative_name(root, here / name)}: no part of an entry" for name in odd]
    return found, faults


def entry_of(folder: Path, root: Path) -> EntryCheck:
    """An entry with what can be said without computing a number: names, sizes, hashes, what the record must hold."""
    place = _relative_name(root, folder)
    if faults := list(_odd_files(folder)):
        return EntryCheck(place, folder, faults=tuple(faults))
    try:
        entry, record = read_entry(folder), read_record(folder / PACKED_RECORD)
    except DFADError as error:
        return EntryCheck(place, folder, faults=(_without_root(error, root),))
    faults = [*_of_place(record, place), *_of_statement(entry, record), *_of_files(folder, entry, record)]
    faults += [*_of_shared(root, entry, record), *content_faults(record, entry.card, entry.weights)]
    faces = sum(stored.rows for stored in entry.files.values())
    return EntryCheck(place, folder, record, faces=faces, faults=tuple(faults))


def check_entry(
    folder: Path, root: Path, *, rows_hash: RowsHash | None = None, config_hash: ConfigHash | None = None
) -> EntryCheck:
    """An entry with every number of it computed again from its predictions; arguments as of `verify.verify_record`.

    What is not plain enough to be read is not computed.
    """
    found = entry_of(folder, root)
    if found.record is None or found.faults:
        return found
    try:
        seen = verify_record(
            folder / PACKED_RECORD, rows_hash=rows_hash, config_hash=config_hash,
            elsewhere=elsewhere(found.record, root),
        )  # fmt: skip
    except DFADError as error:
        return replace(found, faults=(_without_root(error, root),))
    return replace(found, compared=seen.compared, faults=tuple(map(str, seen.differences)), notes=seen.notes)


def elsewhere(record: ResultRecord, root: Path) -> dict[str, Path]:
    """The files of a run that its entry shares with others, by their name in the run; where they are there."""
    stated = {name: record.run.files.get(name) for name in shared_names(record)}
    paths = {name: shared_file(root, record.protocol.name, digest) for name, digest in stated.items() if digest}
    return {name: path for name, path in paths.items() if path.is_file()}


def among_each_other(checks: Sequence[EntryCheck], root: Path) -> tuple[list[EntryCheck], list[str]]:
    """Entries with what shows only beside others, and a line for each shared file that none of them names.

    Two entries of one seed, or of one set of weights under two seeds, are one run that is counted twice.
    """
    found: list[EntryCheck] = []
    for check in checks:
        twin = next((other for other in found if _is_twin(check, other)), None)
        line = f"the same run as {twin.place}" if twin else ""
        found.append(replace(check, faults=(*check.faults, line)) if line else check)
    used = {path for check in checks if check.record for path in elsewhere(check.record, root).values()}
    there = {path for path in root.glob(f"*/{SHARED}/*") if is_shared(path.name) and _is_plain(path)}
    lines = [f"{_relative_name(root, path)}: no entry names it" for path in sorted(there - used)]
    changed = [path for path in sorted(there & used) if path.name != f"{sha256_file(path)}{path.suffix}"]
    return found, lines + [f"{_relative_name(root, path)}: its name is not its hash" for path in changed]


def _is_twin(check: EntryCheck, other: EntryCheck) -> bool:
    a, b = check.record, other.record
    if a is None or b is None or row_key(a) != row_key(b):
        return False
    return a.run.seed == b.run.seed or one_checkpoint(a, b)


def _odd_files(folder: Path) -> Iterator[str]:
    names = sorted(path.name for path in folder.iterdir())
    if len(names) > _FILES:
        yield f"{len(names):,} files; an entry has at most {_FILES}"
        return
    for name in names:
        if not _is_plain(folder / name):
            yield f"{cut(name)} is a link or a folder"
        elif name not in (ENTRY, PACKED_RECORD) and not is_part(name):
            yield f"{cut(name)} is no file of an entry"


def _of_place(record: ResultRecord, place: str) -> Iterator[str]:
    try:
        right = str(place_of(record))
    except ValueError as error:
        yield str(error)
        return
    if right != place:
        yield f"its record belongs to {right}"


def _of_statement(entry: Entry, record: ResultRecord) -> Iterator[str]:
    stated = plain(entry)
    for name, value in plain(stated_facts(record)).items():
        said = stated.get(name, [] if value == [] else None)
        yield from (f"{ENTRY}: {one}" for one in differences(name, said, value))
    if places := private_places(stated):
        yield f"{ENTRY}: paths of a machine in {listed(places, 3)}"


def _of_files(folder: Path, entry: Entry, record: ResultRecord) -> Iterator[str]:
    """The predictions: all parts that are stated, no other, each of the stated hash and rows."""
    if record.predictions.path != PREDICTIONS:
        yield f"predictions.path must be {PREDICTIONS}, got {cut(record.predictions.path)}"
    there = [path.name for path in prediction_files(folder / PREDICTIONS)]
    others = {path.name for path in folder.iterdir() if is_part(path.name)}
    if not there or set(entry.files) != set(there) or others != set(there):
        named, found = (listed(sorted(names), 3) or "none" for names in (entry.files, others))
        yield f"{ENTRY} names as predictions {named}; there are {found}"
        return
    for name in there:
        yield from _of_file(folder / name, entry.files[name].sha256, "predictions", entry.files[name].rows)


def _of_shared(root: Path, entry: Entry, record: ResultRecord) -> Iterator[str]:
    """Reference predictions and the selection, by the hashes that the record states."""
    names = [name for name in shared_names(record) if record.imported is None or name in record.run.files]
    wanted = {name: record.run.files.get(name) for name in names}
    if wanted != dict(entry.shared):
        yield f"{ENTRY}: shared is {dict(entry.shared)}, by its record {wanted}"
        return
    for name, digest in entry.shared.items():
        if not is_shared(f"{digest}.parquet"):
            yield f"{ENTRY}: shared.{cut(name)} is no hash"
            continue
        kind: Kind = "selection" if name == SELECTION else "predictions"
        yield from _of_file(shared_file(root, record.protocol.name, digest), digest, kind, None)


def _of_file(path: Path, digest: str, kind: Kind, rows: int | None) -> Iterator[str]:
    if not path.is_file():
        yield f"{path.name} is missing"
        return
    try:
        check_size(path)
        if sha256_file(path) != digest:
            yield f"{path.name}: another hash than {ENTRY} states"
            return
        frame = read_bounded(path, kind)
    except IntegrityError as error:
        yield _without_root(error, path.parent)
        return
    if rows is not None and len(frame) != rows:
        yield f"{path.name}: {len(frame):,} rows, {ENTRY} states {rows:,}"


def _without_root(error: DFADError, root: Path) -> str:
    return str(error).replace(f"{root}/", "")


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _relative_name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def all_faults(checks: Iterable[EntryCheck], further: Iterable[str]) -> list[str]:
    """A line for each thing that does not hold, with where."""
    return [f"{check.place}: {fault}" for check in checks for fault in check.faults] + list(further)
