"""A table of predictions of others, CSV, JSON lines or Parquet: of bounded size, and nothing in it is trusted."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfad_bench.core.errors import ConfigError, cut, listed, quoted
from dfad_bench.core.files import sha256_file
from dfad_bench.core.imported import Format
from dfad_bench.core.plain import parse_json

BYTES = 1 << 30  # of a file
UNPACKED_BYTES = 4 << 30  # of a Parquet file
ROWS = 20_000_000
COLUMNS = 2_000
CHARACTERS = 1_000  # of a cell
_LINE = 1 << 20  # characters of a line of JSON
_FORMATS: Mapping[str, Format] = {
    ".csv": "csv", ".tsv": "csv", ".csv.gz": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"
}  # fmt: skip


@dataclass(frozen=True)
class RawTable:
    """The rows of a file as they stand there, and what the file was."""

    path: Path
    format: Format
    sha256: str
    rows: pa.Table

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    @property
    def names(self) -> list[str]:
        """Its columns."""
        return list(self.rows.column_names)

    def texts(self, name: str) -> np.ndarray:
        """A column (n,) as text; empty where nothing stands.

        Raises:
            ConfigError: a list, bytes or the like, or a cell of more than 1,000 characters.
        """
        column = _plain(self.rows.column(name))
        kind = column.type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            raise ConfigError(f"{self.path}: column {quoted(name)} holds {kind}, not text")
        text = pc.fill_null(pc.cast(column, pa.string()), "")
        longest = pc.max(pc.utf8_length(text)).as_py() or 0
        if longest > CHARACTERS:
            raise ConfigError(f"{self.path}: column {quoted(name)} has a cell of {longest:,} characters")
        return np.array([value.strip() for value in text.to_pylist()], dtype=object)

    def reals(self, name: str) -> np.ndarray:
        """A column (n,) as float64.

        Raises:
            ConfigError: names the first row that is no number.
        """
        column = _plain(self.rows.column(name))
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            return np.asarray(pc.cast(column, pa.float64()).to_numpy(), dtype=float)
        texts = self.texts(name)
        values = np.full(len(texts), np.nan)
        for place, text in enumerate(texts):
            try:
                values[place] = float(text)
            except ValueError:
                raise ConfigError(f"{self.path}: row {place + 1}: {name} {quoted(text)} is no number") from None
        return values

    def probabilities(self, name: str) -> np.ndarray:
        """A column (n,) of probabilities, float64.

        Raises:
            ConfigError: names the first row that is none.
        """
        values = self.reals(name)
        bad = np.flatnonzero(~((values >= 0) & (values <= 1)))
        if len(bad):
            place = int(bad[0])
            raise ConfigError(
                f"{self.path}: row {place + 1}: {name} {values[place]} is no probability from 0 to 1"
                f" ({len(bad):,} rows); logits and percent are not converted here"
            )
        return values

    def kept_rows(self, mask: np.ndarray) -> RawTable:
        """Some of the rows (n,) bool."""
        return RawTable(self.path, self.format, self.sha256, self.rows.filter(pa.array(mask)))


def read_raw_table(path: Path) -> RawTable:
    """Read a table of predictions.

    Args:
        path: .csv (or .tsv, .csv.gz), .jsonl (or .ndjson), .parquet. CSV has a head line; its separator is a comma, a
            semicolon where the head line has no comma, or a tab. A line of JSON is an object without objects in it.

    Raises:
        ConfigError: missing, of another kind, damaged, too large, or a column stands there twice.
    """
    path = Path(path)
    kind = next(
        (_FORMATS[end] for end in ("".join(path.suffixes[-2:]).lower(), path.suffix.lower()) if end in _FORMATS), None
    )
    if kind is None:
        raise ConfigError(f"{path}: predictions are read from {', '.join(_FORMATS)}")
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ConfigError(f"{path}: not a file")
        if size > BYTES:
            raise ConfigError(f"{path}: {size:,} bytes, more than the {BYTES:,} a table of predictions may have")
        rows = {"csv": _read_csv, "jsonl": _read_jsonl, "parquet": _read_parquet}[kind](path)
        digest = sha256_file(path)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except (pa.ArrowException, OSError, ValueError, RecursionError, MemoryError) as error:
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise ConfigError(f"{path}: not readable as {kind} ({cut(why[0], 160)})") from error
    names = rows.column_names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{path}: columns that stand there twice: {listed(twice, 5)}")
    if not rows.num_rows:
        raise ConfigError(f"{path}: no rows")
    return RawTable(path, kind, digest, rows)


def _check_size(rows: int, columns: int) -> None:
    if rows > ROWS or columns > COLUMNS:
        raise ValueError(f"{rows:,} rows of {columns:,} columns; at most {ROWS:,} of {COLUMNS:,} are read")


def _read_csv(path: Path) -> pa.Table:
    from pyarrow import csv

    content = _unpacked(path) if path.suffix.lower() == ".gz" else None
    with path.open("rb") if content is None else io.BytesIO(content) as handle:
        head = handle.readline(_LINE).decode("utf-8-sig")
    separator = ";" if ";" in head and "," not in head else ","
    separator = "\t" if path.suffix.lower() == ".tsv" else separator
    parse = csv.ParseOptions(delimiter=separator, newlines_in_values=True)
    source: Any = path if content is None else pa.py_buffer(content)
    with csv.open_csv(_stream(source), parse_options=parse) as reader:
        names = reader.schema.names
    _check_size(0, len(names))
    as_text = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    table = csv.read_csv(_stream(source), parse_options=parse, convert_options=as_text)
    _check_size(table.num_rows, table.num_columns)
    return table


def _unpacked(path: Path) -> bytes:
    """A gzip file's content; no more than `BYTES` are unpacked."""
    try:
        with gzip.open(path, "rb") as handle:
            content = handle.read(BYTES + 1)
    except (EOFError, zlib.error) as error:
        raise ValueError(f"damaged or cut short: {error}") from error
    if len(content) > BYTES:
        raise ValueError(f"it unpacks to more than the {BYTES:,} bytes a table of predictions may have")
    return content


def _stream(source: Any) -> Any:
    return pa.BufferReader(source) if isinstance(source, pa.Buffer) else source


def _read_jsonl(path: Path) -> pa.Table:
    columns: dict[str, list[Any]] = {}
    count = 0
    with path.open(encoding="utf-8-sig") as handle:
        while line := handle.readline(_LINE):
            if not line.strip():
                continue
            value = parse_json(line)
            if not isinstance(value, dict) or any(isinstance(item, dict | list) for item in value.values()):
                raise ValueError(f"line {count + 1} is no object of plain values")
            for name, item in value.items():
                columns.setdefault(name, [None] * count).append(item)
            count += 1
            for some in columns.values():
                some.extend([None] * (count - len(some)))
            _check_size(count, len(columns))
    return pa.table({name: _json_column(values) for name, values in columns.items()})


def _json_column(values: list[Any]) -> pa.Array:
    if all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values):
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _read_parquet(path: Path) -> pa.Table:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path, page_checksum_verification=True)
    about = file.metadata
    _check_size(about.num_rows, about.num_columns)
    unpacked = sum(about.row_group(place).total_byte_size for place in range(about.num_row_groups))
    if unpacked > UNPACKED_BYTES:
        raise ValueError(f"{unpacked:,} bytes unpacked; at most {UNPACKED_BYTES:,} are read")
    flat = [field.name for field in file.schema_arrow if not pa.types.is_nested(field.type)]
    return file.read(columns=flat)


def _plain(column: Any) -> Any:
    return pc.cast(column, column.type.value_type) if pa.types.is_dictionary(column.type) else column
