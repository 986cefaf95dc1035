"""Splits by number: the number of the image itself, or the one a text file of the release maps it to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dfad_bench.data.images import ImageRefused, read_source
from dfad_bench.ingest.media.archive import read_member
from dfad_bench.ingest.sample import FoundFile
from dfad_bench.ingest.sources.base import Listing
from dfad_bench.ingest.sources.spec_parts import NumberSplit

if TYPE_CHECKING:
    from dfad_bench.ingest.sources.fitted import Fitted


class Numbers:
    """Remembers the text file while the source folder is listed, then gives every image its split."""

    def __init__(self, rule: NumberSplit) -> None:
        self._rule = rule
        self._file: FoundFile | None = None

    def take(self, file: FoundFile) -> bool:
        """Whether this is the text file; the first one found is used."""
        name = self._rule.file
        if name is None or file.origin.rpartition("/")[2].casefold() != name.casefold() or file.must_not_be_read:
            return False
        self._file = self._file or file
        return True

    def split(self, fitted: list[Fitted], listing: Listing) -> list[Fitted]:
        """The same samples, with a split where neither path nor entry gave one; a note counts those without."""
        table = self._table(listing)
        if table is None and self._rule.file is not None:
            return fitted
        done, without = [], 0
        for item in fitted:
            number = self._number(item.fields, table)
            if item.sample.split is None and number is not None:
                item = item._replace(sample=replace(item.sample, split=self._rule.split_of(number)))  # noqa: PLW2901
            without += item.sample.split is None
            done.append(item)
        if without:
            listing.notes.append(f"{without:,} images have no split: {self._rule.file or 'their paths'} has no number")
        return done

    def _number(self, fields: dict[str, str], table: dict[int, int] | None) -> int | None:
        text = fields.get(self._rule.field, "")
        if not (text.isascii() and text.isdigit() and len(text) < 12):
            return None
        return int(text) if table is None else table.get(int(text))

    def _table(self, listing: Listing) -> dict[int, int] | None:
        name = self._rule.file
        if name is None:
            return None
        if self._file is None:
            listing.notes.append(f"no {name}: images have no split; it comes with the release")
            return None
        try:
            return _read(self._file, self._rule)
        except ImageRefused as refused:
            listing.notes.append(f"{self._file.origin}: images have no split: {refused.reason}")
            return None


def _read(file: FoundFile, rule: NumberSplit) -> dict[int, int]:
    data = read_source(file.path) if file.member is None else read_member(file.path, file.member, file.position)
    table: dict[int, int] = {}
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines()):
        columns = line.split()
        if not columns:
            continue
        try:
            key, value = int(columns[rule.key]), int(columns[rule.value])
        except (ValueError, IndexError):
            if number:  # the first line is a header
                raise ImageRefused("unreadable", f"line {number + 1} is no row of numbers") from None
            continue
        if table.setdefault(key, value) != value:
            raise ImageRefused("unreadable", f"line {number + 1}: {key} has another number on a line before")
    return table
