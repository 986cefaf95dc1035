"""What this machine has checked of a record: a board believes its own checks, never what a record says of its trust.

A check is noted in a folder of the reader's own, by the hash of the whole record: `$DFAD_CHECKS`, else
`dfad_bench/checks` in the user's cache. Nothing that lies beside a record can claim to have been checked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dfad_bench.core.errors import DFADError, IntegrityError
from dfad_bench.core.files import read_json, safe_relative, sha256_file, write_json
from dfad_bench.core.record import ResultRecord, identity, read_record
from dfad_bench.core.version import __version__
from dfad_bench.report.verify import Verification

Level = Literal["repredicted", "follows", "claimed", "contradicted"]
LEVELS: Mapping[Level, str] = {
    "repredicted": "repredicted here",
    "follows": "numbers follow from predictions",
    "claimed": "claimed",
    "contradicted": "does not follow",
}
_ORDER: Sequence[Level] = ("contradicted", "claimed", "follows", "repredicted")
FOLDER = "DFAD_CHECKS"  # environment
_FORM = 1  # of the notes; others are not read


@dataclass(frozen=True)
class Check:
    """How far a record was checked here, why not further, and where it lies."""

    level: Level = "claimed"
    why: str = "not checked"
    place: str = ""

    @property
    def rank(self) -> int:
        """Higher where more was checked."""
        return _ORDER.index(self.level)

    @property
    def checked(self) -> bool:
        """Whether its numbers are known to follow from its predictions, at least."""
        return self.level in ("follows", "repredicted")

    def __str__(self) -> str:
        return LEVELS[self.level]


def check_of(found: Verification) -> Check:
    """What a verification shows."""
    if found.differences:
        return Check("contradicted", "; ".join(map(str, found.differences[:2])))
    return Check("repredicted" if found.repredicted else "follows", "")


def note_check(found: Verification) -> Check:
    """Note what a verification shows, for later boards; a folder that cannot be written is passed over."""
    check = check_of(found)
    record = read_record(found.record, verify=False, ranges=False)
    with suppress(OSError, DFADError, RuntimeError):  # no home folder, or a full disk: it counts for this board only
        path = _note(identity(record))
        known = _noted(identity(record))
        if check.level == "contradicted":
            path.unlink(missing_ok=True)
        elif known is None or check.rank >= known.rank:
            write_json(path, {"form": _FORM, "level": check.level, "dfad_bench": __version__})
    return check


def check_record(path: Path, record: ResultRecord, verify: Callable[[Path], Verification] | None) -> Check:
    """What is known of a record: by a note of an earlier check here, else by checking it now against its predictions.

    Args:
        path: of the record.
        record: as it was read, its hash found right.
        verify: `verify.verify_record`, with the hashes it needs; None: what was not checked before is a claim.
    """
    try:
        file = safe_relative(path.parent, record.predictions.path)
        beside = file.is_file()
        known = _noted(record.record_id)
        if known is not None and (not beside or sha256_file(file) == record.predictions.sha256):
            return known
        if not beside:
            return Check("claimed", f"no {file.name} beside the record")
        return Check() if verify is None else note_check(verify(path))
    except IntegrityError as error:
        return Check("contradicted", str(error))
    except DFADError as error:  # of another version, perhaps, or with settings that nothing here can read
        return Check("claimed", f"could not be checked: {error}")


def _noted(record_id: str) -> Check | None:
    try:
        note: Any = read_json(_note(record_id))
    except (DFADError, RuntimeError):
        return None
    known = isinstance(note, dict) and (note.get("form"), note.get("dfad_bench")) == (_FORM, __version__)
    level = note.get("level") if known else None
    return Check(level, "") if level in ("follows", "repredicted") else None


def _note(record_id: str) -> Path:
    own = os.environ.get(FOLDER)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(own) if own else cache / "dfad_bench" / "checks") / f"{record_id}.json"
