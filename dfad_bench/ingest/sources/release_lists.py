"""The lists of a release that a dataset file describes: who made each file, its split, its forged frames."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import ConfigError, listed, quoted
from dfad_bench.core.files import plain_path, read_json
from dfad_bench.core.labels import FAKE
from dfad_bench.core.taxonomy import REAL_KEY, UNLABELLED_KEY, taxonomy
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.sources.base import Listing
from dfad_bench.ingest.sources.classes import class_of
from dfad_bench.ingest.sources.official import find_file, read_text
from dfad_bench.ingest.sources.spec import DatasetSpec
from dfad_bench.ingest.sources.spec_parts import ListSpec
from dfad_bench.ingest.sources.template import Template

_MAX_BYTES = 512 << 20
_MOST_SPANS = 10_000
_UNNAMED = "unnamed"
_EMPTY = ("", "-", "nan", "none", "null")  # what writers of tables put where there is nothing


def apply_lists(listing: Listing, root: Path, spec: DatasetSpec) -> None:
    """Complete the samples by the lists there are; a note says which are missing.

    Files that only a list can label, and that none names, are left out and counted; so are listed files that are not
    there.

    Raises:
        ConfigError: a damaged list, one without the columns that are needed, or labels without names.
    """
    known: set[str] = set()
    for about in spec.listed:
        file = find_file(root, about.file, spec.follow_links)
        if file is None:
            listing.notes.append(f"no {about.file}, which says {_content(about)}")
        else:
            known |= _List(listing, file, about, spec).apply_rows()
    if any(about.generator for about in spec.listed):
        kept = []
        for sample in listing.samples:
            if sample.generator == UNLABELLED_KEY and sample.origin not in known:
                listing.ignore("in none of the release's lists", sample.origin)
            else:
                kept.append(sample)
        listing.samples = kept


def _content(about: ListSpec) -> str:
    parts = [("who made the files", about.generator), ("their splits", about.split), ("forged intervals", about.forged)]
    return " and ".join(name for name, given in parts if given) or "their labels"


@dataclass
class _List:
    listing: Listing
    file: Path
    about: ListSpec
    spec: DatasetSpec
    contradicted: Counter[str] = field(default_factory=Counter)
    dropped: set[str] = field(default_factory=set)  # origins of samples without a known label, which are counted
    places: dict[str, str] = field(default_factory=dict)  # key -> origin

    def apply_rows(self) -> set[str]:
        """Change the samples that the list names; returns their origins."""
        by_name: dict[str, list[int]] = {}
        for index, sample in enumerate(self.listing.samples):
            by_name.setdefault(self._key(sample.origin), []).append(index)
        self.places = {key: self.listing.samples[indices[0]].origin for key, indices in by_name.items()}
        found: set[str] = set()
        seen: dict[str, dict[str, Any]] = {}
        for number, row in self._rows():
            where = f"{self.file}: line {number}"
            if not (paths := self._paths(self.about.path, row)):
                raise ConfigError(f"{where}: no path")
            key = next((key for key in paths if key in by_name), paths[0])
            if seen.setdefault(key, row) != row:
                raise ConfigError(f"{where}: {quoted(key)} is also on a line before, which says something else")
            if key not in by_name:
                self.listing.ignore(f"in {self.about.file}, but not there", key[:200])
            for index in by_name.get(key, ()):
                sample = self.listing.samples[index]
                found.add(sample.origin)
                self.listing.samples[index] = self._changed(sample, row, where)
        if number := sum(self.contradicted.values()):
            some = listed(sorted(self.contradicted))
            self.listing.notes.append(
                f"{self.about.file}: {number:,} labels contradict the file's folder ({some}); the folder counts"
            )
        self.listing.samples = [sample for sample in self.listing.samples if sample.origin not in self.dropped]
        return found

    def _changed(self, sample: RawSample, row: Mapping[str, Any], where: str) -> RawSample:
        about = self.about
        generator = self._generator(sample, row, where)
        if generator is None:
            self.dropped.add(sample.origin)
            return sample
        if about.check and (said := self._value(about.check, row)):
            claim = class_of(self.spec, said, where, about.check.strip("{}"))
            if claim is not None and (claim == REAL_KEY) != (generator == REAL_KEY):
                self.contradicted[f"{generator} as {claim}"] += 1
        targets = self._paths(about.target, row) if taxonomy()[generator].detection_label == FAKE else []
        real = next((self.places[key] for key in targets if key in self.places), None)
        sample = replace(
            sample,
            generator=generator,
            split=self.spec.split_of(self._value(about.split, row)) or sample.split,
            source_key=self._value(about.source_key, row) or sample.source_key,
            target_origin=real or sample.target_origin,
            pair_confidence=1.0 if real else sample.pair_confidence,
        )
        return self._partly(sample, row, where) if about.forged else sample

    def _generator(self, sample: RawSample, row: Mapping[str, Any], where: str) -> str | None:
        """The generator of the first template that has a value, else the entry's; None where it is not known."""
        for text in self.about.generator:
            if value := self._value(text, row):
                found = class_of(self.spec, value, where, text.strip("{}"))
                if found is None:
                    self.listing.ignore(f"unknown generator {quoted(value)}", sample.origin)
                return found
        if sample.generator == UNLABELLED_KEY and self.about.generator:
            self.listing.ignore(f"without a label in {self.about.file}", sample.origin)
            return None
        return sample.generator

    def _paths(self, texts: tuple[str, ...], row: Mapping[str, Any]) -> list[str]:
        """The keys of the paths that templates give of a row."""
        filled = (self._value(text, row) for text in texts)
        return [self._key(self._stripped(path)) for path in filled if path]

    def _partly(self, sample: RawSample, row: Mapping[str, Any], where: str) -> RawSample:
        """The sample with its forged intervals; what is real stays real as a whole."""
        if taxonomy()[sample.generator].detection_label != FAKE:
            return sample
        column = self.about.forged or ""
        value = row.get(_folded(column))
        if not isinstance(value, list) or not value:
            self.listing.ignore(f"forged, without a forged interval in {self.about.file}", sample.origin)
            self.dropped.add(sample.origin)
            return sample
        spans = tuple(
            (*frames_of(pair, self.about.rate, f"{where}: {column}"), sample.generator) for pair in value[:_MOST_SPANS]
        )
        return replace(sample, spans=spans, outside=REAL_KEY)

    def _stripped(self, path: str) -> str:
        path = plain_path(path)
        first = next((begin for begin in self.about.strip if path.casefold().startswith(begin.casefold())), "")
        return path[len(first) :].lstrip("/")

    def _key(self, path: str) -> str:
        key = path.casefold()
        return key.rpartition("/")[2] if self.about.match == "name" else key

    def _value(self, text: str | None, row: Mapping[str, Any]) -> str | None:
        """A template filled in with a row; None where a column in it is empty."""
        if text is None:
            return None
        fields = {}
        for name in Template(text).fields:
            value = row.get(_folded(name))
            empty = value is None or str(value).strip().casefold() in _EMPTY
            fields[name] = None if empty else str(value).strip()
        return Template(text).fill(fields)

    def _rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(line, columns by folded name)."""
        needed = [self.about.path[0], *self.about.generator, self.about.check, self.about.split, self.about.source_key]
        names = {name for text in needed if text for name in Template(text).fields}
        kind = self.file.suffix.lower()
        rows = self._json() if kind == ".json" else self._lines() if kind == ".txt" else self._csv()
        for number, row in rows:
            folded = {_folded(str(name)): value for name, value in row.items()}
            if number <= 2 and kind == ".csv" and (missing := [n for n in names if _folded(n) not in folded]):
                raise ConfigError(f"{self.file}: no columns {quoted(sorted(missing))}; found {listed(row)}")
            yield number, folded

    def _csv(self) -> Iterator[tuple[int, dict[str, Any]]]:
        reader = csv.DictReader(io.StringIO(read_text(self.file, _MAX_BYTES)), strict=True)
        try:
            for row in reader:
                yield reader.line_num, {name or _UNNAMED: value for name, value in row.items() if name is not None}
        except csv.Error as error:
            raise ConfigError(f"{self.file}: not a CSV table ({error})") from error

    def _json(self) -> Iterator[tuple[int, dict[str, Any]]]:
        if self.file.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{self.file}: larger than {_MAX_BYTES} bytes")
        value = read_json(self.file, constants=True)
        if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
            raise ConfigError(f"{self.file}: expected a list of objects")
        yield from enumerate(value, start=1)

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, line in enumerate(read_text(self.file, _MAX_BYTES).splitlines(), start=1):
            if words := line.split(maxsplit=len(self.about.header) - 1):
                yield number, dict(zip(self.about.header, words, strict=False))


def frames_of(interval: Any, rate: float, where: str) -> tuple[int, int]:
    """The frames of an interval in seconds: those that begin in it, its end not included.

    Raises:
        ConfigError: not two numbers in order.

    >>> frames_of([0.4, 1.0], 25, "")
    (10, 25)
    """
    right = isinstance(interval, list | tuple) and len(interval) == 2
    numbers = [float(v) for v in interval if isinstance(v, int | float) and math.isfinite(v)] if right else []
    if len(numbers) != 2 or not 0 <= numbers[0] <= numbers[1] < 1e7:
        raise ConfigError(f"{where}: {quoted(interval)} is no interval [start, end] in seconds")
    start, stop = (math.ceil(round(number * rate, 6)) for number in numbers)
    return start, stop


def _folded(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter not in " _-")
