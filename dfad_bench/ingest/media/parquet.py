"""A picture in a row of a Parquet file, as the Hugging Face hub keeps data sets of images.

The column is a struct of `bytes` (the encoded file) and `path`, or binary. Rows are read in their order, a few at a
time, and the file stays open for the next one. `path` is a name and never opened: where only it is there, the picture
is refused.
"""

from __future__ import annotations

import atexit
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dfad_bench.data.images import MAX_BYTES, ImageRefused
from dfad_bench.ingest.media.base import Frame, Sampling
from dfad_bench.ingest.media.image import decode_known
from dfad_bench.ingest.media.parquet_file import DAMAGE, open_parquet, refusal
from dfad_bench.ingest.sample import RawSample

_AT_ONCE = 8  # rows
_SEVERAL = 64 << 20  # bytes of a row group up to which several rows are read at once: one of them may be nearly all
_MAX_CHUNK = 2 << 30  # bytes of pictures in one row group, which may be in memory as a whole
_MANY, _LEAST = 100_000, 8  # rows of a file beyond which their pictures (or names of pictures) have so many bytes each
_FREELY, _MOST_RATIO = 256 << 20, 100  # bytes that may unpack freely; beyond them so many times the packed size


def member_name(row: int, column: str) -> str:
    """The name of a row's picture within its file.

    >>> member_name(12, "image")
    '0000012.image'
    """
    return f"{row:07d}.{column}"


def frames(sample: RawSample, sampling: Sampling) -> Iterator[Frame]:
    """The one picture of a row.

    Raises:
        ImageRefused: the file is damaged, or the row has no picture, or one that cannot be decoded.
    """
    assert sample.member is not None  # set by the adapter that found the sample
    assert sample.position is not None
    value = read_value(sample.path, sample.position, sample.member.partition(".")[2])
    name = value.get("path") if isinstance(value, dict) else None
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes) or not data:
        where = f"; its path {str(name)[:80]!r} is a file elsewhere" if name else ""
        raise ImageRefused("unreadable", f"no picture in this row{where}")
    digest = hashlib.sha256(data).hexdigest()
    if len(data) > MAX_BYTES:
        raise ImageRefused("too_large", f"{len(data)} bytes, at most {MAX_BYTES}", digest)
    name = name if isinstance(name, str) and len(name) < 4096 else ""
    yield Frame(decode_known(data, digest, name), digest, source_bytes=len(data))


def read_value(path: Path, row: int, column: str) -> Any:
    """What a column holds in a row; the file stays open for the rows behind it.

    Raises:
        ImageRefused: `unreadable` or `too_large`.
    """
    try:
        return _shelf.get(path, column).value(row)
    except ImageRefused:
        _shelf.clear()
        raise
    except DAMAGE as error:
        _shelf.clear()
        raise refusal(error) from error
    except BaseException:  # the time limit interrupted it: where the stream stands is unknown
        _shelf.clear()
        raise


def rows_at_once(group: Any, column: str) -> int:
    """How many rows of a row group are read at once, by what it says of its column.

    Raises:
        ImageRefused: `too_large`: pictures that are larger on average than one may be, or that unpack to far more
            bytes than they take.
    """
    size, packed = _group_sizes(group, column)
    if size > _MAX_CHUNK:
        advice = "write the file again with smaller row groups"
        raise ImageRefused("too_large", f"{size:,} bytes of pictures in a row group, at most {_MAX_CHUNK:,}: {advice}")
    if size > MAX_BYTES * group.num_rows or (size > _FREELY and size > _MOST_RATIO * packed):
        raise ImageRefused("too_large", f"a row group of {packed:,} bytes that unpacks to {size:,}")
    return _AT_ONCE if size <= _SEVERAL else 1


def _group_sizes(group: Any, column: str) -> tuple[int, int]:
    """Bytes of a column of a row group, unpacked and as they are in the file."""
    try:
        chunks = [group.column(index) for index in range(group.num_columns)]
        chunks = [chunk for chunk in chunks if chunk.path_in_schema.partition(".")[0] == column]
        size, packed = (sum(getattr(c, f"total_{how}_size") for c in chunks) for how in ("uncompressed", "compressed"))
    except DAMAGE as error:
        raise refusal(error) from error
    return size, packed


def refuse_empty(file: pq.ParquetFile, column: str) -> None:
    """Refuse a file of many rows, of which hardly one can have a picture, before its rows are listed one by one.

    Raises:
        ImageRefused: `too_large`.
    """
    rows = file.metadata.num_rows
    size = sum(_group_sizes(file.metadata.row_group(group), column)[0] for group in range(file.num_row_groups))
    if rows > _MANY and size < _LEAST * rows:
        raise ImageRefused(
            "too_large", f"{rows:,} rows with {size:,} bytes in column {ascii(column)}: hardly a picture"
        )


class _Rows:
    """The rows of a column in ascending order; going back begins the row group again."""

    def __init__(self, file: pq.ParquetFile, column: str) -> None:
        self._file, self._column = file, column
        self._start = 0  # row of the file at which the batch at hand begins
        self._batch: Any = None
        self._batches: Iterator[Any] = iter(())
        self._stop = 0  # row at which the row group ends

    def value(self, row: int) -> Any:
        if self._batch is None or row < self._start or row >= self._stop:
            self._begin(row)
        while row >= self._start + self._batch.num_rows:
            self._start += self._batch.num_rows
            self._batch = self._next_batch()
        return self._batch.column(0)[row - self._start].as_py()

    def _begin(self, row: int) -> None:
        start = 0
        for group in range(self._file.num_row_groups):
            about = self._file.metadata.row_group(group)
            if row < start + about.num_rows:
                break
            start += about.num_rows
        else:
            raise ImageRefused("unreadable", f"no row {row}")
        at_once = rows_at_once(about, self._column)
        self._batches = self._file.iter_batches(at_once, row_groups=[group], columns=[self._column], use_threads=False)
        self._start, self._stop, self._batch = start, start + about.num_rows, self._next_batch()

    def _next_batch(self) -> Any:
        batch = next(self._batches, None)
        if batch is None or not batch.num_rows:
            raise ImageRefused("unreadable", "fewer rows than the file says")
        return batch


class _Shelf:
    """The one file a process keeps open."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._file: pq.ParquetFile | None = None
        self._rows: _Rows | None = None

    def get(self, path: Path, column: str) -> _Rows:
        facts = path.lstat()
        key = (str(path), facts.st_size, facts.st_mtime_ns, column)
        if self._rows is None or key != self._key:
            self.clear()
            self._file = open_parquet(path)
            self._rows, self._key = _Rows(self._file, column), key
        return self._rows

    def clear(self) -> None:
        if self._file is not None:
            self._file.close(force=True)
        self._file = self._rows = None


_shelf = _Shelf()
atexit.register(_shelf.clear)
