"""How many bytes the pages of a Parquet file unpack to, read off their headers: what the footer says may be a lie.

A reader makes room for a page as large as its header says, and a few kilobytes can unpack to gigabytes. Headers are
structs of Thrift's compact protocol (its specification: apache/thrift) before each page (apache/parquet-format).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

_UNPACKED, _PACKED = 2, 3  # fields of a page header
_DEPTH = 8  # of structs in each other
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(13)


class Page(NamedTuple):
    """Bytes of a page as it unpacks, and as it is stored."""

    unpacked: int
    packed: int


def pages_of(data: bytes, start: int, end: int) -> Iterator[Page]:
    """The pages of a column between two places of a file.

    Raises:
        ValueError: no page header where one must be, or a page beyond the end.
    """
    place = start
    while place < end:
        numbers, place = _Header(data, place, end).numbers()
        page = Page(numbers.get(_UNPACKED, -1), numbers.get(_PACKED, -1))
        if min(page) < 0 or place + page.packed > end:
            raise ValueError("a page that has no size, or leads out of its column")
        yield page
        place += page.packed


class _Header:
    """One struct of the compact protocol, of which only whole numbers of the outermost level are kept."""

    def __init__(self, data: bytes, place: int, end: int) -> None:
        self.data, self.place, self.end = data, place, end

    def numbers(self) -> tuple[Mapping[int, int], int]:
        """Whole numbers by field, and the place behind the struct."""
        found: dict[int, int] = {}
        for field, kind in self._fields():
            if kind in (_I16, _I32, _I64):
                found[field] = self._signed()
            else:
                self._skip(kind, 0)
        return found, self.place

    def _fields(self) -> Iterator[tuple[int, int]]:
        field = 0
        while (head := self._byte()) != _STOP:
            field = field + (head >> 4) if head >> 4 else self._signed()
            yield field, head & 15

    def _skip(self, kind: int, depth: int) -> None:
        if depth > _DEPTH or kind > _STRUCT:
            raise ValueError("no page header")
        if kind == _STRUCT:
            for _, inner in self._fields():
                self._skip(inner, depth + 1)
        elif kind in (_LIST, _SET):
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._unsigned()
            for _ in range(min(count, self.end)):
                self._skip(_BYTE if head & 15 in (_TRUE, _FALSE) else head & 15, depth + 1)
        elif kind == _MAP:  # page headers have none
            raise ValueError("no page header")
        elif kind in (_I16, _I32, _I64):
            self._unsigned()
        elif kind not in (_TRUE, _FALSE):
            self._forward({_BYTE: 1, _DOUBLE: 8}.get(kind) or self._unsigned())

    def _byte(self) -> int:
        self._forward(1)
        return self.data[self.place - 1]

    def _forward(self, count: int) -> None:
        if self.place + count > self.end:
            raise ValueError("a page header that leads out of its column")
        self.place += count

    def _unsigned(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("no page header")

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
