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
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dfad_bench.data.images import IN_LFS, LFS_POINTER, ImageRefused, open_regular

DAMAGE = (pa.ArrowException, OSError, LookupError, ValueError, TypeError, OverflowError, MemoryError)
MAX_ROWS = 10_000_000  # of one file, and of a set
_MAX_COLUMNS = 2_000
_MAX_FOOTER = 64 << 20
_MAX_LABELS = 256 << 20  # bytes that the columns of labels of one row group may take in the file, unpacked
_FREELY, _MOST_RATIO = (
    32 << 20,
    100,
)  # bytes of labels that may unpack freely; beyond them so many times the packed size
_MAX_LABEL = 4096  # bytes of one label
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
            return _with_codes(pa.PythonFile(file, mode="r"))
        except BaseException:
            file.close()
            raise
    except ImageRefused:
        raise
    except DAMAGE as error:
        raise refusal(error) from error


def _with_codes(file: pa.PythonFile) -> pq.ParquetFile:
    """The file, whose text comes as codes and a dictionary: one long value of many rows is in memory once."""
    options: dict[str, Any] = {
        "page_checksum_verification": True,
        "pre_buffer": False,
        "buffer_size": _BUFFER,
        "thrift_string_size_limit": _MAX_STRING,
        "thrift_container_size_limit": _MAX_ITEMS,
    }
    plain = _checked(pq.ParquetFile(file, **options))
    text = [about.name for about in plain.schema_arrow if _is_text(about.type)]
    return pq.ParquetFile(file, metadata=plain.metadata, read_dictionary=text, **options) if text else plain


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


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
    """The rows of some columns of labels (never those of pictures), a batch at a time.

    Text is read as codes of a dictionary and is not unfolded: rows share one string.

    Raises:
        ImageRefused: damaged, the columns are larger than labels are, or of a type that is no label.
    """
    try:
        for name in columns:
            if not label_like(kind := file.schema_arrow.field(name).type):
                raise ImageRefused("unreadable", f"column {ascii(name)[1:-1][:80]} holds {str(kind)[:80]}, no label")
        for group in range(file.num_row_groups):
            _check_size(file.metadata.row_group(group), columns)
        for batch in file.iter_batches(rows, columns=list(columns), use_threads=False):
            values = [_values(batch.column(name), name) for name in batch.schema.names]
            lines = zip(*values, strict=True) if values else ((),) * batch.num_rows
            yield [dict(zip(batch.schema.names, line, strict=True)) for line in lines]
    except ImageRefused:
        raise
    except DAMAGE as error:
        raise refusal(error) from error


def label_like(kind: pa.DataType) -> bool:
    """Whether a column of this type may hold labels: text, numbers, truth values, or nothing at all."""
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return _is_text(inner) or pa.types.is_primitive(inner) or pa.types.is_null(inner)


def _values(column: pa.Array, name: str) -> list[Any]:
    """The values of a column of a batch; only the entries of its dictionary that a row has become Python objects."""
    if not pa.types.is_dictionary(column.type):
        return column.to_pylist()
    words = column.dictionary
    if _is_text(words.type) and (longest := pc.max(pc.binary_length(words)).as_py() or 0) > _MAX_LABEL:
        what = f"a label of {longest:,} bytes in column {ascii(name)[1:-1][:80]}, at most {_MAX_LABEL:,}"
        raise ImageRefused("too_large", what)
    used = pc.unique(column.indices).drop_null()
    said: dict[int | None, Any] = {None: None}
    said |= zip(used.to_pylist(), words.take(used).to_pylist(), strict=True)  # a code beyond the dictionary is damage
    return [said[code] for code in column.indices.to_pylist()]


def _check_size(group: Any, columns: Sequence[str]) -> None:
    chunks = (group.column(index) for index in range(group.num_columns))
    wanted = [chunk for chunk in chunks if chunk.path_in_schema.partition(".")[0] in columns]
    size, packed = (
        sum(max(0, getattr(c, f"total_{how}_size")) for c in wanted) for how in ("uncompressed", "compressed")
    )
    if size > _MAX_LABELS:
        raise ImageRefused("too_large", f"labels of {size:,} bytes in one row group, at most {_MAX_LABELS:,}")
    if size > _FREELY and size > _MOST_RATIO * packed:
        raise ImageRefused("too_large", f"labels of {packed:,} bytes that unpack to {size:,}")


def pictures_in(kind: pa.DataType) -> bool:
    """Whether a column of this type may hold pictures: a struct with `bytes` or `path`, or binary values."""
    if pa.types.is_struct(kind):
        names = [kind.field(index).name for index in range(kind.num_fields)]
        return "bytes" in names or names == ["path"]
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
