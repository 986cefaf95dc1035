"""Parquet files of strangers: how much they hold is known before any of it is unpacked."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from dfad_bench.core.errors import IntegrityError, cut
from dfad_bench.core.run_parquet import PREDICTIONS, SELECTION, read_predictions, read_selection
from dfad_bench.report.entries.layout import COLUMNS, FILE_BYTES, ROWS, UNPACKED_BYTES
from dfad_bench.report.entries.pages import pages_of

Kind = Literal["predictions", "selection"]
_GROUPS = 1_000  # of rows
_CHARACTERS = 300  # of a text, such as the name of a source
_TEXTS = ("sample_id", "group", "source_key", "part", "crop_sha256", "video", "corruption")


def read_bounded(path: Path, kind: Kind) -> pd.DataFrame:
    """The rows of a file of an entry: "predictions" (of a model or a reference) or "selection".

    Raises:
        IntegrityError: not a plain file, larger than a file of an entry may be, damaged, or a column that scoring does
            not need, or a value that is none.
    """
    check_size(path)
    frame = read_selection(path) if kind == "selection" else read_predictions(path)
    known = SELECTION if kind == "selection" else PREDICTIONS
    if further := [name for name in frame if name not in known and not _is_class(str(name))]:
        raise IntegrityError(f"{path}: column {cut(str(further[0]))}, which scoring does not need")
    if twice := int(frame["sample_id"].duplicated().sum()):
        raise IntegrityError(f"{path}: {twice:,} faces are there twice")
    if kind != "selection":
        _check_probabilities(frame, path)
    return frame


def check_size(path: Path) -> None:
    """Refuse a file that is no plain one, or that holds more than an entry may, whatever it says of that itself.

    Raises:
        IntegrityError: says what, and the bound.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        about = path.lstat()
        if not stat.S_ISREG(about.st_mode):
            raise IntegrityError(f"{path}: not a file but a link, folder or device")
        if about.st_size > FILE_BYTES:
            raise IntegrityError(f"{path}: {about.st_size:,} bytes, more than {FILE_BYTES:,}")
        data = path.read_bytes()
        found = pq.ParquetFile(pa.BufferReader(data)).metadata
        _check_counts(found, path)
        _check_pages(found, data, path)
        _check_texts(data, path)
    except (pa.ArrowException, OSError, ValueError) as error:
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise IntegrityError(f"{path}: damaged or no Parquet file ({cut(why[0], 120)})") from error


def _check_counts(found: Any, path: Path) -> None:
    for value, most, what in (
        (found.num_rows, ROWS, "rows"), (found.num_columns, COLUMNS, "columns"),
        (found.num_row_groups, _GROUPS, "groups of rows"),
    ):  # fmt: skip
        if not 0 <= value <= most:
            raise IntegrityError(f"{path}: {value:,} {what}; at most {most:,} are read")
    groups = [found.row_group(place) for place in range(found.num_row_groups)]
    rows = [group.num_rows for group in groups]
    if min(rows, default=0) < 0 or sum(rows) != found.num_rows:
        raise ValueError("its groups do not have the rows of the file")
    for group in groups:
        if any(group.column(place).num_values != group.num_rows for place in range(group.num_columns)):
            raise ValueError("a column has not one value a row")


def _check_pages(found: Any, data: bytes, path: Path) -> None:
    """The sum of what pages unpack to, by their own headers."""
    unpacked = 0
    for group in (found.row_group(place) for place in range(found.num_row_groups)):
        for column in (group.column(place) for place in range(group.num_columns)):
            starts = [column.data_page_offset]
            starts += [column.dictionary_page_offset] if column.has_dictionary_page else []
            start, end = min(starts), min(starts) + column.total_compressed_size
            if not 0 <= start <= end <= len(data):
                raise ValueError("a column that leads out of the file")
            for page in pages_of(data, start, end):
                unpacked += page.unpacked
                if unpacked > UNPACKED_BYTES:
                    raise IntegrityError(f"{path}: more than {UNPACKED_BYTES:,} bytes unpacked")


def _check_texts(data: bytes, path: Path) -> None:
    """No long texts: a page of a few bytes can say one of them a million times. Read as codes, each is there once."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    names = [name for name in pq.ParquetFile(pa.BufferReader(data)).schema_arrow.names if name in _TEXTS]
    file = pq.ParquetFile(pa.BufferReader(data), read_dictionary=names, page_checksum_verification=True)
    for batch in file.iter_batches(columns=names):
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if not pa.types.is_dictionary(column.type) or not len(column.dictionary):
                continue
            longest = pc.max(pc.binary_length(column.dictionary)).as_py() or 0
            if longest > _CHARACTERS:
                raise IntegrityError(f"{path}: column {name} has a text of {longest:,} bytes")


def _is_class(name: str) -> bool:
    return name.startswith("p_") and name[2:].isdecimal()


def _check_probabilities(frame: pd.DataFrame, path: Path) -> None:
    classes = [name for name in frame if _is_class(str(name))]
    values = frame[[*classes, *(["p_fake"] if "p_fake" in frame else [])]].to_numpy(dtype=float)
    bad = int((~((values >= 0) & (values <= 1))).any(axis=1).sum()) if values.size else 0  # NaN is neither
    if bad:
        raise IntegrityError(f"{path}: {bad:,} faces with a probability that is not from 0 to 1")
