"""Parquet files with pictures in them, as the Hugging Face hub keeps image data sets: a sample a row.

Only the columns of labels are read here. A picture's own `path` is no more than a name; who made it is told by the
names of the labels (schema metadata, README.md, `--labels`), never by a bare number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.labels import FAKE
from dfad_bench.core.taxonomy import REAL_KEY, UNLABELLED_KEY
from dfad_bench.data.images import IN_LFS, ImageRefused
from dfad_bench.ingest.media.parquet import member_name, refuse_empty, rows_at_once
from dfad_bench.ingest.media.parquet_file import MAX_ROWS, label_like, open_parquet, read_columns
from dfad_bench.ingest.sample import FoundFile, RawSample
from dfad_bench.ingest.sources.base import Listing, walk_files
from dfad_bench.ingest.sources.classes import class_of
from dfad_bench.ingest.sources.hf_schema import (
    Card,
    Columns,
    columns_of,
    picture_column,
    plain_split,
    read_card,
    split_name,
)
from dfad_bench.ingest.sources.label_checks import (
    FORGED_REAL,
    TWO_LABELS,
    TWO_NAMES,
    disagreement,
    generators_differ,
    label_of,
    labels_contradict,
    names_by_number,
    naming_advice,
    unused_labels,
)
from dfad_bench.ingest.sources.spec import DatasetSpec
from dfad_bench.ingest.sources.spec_parts import ColumnsSpec
from dfad_bench.ingest.sources.template import Template

_FAKE_KEY = "fake"
_MOST_KNOWN = 10_000  # labels that are remembered
_MAX_TEXT = 4096  # letters of a label
_REFUSED = {"too_large": "Parquet file beyond the limits"}
_DAMAGED = "damaged Parquet file"
_ARROW = ("state.json", "dataset_info.json")


def list_rows(spec: DatasetSpec, root: Path) -> Listing:
    """The rows of every Parquet file below `root` as samples; files that cannot be read are counted.

    Raises:
        ConfigError: no such folder, no column of pictures or of labels, or labels that are numbers without names.
    """
    listing = Listing()
    skip = [Template(text) for text in spec.skip]
    card = read_card(root) if root.is_dir() else Card()
    listing.notes += [card.problem] if card.problem else []
    found: Counter[tuple[str, str]] = Counter()
    labels = _Labels()
    for file in walk_files(root, listing, spec.follow_links):
        name = file.origin.rpartition("/")[2].lower()
        if any(template.match(file.origin) is not None for template in skip) or name in ("readme.md", *_ARROW):
            listing.ignore("not part of this dataset", file.origin)
        elif name.endswith(".arrow"):
            listing.ignore("Arrow file of `save_to_disk`: write it again with `to_parquet`", file.origin)
        elif not name.endswith(".parquet"):
            listing.ignore("no Parquet file", file.origin)
        elif file.outside:
            listing.ignore("link out of the source folder", file.origin)
        else:
            _list_file(spec, root, file, card, listing, found, labels)
    for why in (*_REFUSED.values(), _DAMAGED):
        listing.notes += [f"{why}: {example}" for example in listing.examples.get(why, ())]
    listing.notes += [*_count_notes(card, found), *labels.notes, *naming_advice(labels.unnamed)]
    listing.notes += unused_labels(spec, labels.seen) if labels.seen else ()
    return listing


@dataclass
class _Labels:
    """What the labels of all files were called: those that had a value, those that nobody knows, and remarks."""

    seen: dict[str, None] = field(default_factory=dict)
    unnamed: dict[str, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    rows: int = 0  # of the files so far

    def see_texts(self, texts: Iterable[str]) -> None:
        """Remember some; a few are enough for the remarks."""
        if len(self.seen) < _MOST_KNOWN:
            self.seen |= dict.fromkeys(texts)


def _list_file(
    spec: DatasetSpec,
    root: Path,
    file: FoundFile,
    card: Card,
    listing: Listing,
    found: Counter[tuple[str, str]],
    labels: _Labels,
) -> None:
    try:
        parquet = open_parquet(file.path)
        try:
            labels.rows += parquet.metadata.num_rows
            if labels.rows > MAX_ROWS:
                raise ImageRefused("too_large", f"{labels.rows:,} rows with the files before it, at most {MAX_ROWS:,}")
            listing.samples += _File(spec, root, file, card, parquet, labels).samples(listing)
            number = parquet.metadata.num_rows
        finally:
            parquet.close(force=True)
    except ImageRefused as refused:
        why = IN_LFS if refused.reason == IN_LFS else _REFUSED.get(refused.status, _DAMAGED)
        listing.ignore(why, file.origin if why == IN_LFS else f"{file.origin}: {refused.reason}")
        return
    if declared := card.split_of(file.origin):
        found[declared] += number


def _count_notes(card: Card, found: Counter[tuple[str, str]]) -> Iterator[str]:
    for key, rows in card.rows.items():
        if key in found and found[key] != rows:
            yield f"README.md says that {key[1]} of {key[0]} has {rows:,} rows; {found[key]:,} are here"


@dataclass
class _File:
    """One Parquet file: which of its columns say what."""

    spec: DatasetSpec
    root: Path
    file: FoundFile
    card: Card
    parquet: pq.ParquetFile
    labels: _Labels
    split: str | None = None
    columns: Columns = field(init=False)
    key: Template = field(init=False)
    source: Template | None = field(init=False)
    known: dict[tuple[str, str], str | None] = field(default_factory=dict)  # column, label -> generator

    def __post_init__(self) -> None:
        self.columns = columns_of(self.parquet, self.card, self.file.origin)
        self.labels.notes |= dict.fromkeys(disagreement(self.columns.names, self.columns.card_names))
        about = self.spec.columns
        self.key = Template(about.source_key or "{source_key}")
        self.source = Template(about.source) if about.source else None
        self.split = plain_split(split_name(self.file.origin, self.card))

    @property
    def where(self) -> str:
        """The file, for errors."""
        return f"{self.root}/{self.file.origin}"

    def samples(self, listing: Listing) -> list[RawSample]:
        """A sample a row; rows without a class, or of an unknown generator, are counted in `listing`."""
        picture = picture_column(self.columns, self.spec.columns.image, self.where)
        asked = self._asked_columns(picture)
        self._name_numbers(asked)
        refuse_empty(self.parquet, picture)
        for group in range(self.parquet.num_row_groups):
            rows_at_once(self.parquet.metadata.row_group(group), picture)  # refuses what is too large
        done, row = [], 0
        for rows in read_columns(self.parquet, [name for name in dict.fromkeys(asked.values()) if name]):
            for values in rows:
                member = member_name(row, picture)
                generator = self._generator(asked, values, f"{self.file.origin}/{member}", listing)
                if generator is not None:
                    done.append(self._sample(generator, member, row, asked, values))
                row += 1
        self.labels.see_texts(word for _, text in self.known for word in (text, text.removesuffix(".0")))
        return done

    def _name_numbers(self, asked: Mapping[str, str | None]) -> None:
        """Take the generators that `labels` give to classes by their numbers, where the names say nothing."""
        for column in (name for role, name in asked.items() if name and role.startswith(("label", "generator"))):
            names = self.columns.names.get(column, ())
            said = names_by_number(self.spec, names, f"{self.where}: column {quoted(column)}")
            self.known.update({(column, name): key for name, key in said.items()})
            self.labels.see_texts(str(names.index(name)) for name in said)

    def _asked_columns(self, picture: str) -> dict[str, str | None]:
        """Role -> column; also every column that a template of the dataset file names."""
        about: ColumnsSpec = self.spec.columns
        there = {name.casefold(): name for name in self.columns.known if name != picture}

        def column_of(names: tuple[str, ...]) -> str | None:
            return next((there[name.casefold()] for name in names if name.casefold() in there), None)

        asked = {role: column_of(getattr(about, role)) for role in ("label", "generator", "split")}
        more = (there[name.casefold()] for name in about.label if name.casefold() in there)
        asked |= {f"label {name}": name for name in more if name != asked["label"] and self._like_label(name)}
        if asked["label"] is None and asked["generator"] is None:
            raise ConfigError(
                f"{self.where}: no column says who made the pictures; name one as `columns: {{label: [...]}}` in a copy"
                f" of the dataset file (there are {', '.join(there.values())[:200]})"
            )
        for text in (about.source_key or "{source_key}", about.source or ""):
            given = text in (about.source_key, about.source)
            for name in Template(text).fields:
                if name.casefold() in there:
                    asked[f"field {name}"] = there[name.casefold()]
                elif given:
                    raise ConfigError(f"{self.where}: no column {quoted(name)}, which {quoted(text)} needs")
        for column in filter(None, asked.values()):
            if not self._like_label(column):
                kind = self.parquet.schema_arrow.field(column).type
                raise ConfigError(f"{self.where}: column {quoted(column)} holds {str(kind)[:80]}, no label")
        return asked

    def _like_label(self, column: str) -> bool:
        return label_like(self.parquet.schema_arrow.field(column).type)

    def _generator(
        self, asked: Mapping[str, str | None], values: Mapping[str, Any], origin: str, listing: Listing
    ) -> str | None:
        generator, why = self._reading(asked, values)
        if generator is None:
            listing.ignore(why, origin)
        return generator

    def _reading(self, asked: Mapping[str, str | None], values: Mapping[str, Any]) -> tuple[str | None, str]:
        """The generator of a row, or None and why the row is left out."""
        label, maker = (self._text(asked[role], values) for role in ("label", "generator"))
        said = self._class(asked["label"], label)
        made = self._class(asked["generator"], maker, said == REAL_KEY)
        if any(labels_contradict(said, other) for other in self._other_labels(asked, values)):
            return None, TWO_LABELS
        if said == REAL_KEY:
            forged = label_of(made) == FAKE and not self.spec.columns.reals_have_models
            return (None, FORGED_REAL) if forged else (said, "")
        name = maker if maker is not None else label
        if said is None and made is None:
            if name is None:
                return UNLABELLED_KEY, ""  # no value, or -1 of a class label
            self.labels.unnamed |= {label: None} if label is not None and len(self.labels.unnamed) < _MOST_KNOWN else {}
            return None, f"unknown generator {quoted(name)}"
        if said is not None and made is not None and generators_differ(said, made):
            return None, TWO_NAMES
        if said == _FAKE_KEY and made is None and maker:
            return None, f"unknown generator {quoted(maker)}"
        vague = (None, UNLABELLED_KEY) if said == _FAKE_KEY else (None, UNLABELLED_KEY, _FAKE_KEY)
        return (said if said is not None and made in vague else made), ""

    def _other_labels(self, asked: Mapping[str, str | None], values: Mapping[str, Any]) -> Iterator[str | None]:
        """What further columns of labels say; a number without a name says nothing here."""
        for column in (name for role, name in asked.items() if role.startswith("label ")):
            yield self._class(column, self._text(column, values), True)

    def _class(self, column: str | None, text: str | None, bare: bool = False) -> str | None:
        """The generator of a label; with `bare` one without a name is None, and no error."""
        if column is None or text is None:
            return None
        if (column, text) in self.known:  # a few labels, a million rows
            return self.known[column, text]
        try:
            found = class_of(self.spec, text, f"{self.where}: column {quoted(column)}", column)
        except ConfigError:
            if not bare:
                raise
            return None
        if len(self.known) < _MOST_KNOWN:
            self.known[column, text] = found
        return found

    def _text(self, column: str | None, values: Mapping[str, Any]) -> str | None:
        """A value as text: of a class label its name; None where there is none."""
        value = values.get(column) if column is not None else None
        names = self.columns.names.get(column or "")
        if value is None or (names and value == -1):
            return None
        if names and isinstance(value, int) and 0 <= value < len(names):
            return names[value]
        if not isinstance(value, str | int | float | bool):
            raise ConfigError(f"{self.where}: column {quoted(column)} holds {type(value).__name__}, no label")
        return str(value)[:_MAX_TEXT] or None

    def _sample(
        self, generator: str, member: str, row: int, asked: Mapping[str, str | None], values: Mapping[str, Any]
    ) -> RawSample:
        named = ((role, name) for role, name in asked.items() if role.startswith("field "))
        fields = {role.removeprefix("field "): self._text(name, values) for role, name in named}
        own = self._text(asked["split"], values)
        return RawSample(
            dataset=self.spec.name,
            generator=generator,
            split=self.spec.split_of(plain_split(own)) if own else self.spec.split_of(self.split),
            origin=f"{self.file.origin}/{member}",
            path=self.file.path,
            source_key=self.key.fill(fields),
            source=self.source.fill(fields) if self.source else None,
            size=self.file.size,
            changed=self.file.changed,
            medium="parquet",
            member=member,
            position=row,
        )
