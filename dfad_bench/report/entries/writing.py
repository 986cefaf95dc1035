"""A finished run to its entry: built apart, checked as a stranger would, then moved to its place in one step."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dfad_bench.core.errors import ConfigError, DFADError
from dfad_bench.core.files import atomic_path, sha256_file, write_json, write_packed_json
from dfad_bench.core.record import ResultRecord, plain, read_record, seal
from dfad_bench.core.run_folder import PACKED_RECORD, PREDICTIONS, SEED
from dfad_bench.core.run_parquet import read_predictions, write_predictions
from dfad_bench.report.copies import one_checkpoint
from dfad_bench.report.entries.checking import entry_of
from dfad_bench.report.entries.content import content_faults
from dfad_bench.report.entries.entry import Entry, StoredFile, WeightLicence, read_entry, stated_facts
from dfad_bench.report.entries.layout import (
    ENTRY,
    FILE_BYTES,
    PART_ROWS,
    Place,
    place_of,
    shared_file,
    shared_names,
)
from dfad_bench.report.entries.private import private_names, without_private
from dfad_bench.report.verify import ConfigHash, Verification

Outcome = Literal["written", "unchanged", "replaced", "refused"]
_BUILDING = ".submit-"  # folders in which entries are built


@dataclass(frozen=True)
class Submission:
    """A run and what is said of it beside its record."""

    run: Path
    record: ResultRecord
    card: Mapping[str, Any] | None
    weights: tuple[WeightLicence, ...]
    verified: Verification


@dataclass(frozen=True)
class Submitted:
    """What became of a run: where its entry is, why there is none, what was left out of the record or not checked."""

    run: Path
    outcome: Outcome
    place: str = ""
    reasons: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def submit_run(asked: Submission, root: Path, *, config_hash: ConfigHash, replace_old: bool = False) -> Submitted:
    """Write the entry of a run, or say in full why not.

    Args:
        asked: the run.
        root: folder of all entries.
        config_hash: the hash of a run's settings, for records from whose settings a path is left out.
        replace_old: let it take the place of another entry of the same settings and seed.
    """
    reasons = [f"does not follow: {one}" for one in asked.verified.differences]
    try:
        record, left_out = _without_private(asked.record, config_hash)
        place = place_of(record)
    except (DFADError, ValueError) as error:
        return Submitted(asked.run, "refused", reasons=(*reasons, str(error)))
    reasons += content_faults(record, asked.card, asked.weights)
    target = place.folder(root)
    twin = _twin(record, target)
    reasons += [f"has the numbers of {twin}: one set of weights under two seeds"] if twin else []
    old = _entry_there(target)
    mine = asked.record.record_id
    if old is not None and mine in (old.record_id, old.run_record_id) and not reasons:
        if not entry_of(target, root).faults:
            return Submitted(asked.run, "unchanged", str(place), left_out=left_out)
    elif target.exists() and not replace_old:
        what = f"another record ({old.record_id[:8]})" if old else "something that is no entry"
        reasons.append(f"{place} holds {what} of these settings and seed; --replace takes its place")
    if reasons:
        return Submitted(asked.run, "refused", str(place), tuple(dict.fromkeys(reasons)), left_out)
    built = root / f"{_BUILDING}{secrets.token_hex(4)}"
    try:
        faults = _build(asked, record, left_out, place, built)
        if not faults:
            _move(built, root, place)
    finally:
        shutil.rmtree(built, ignore_errors=True)
    outcome: Outcome = "refused" if faults else "replaced" if old is not None else "written"
    return Submitted(asked.run, outcome, str(place), tuple(faults), left_out, asked.verified.notes)


def _without_private(record: ResultRecord, config_hash: ConfigHash) -> tuple[ResultRecord, tuple[str, ...]]:
    """The record without paths of the machine and names, sealed anew where such stood in it; and where they stood."""
    values = plain(record)
    # `predictions.path` and names of files are bound by hashes, and plain relative paths
    clean, places = without_private(values, private_names())
    if not places:
        return record, ()
    if any(place.startswith("run.config") for place in places):
        clean["run"]["config_sha256"] = config_hash(clean["run"]["config"])
    return seal({key: value for key, value in clean.items() if key != "record_id"}), tuple(places)


def _twin(record: ResultRecord, target: Path) -> str:
    """Another seed of the same settings that has the same numbers; empty where there is none."""
    for folder in sorted(target.parent.glob(f"{SEED}*")):
        if folder == target:
            continue
        with suppress(DFADError):  # a broken entry is named when entries are verified
            if one_checkpoint(record, read_record(folder / PACKED_RECORD)):
                return folder.name
    return ""


def _entry_there(target: Path) -> Entry | None:
    try:
        return read_entry(target)
    except DFADError:
        return None


def _build(
    asked: Submission, record: ResultRecord, left_out: Sequence[str], place: Place, built: Path
) -> tuple[str, ...]:
    """Write the entry below a folder of its own, in the layout of all entries; returns what does not hold of it."""
    folder = place.folder(built)
    folder.mkdir(parents=True)
    write_packed_json(folder / PACKED_RECORD, plain(record))
    stored = _write_predictions(asked.run / record.predictions.path, folder)
    stated = {name: record.run.files[name] for name in shared_names(record) if name in record.run.files}
    for name, digest in stated.items():
        _copy(asked.run / name, shared_file(built, place.protocol, digest))
    entry = Entry(
        **stated_facts(record), card=dict(asked.card or {}), files=stored, shared=stated, weights=asked.weights,
        run_record_id=asked.record.record_id if left_out else None, left_out=tuple(left_out),
    )  # fmt: skip
    write_json(folder / ENTRY, plain(entry))
    return entry_of(folder, built).faults


def _write_predictions(source: Path, folder: Path) -> dict[str, StoredFile]:
    """The predictions as they are, so that their hash holds; in parts where the file is too large for that."""
    frame = read_predictions(source)
    if source.stat().st_size <= FILE_BYTES and len(frame) <= PART_ROWS:
        _copy(source, folder / PREDICTIONS)
        return {PREDICTIONS: StoredFile(sha256_file(source), len(frame))}
    found = {}
    for number, first in enumerate(range(0, len(frame), PART_ROWS)):
        path = folder / f"{Path(PREDICTIONS).stem}-{number:05d}{Path(PREDICTIONS).suffix}"
        part = frame.iloc[first : first + PART_ROWS]
        found[path.name] = StoredFile(write_predictions(path, part), len(part))
    return found


def _copy(source: Path, target: Path) -> None:
    try:
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
    except FileNotFoundError as error:
        raise ConfigError(f"{source}: no such file; an entry needs it") from error


def _move(built: Path, root: Path, place: Place) -> None:
    """Move a built entry to its place: shared files first, so that a kill leaves none without them."""
    for path in sorted((built / place.protocol).glob("shared/*")):
        target = shared_file(root, place.protocol, path.stem)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    target = place.folder(root)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target.replace(built / "replaced")
    place.folder(built).replace(target)
