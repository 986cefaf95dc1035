"""`entry.json`: what people read of an entry, and what binds its files together.

`core/entry.schema.json` is the same in JSON Schema.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.files import read_json
from dfad_bench.core.record import ResultRecord
from dfad_bench.core.strict import from_mapping
from dfad_bench.report.board_columns import default_columns, row_numbers
from dfad_bench.report.entries.layout import ENTRY
from dfad_bench.report.row_facts import departures
from dfad_bench.report.run_record import protocol_of

FORM = "1"
_BYTES = 1 << 20


@dataclass(frozen=True)
class StoredFile:
    """A Parquet file of an entry."""

    sha256: str
    rows: int


@dataclass(frozen=True)
class WeightLicence:
    """A file of weights that training started from, and its terms."""

    file: str
    sha256: str | None
    licence: str


@dataclass(frozen=True)
class Entry:
    """One run on a board.

    Attributes:
        record_id: of the record beside it.
        protocol, protocol_version, protocol_sha256: what it was measured under.
        model, display, size: which model.
        seed: of the training; null where nobody knows (imported predictions).
        kind: trained by this toolkit, or predictions of others.
        numbers: the numbers of a board's default columns, as fractions; each follows from the predictions.
        departs: how the run departs from its protocol, and what its model hides, lacks or replaces.
        card: the model's card as it was submitted, or what the author of imported predictions says.
        weights: licences of the weights that training started from; none where they were random.
        files: predictions, by name.
        shared: SHA-256 of the files that it has in common with others, by their name in the run.
        run_record_id: of the record in the run's own folder, where texts were left out of it here.
        left_out: where in the record these were.
    """

    record_id: str
    protocol: str
    protocol_version: str
    protocol_sha256: str
    model: str
    display: str
    size: Literal["paper", "tiny"]
    seed: int | None
    kind: Literal["measured", "imported"]
    numbers: dict[str, float | None]
    card: dict[str, Any]
    files: dict[str, StoredFile]
    shared: dict[str, str]
    departs: tuple[str, ...] = ()
    weights: tuple[WeightLicence, ...] = ()
    run_record_id: str | None = None
    left_out: tuple[str, ...] = ()
    form: Literal["1"] = "1"


def read_entry(folder: Path) -> Entry:
    """The `entry.json` of a folder.

    Raises:
        ConfigError: missing, a link, too large, or not of the form.
    """
    path = folder / ENTRY
    try:
        about = path.lstat()
    except OSError as error:
        raise ConfigError(f"{path}: no such file") from error
    if not stat.S_ISREG(about.st_mode) or about.st_size > _BYTES:
        raise ConfigError(f"{path}: a link or folder, or more than {_BYTES:,} bytes")
    return from_mapping(Entry, read_json(path), str(path))


def stated_facts(record: ResultRecord) -> dict[str, Any]:
    """The parts of an entry that follow from its record."""
    protocol = protocol_of({"protocol": {"config": record.protocol.config}}, "record")
    found = row_numbers(record.metrics, protocol)
    return {
        "record_id": record.record_id,
        "protocol": record.protocol.name,
        "protocol_version": record.protocol.version,
        "protocol_sha256": record.protocol.sha256,
        "model": record.model.name,
        "display": record.model.display or record.model.name,
        "size": record.model.size,
        "seed": record.run.seed,
        "kind": "measured" if record.imported is None else "imported",
        "numbers": {name: found[name] for name in default_columns(protocol)},
        "departs": departures(record),
    }
