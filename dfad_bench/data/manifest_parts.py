"""The parts of a manifest: Parquet files written one by one, each valid with its JSON and a matching hash."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dfad_bench.core.errors import IntegrityError, quoted
from dfad_bench.core.files import atomic_path, content_hash, sha256_file, write_json
from dfad_bench.core.version import __version__
from dfad_bench.data.manifest_schema import SCHEMA, SCHEMA_WITH_SOURCE, SOURCE, STATUSES, VERSION, plain_schema
from dfad_bench.data.stored_crop import DAMAGE, damaged

_REQUIRED = ("sample_id", "dataset", "generator", "forgery", "family", "attribution_label", "detection_label")
_ROW_GROUP = 64  # rows per Parquet row group; bounds the memory of a pass over the images


def part_name(index: int) -> str:
    """The file name of a part."""
    return f"part-{index:05d}.parquet"


def write_part(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one Parquet part atomically, rows sorted by `sample_id`, with page checksums.

    Raises:
        ValueError: a row lacks a required value or has a column that is not in the schema (a bug of the caller).
    """
    for row in rows:
        if unknown := row.keys() - set(SCHEMA_WITH_SOURCE.names):
            raise ValueError(f"unknown columns {quoted(sorted(unknown))}")
        if absent := [name for name in (*_REQUIRED, "status") if row.get(name) is None]:
            raise ValueError(f"row {quoted(row.get('sample_id'))} lacks {absent}")
        if row["status"] not in STATUSES:
            raise ValueError(f"unknown status {quoted(row['status'])}")
    ordered = sorted(rows, key=lambda row: str(row["sample_id"]))
    schema = SCHEMA_WITH_SOURCE if any(SOURCE in row for row in rows) else SCHEMA
    table = pa.Table.from_pylist([dict(row) for row in ordered], schema=schema)
    with atomic_path(path) as temporary:
        pq.write_table(
            table, temporary, compression="zstd", write_page_checksum=True, row_group_size=_ROW_GROUP, version="2.6"
        )


def part_facts(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts of a part by generator and status, and its rows' hashes, for the part's JSON."""
    counts: dict[str, Counter[str]] = {}
    total = 0
    for row in rows:
        counts.setdefault(row["generator"], Counter())[row["status"]] += 1
        total += 1
    return {"rows": total, "counts": {name: dict(sorted(c.items())) for name, c in sorted(counts.items())}}


def commit_part(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    before: Callable[[str], None] = lambda sha256: None,
) -> dict[str, Any]:
    """Write the Parquet file, then its JSON; a part is valid only with both and with a matching hash.

    `before` is called with the hash of the Parquet file before the JSON makes the part valid.
    """
    write_part(path, rows)
    record = {**part_facts(rows), "sha256": sha256_file(path), "tool_version": __version__, **facts}
    before(record["sha256"])
    write_json(path.with_suffix(".json"), record)
    return record


def rows_hash(paths: Sequence[Path]) -> str:
    """Hash of all rows (crops by the hash of their pixels): independent of row order and part size.

    A row without a source hashes as it did before there was that column.
    """
    columns = [name for name in SCHEMA_WITH_SOURCE.names if name != "image"]
    digests = bytearray()  # 32 bytes per row
    for path in paths:
        for row in read_part(path, columns).to_pylist():
            if row[SOURCE] is None:
                del row[SOURCE]
            try:
                digests += bytes.fromhex(content_hash(row))
            except ValueError as error:  # NaN or inf
                raise IntegrityError(f"{path}: a row has a number that is NaN or inf; build it again") from error
    ordered = np.sort(np.frombuffer(bytes(digests), dtype=[(f"word{k}", ">u8") for k in range(4)]))
    return hashlib.sha256(f"dfad_manifest {VERSION}\n".encode() + ordered.tobytes()).hexdigest()


def read_part(path: Path, columns: Sequence[str]) -> pa.Table:
    """These columns of a part, dictionary columns as plain strings; `source` is null in a part without it.

    Raises:
        IntegrityError: the file is damaged, or no part of a manifest.
    """
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        if file.schema_arrow.metadata is None or file.schema_arrow.metadata.get(b"dfad_manifest") is None:
            raise IntegrityError(f"{path}: not a part of a manifest")
        if file.schema_arrow.names not in (SCHEMA.names, SCHEMA_WITH_SOURCE.names):
            raise IntegrityError(f"{path}: its columns are not those of a manifest; build it again")
        here = [name for name in columns if name != SOURCE or SOURCE in file.schema_arrow.names]
        table = file.read(columns=here)
        if len(here) < len(columns):
            table = table.append_column(SOURCE, pa.nulls(table.num_rows, pa.string()))
        return table.select(columns).cast(pa.schema([plain_schema().field(name) for name in columns]))
    except DAMAGE as error:
        raise damaged(path, error) from error
