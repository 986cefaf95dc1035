"""Parquet files of others: opened within bounds, read a few rows at a time, damage told as one kind of error.

What a file says of itself (rows, sizes of its columns) is checked before a column is read, and what it gives is
checked again: a row's picture may have `MAX_BYTES`. Pages are read one after the other; where a writer put all pictures
of a row group into one page (pyarrow's dictionaries do), the row group is in memory once or twice, which its bound
allows for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dfad_bench.data.images import IN_LFS, LFS_POINTER, ImageRefused, open_regular

DAMAGE = (pa.ArrowException, OSError, LookupError, ValueError, TypeError, OverflowError, MemoryError)
MAX_ROWS = 10_000_000  # of one file
_MAX_COLUMNS = 2_000
_MAX_FOOTER = 64 << 20
_MAX_LABELS = 1 << 30  # bytes that the columns of labels of one row group may take, decoded
_MAX_STRING, _MAX_ITEMS = 32 << 20, 4_000_000  # of the footer, whatever it says
_BUFFER = 1 << 20


def open_parquet(path: Path) -> pq.ParquetFile:
    """A Parquet file whose footer is within bounds.

    Raises:
        ImageRefused: `unreadable` (damaged, a Git LFS pointer, a link) or `too_large`.
    """
    try:
        file = open_regular(path)
        try:
            size = os.fstat(file.fileno()).st_size
            head = file.read(len(LFS_POINTER))
            if head == LFS_POINTER:
                raise ImageRefused("unreadable", IN_LFS)
            file.seek(max(0, size - 8))
            tail = file.read(8)
            footer = int.from_bytes(tail[:4], "little")
            if head[:4] != b"PAR1" or tail[4:] != b"PAR1" or footer + 12 > size:
                raise ImageRefused("unreadable", "no Parquet file, or cut off")
            if footer > _MAX_FOOTER:
                raise ImageRefused("too_large", f"a footer of {footer:,} bytes, at most {_MAX_FOOTER:,}")
            file.seek(0)
            return _checked(
                pq.ParquetFile(
                    pa.PythonFile(file, mode="r"),
                    page_checksum_verification=True,
                    pre_buffer=False,
                    buffer_size=_BUFFER,
                    thrift_string_size_limit=_MAX_STRING,
                    thrift_container_size_limit=_MAX_ITEMS,
                )
            )
        except BaseException:
            file.close()
            raise
    except ImageRefused:
        raise
    except DAMAGE as error:
        raise refusal(error) from error


def _checked(file: pq.ParquetFile) -> pq.ParquetFile:
    about = file.metadata
    if not 0 <= about.num_rows <= MAX_ROWS:
        raise ImageRefused("too_large", f"{about.num_rows:,} rows, at most {MAX_ROWS:,}")
    if about.num_columns > _MAX_COLUMNS:
        raise ImageRefused("too_large", f"{about.num_columns:,} columns, at most {_MAX_COLUMNS:,}")
    names = file.schema_arrow.names
    if len(set(names)) < len(names):
        raise ImageRefused("unreadable", "a column is there twice")
    return file


def refusal(error: Exception) -> ImageRefused:
    """A failure of Arrow as a refusal of one line."""
    lines = str(error).strip().splitlines()
    return ImageRefused(
        "unreadable", f"damaged Parquet ({ascii(lines[0])[1:-1][:120] if lines else type(error).__name__})"
    )


def read_columns(file: pq.ParquetFile, columns: Sequence[str], *, rows: int = 4096) -> Iterator[list[dict[str, Any]]]:
    """The rows of some columns (never those of pictures), a batch at a time.

    Raises:
        ImageRefused: damaged, or the columns are larger than labels are.
    """
    try:
        for group in range(file.num_row_groups):
            _check_size(file.metadata.row_group(group), columns)
        for batch in file.iter_batches(rows, columns=list(columns), use_threads=False):
            yield batch.to_pylist()
    except ImageRefused:
        raise
    except DAMAGE as error:
        raise refusal(error) from error


def _check_size(group: Any, columns: Sequence[str]) -> None:
    chunks = (group.column(index) for index in range(group.num_columns))
    wanted = (chunk for chunk in chunks if chunk.path_in_schema.partition(".")[0] in columns)
    size = sum(max(0, chunk.total_uncompressed_size) for chunk in wanted)
    if size > _MAX_LABELS:
        raise ImageRefused("too_large", f"labels of {size:,} bytes in one row group, at most {_MAX_LABELS:,}")


def pictures_in(kind: pa.DataType) -> bool:
    """Whether a column of this type may hold pictures: a struct with `bytes` or `path`, or binary values."""
    if pa.types.is_struct(kind):
        names = [kind.field(index).name for index in range(kind.num_fields)]
        return "bytes" in names or names == ["path"]
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
