"""Hashes of fetched weight files, kept beside them: what was fetched once by a name stays that file.

`$DFAD_WEIGHTS/weights.lock.json` maps the name of a file to its hash, size and origin. It tells accidents, and files
that were exchanged at their origin; whoever can write into the folder can write it, too.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import read_json, write_json
from dfad_bench.core.strict import from_mapping

PINS = "weights.lock.json"
_VERSION = 1
_LARGEST_BYTES = 1 << 22


@dataclass(frozen=True)
class Pin:
    """One file as it was when it was fetched, or first checked; `source` None where a person put it there."""

    sha256: str
    size: int
    name: str
    source: str | None = None
    revision: str | None = None  # commit of a repository
    licence_accepted: bool = False
    pinned_utc: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{64}", self.sha256) or self.size < 0:
            raise ValueError("sha256 must be 64 lower-case hexadecimal digits, size 0 or more")


@dataclass(frozen=True)
class _Pins:
    """The whole file."""

    version: int
    files: dict[str, Pin]


def read_pins(folder: Path) -> dict[str, Pin]:
    """The pinned files of a folder of weights, by file name; none where nothing was pinned.

    Raises:
        ConfigError: the file is damaged; says what to do.
    """
    path = Path(folder) / PINS
    if not path.is_file():
        return {}
    advice = "mend it, or remove it to pin files anew"
    if path.stat().st_size > _LARGEST_BYTES:
        raise ConfigError(f"{path}: larger than {_LARGEST_BYTES >> 20} MB; {advice}")
    try:
        found = from_mapping(_Pins, read_json(path), str(path))
    except ConfigError as error:
        raise ConfigError(f"{error}; {advice}") from error
    if found.version != _VERSION:
        raise ConfigError(f"{path}: version {found.version}, this toolkit reads {_VERSION}; {advice}")
    return found.files


def write_pin(folder: Path, file: str, pin: Pin) -> None:
    """Keep the hash of a file; the caller holds the folder's lock."""
    files = {**read_pins(folder), file: pin}
    write_json(Path(folder) / PINS, asdict(_Pins(_VERSION, files)))
