"""Hugging Face style image folders: a folder per class, or metadata files beside the images."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import ConfigError, listed, quoted
from dfad_bench.core.files import plain_path
from dfad_bench.core.labels import FAKE, REAL
from dfad_bench.core.plain import parse_json
from dfad_bench.core.taxonomy import REAL_KEY, UNLABELLED_KEY
from dfad_bench.data.images import EXTENSIONS, ImageRefused, read_source
from dfad_bench.ingest.media.archive import read_member
from dfad_bench.ingest.media.parquet_file import open_parquet, read_columns
from dfad_bench.ingest.sample import FoundFile, RawSample
from dfad_bench.ingest.sources.archives import list_all_files
from dfad_bench.ingest.sources.base import Listing
from dfad_bench.ingest.sources.classes import class_of
from dfad_bench.ingest.sources.fitted import Fitted
from dfad_bench.ingest.sources.folders import fit_file, sample_of
from dfad_bench.ingest.sources.label_checks import FORGED_REAL, TWO_LABELS, label_of, labels_contradict
from dfad_bench.ingest.sources.spec import DatasetSpec
from dfad_bench.ingest.sources.spec_parts import Entry
from dfad_bench.ingest.sources.template import Template

_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_CLASSES = ("generator", "label", "class", "model", "is_fake", "is_real")
_MAKERS = ("generator", "model")  # who made a picture; the others say real or forged
_READ = ("file_name", *_CLASSES, "split", "source_key", "source", "target")
_MAX_BYTES = 1 << 30
_SPLITS = ("train", "val", "test")

Row = Mapping[str, str]


def list_images(spec: DatasetSpec, root: Path) -> Listing:
    """The images below `root`; metadata say more than folder names, but for what is real: there the folder counts.

    A metadata row names its image by `file_name`, relative to the metadata file. `generator` (or `label`, `class`,
    `model`), `split`, `source_key`, `source` and `target` (the path of the real target face, relative as well) are
    read where they are given. Images that are named in a row and missing on disk are counted.

    Raises:
        ConfigError: no such folder, or a damaged metadata file.
    """
    listing = Listing()
    entries = [(entry, Template(entry.path)) for entry in spec.entries]
    files, rows, places = _files_and_rows(spec, root, listing)
    otherwise = []
    for file in files:
        row = rows.pop(file.origin, None)
        found = fit_file(spec, file, entries)
        sample = found.sample if isinstance(found, Fitted) else None
        generator = sample.generator if sample else None
        name = found if isinstance(found, str) else None
        if row is not None and (key := next((key for key in _CLASSES if row.get(key)), None)):
            name = row[key]
            generator, why = _reading(spec, row, key, places[file.origin])
            if why:
                listing.ignore(why, file.origin)
                continue
            if sample is not None and labels_contradict(sample.generator, generator):
                generator = sample.generator
                otherwise.append(file.origin)
        elif name is not None:  # a folder that is no generator's name: 0 and 1 are refused
            generator = class_of(spec, name, f"{root}: folder of {file.origin}")
        if generator is not None:
            sample = sample or sample_of(spec, file, Entry("{image:path}", generator=generator), {}, generator)
            listing.samples.append(_with_metadata(spec, replace(sample, generator=generator), row or {}))
        else:
            listing.ignore(f"unknown generator {quoted(name)}" if name else _reason_left_out(file), file.origin)
    listing.notes += _folder_notes(otherwise)
    for name in rows:
        listing.ignore("named in the metadata, but not there", name)
    return listing


def _files_and_rows(
    spec: DatasetSpec, root: Path, listing: Listing
) -> tuple[list[FoundFile], dict[str, Row], dict[str, str]]:
    """The files that are no metadata, the row of each image, and where it stands."""
    rows: dict[str, Row] = {}
    places: dict[str, str] = {}  # image -> metadata file and line
    files: list[FoundFile] = []
    for file in list_all_files(root, listing, lambda place: False, spec.follow_links):
        if file.origin.rpartition("/")[2].lower() in _METADATA and not file.must_not_be_read:
            for number, image, facts in _rows(root, file):
                here = f"{root}/{file.origin}: line {number}"
                if image in places:
                    raise ConfigError(f"{here}: {quoted(image)} is also in {places[image]}; name each image once")
                rows[image], places[image] = facts, here
            if not any(place.startswith(f"{root}/{file.origin}: ") for place in places.values()):
                listing.ignore("metadata file without a row", file.origin)
        else:
            files.append(file)
    return files, rows, places


def _folder_notes(otherwise: list[str]) -> Iterator[str]:
    if otherwise:
        yield (
            f"{len(otherwise):,} pictures are real by their folder and forged by the metadata, or the other way round"
            f" ({quoted(otherwise[0])} ...): the folder counts"
        )


def _reading(spec: DatasetSpec, row: Row, first: str, where: str) -> tuple[str | None, str]:
    """The generator of a row by its first column of classes, or None and why its columns contradict each other."""
    said: dict[str, str | None] = {}
    for key in (key for key in _CLASSES if row.get(key)):
        with (
            suppress(ConfigError) if key != first else nullcontext()
        ):  # beside another a number may stay without a name
            said[key] = class_of(spec, row[key], f"{where}, column {key}", key)
    label = next((key for name, key in said.items() if name not in _MAKERS and label_of(key) is not None), None)
    if label == REAL_KEY and any(label_of(said.get(name)) == FAKE for name in _MAKERS):
        return (label, "") if spec.columns.reals_have_models else (None, FORGED_REAL)
    if {label_of(key) for key in said.values()} >= {FAKE, REAL}:
        return None, TWO_LABELS
    vague = said[first] == UNLABELLED_KEY or (said[first] is None and label == REAL_KEY)
    return (label if vague and label is not None else said[first]), ""


def _with_metadata(spec: DatasetSpec, sample: RawSample, row: Row) -> RawSample:
    split = spec.split_of(row.get("split")) or sample.split
    if split is None:
        first = spec.split_of(sample.origin.split("/")[0])
        split = first if first in _SPLITS else None
    target = row.get("target") or None
    return replace(
        sample,
        split=split,
        source_key=row.get("source_key") or sample.source_key,
        source=row.get("source") or sample.source,
        target_origin=target,
        pair_confidence=1.0 if target else None,
    )


def _rows(root: Path, file: FoundFile) -> Iterator[tuple[int, str, Row]]:
    """(line, origin of the image, its row) for each line of a metadata file."""
    where = f"{root}/{file.origin}"
    folder = file.origin.rpartition("/")[0]
    for number, row in _parquet(file, where) if file.origin.lower().endswith(".parquet") else _text_rows(file, where):
        fields = {key.strip().casefold(): value for key, value in row.items()}
        if len(fields) < len(row):
            raise ConfigError(f"{where}: line {number}: two columns of one name ({listed(row)})")
        name = fields.get("file_name")
        if not name:
            others = [key for key in row if key.endswith(("_file_name", "file_names"))]
            several = f" ({listed(others)} name several pictures of a row: write a row for each)" if others else ""
            raise ConfigError(f"{where}: line {number}: no file_name{several}")
        if target := fields.get("target"):
            fields["target"] = _join(folder, target)
        yield number, _join(folder, name), fields


def _parquet(file: FoundFile, where: str) -> Iterator[tuple[int, Row]]:
    if file.member is not None:
        raise ConfigError(f"{where}: unpack it; Parquet is read from plain files only")
    try:
        parquet = open_parquet(file.path)
        known = parquet.schema_arrow.names
        if "file_name" not in map(str.casefold, known):  # said where the rows of all metadata files are looked at
            yield 1, dict.fromkeys(known, "")
        read = [name for name in known if name.casefold() in _READ]
        rows = (row for batch in read_columns(parquet, read) for row in batch)
        for number, row in enumerate(rows, start=1):
            yield number, {str(key): str(value) for key, value in row.items() if value is not None}
    except ImageRefused as refused:
        raise ConfigError(f"{where}: cannot be read ({refused})") from refused


def _text_rows(file: FoundFile, where: str) -> Iterator[tuple[int, Row]]:
    try:
        if file.member is None:
            data = read_source(file.path, max_bytes=_MAX_BYTES)
        else:
            data = read_member(file.path, file.member, file.position, max_bytes=_MAX_BYTES)
        text = data.decode("utf-8-sig")
    except (ImageRefused, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: cannot be read ({error})") from error
    yield from (_csv if file.origin.lower().endswith(".csv") else _jsonl)(text, where)


def _csv(text: str, where: str) -> Iterator[tuple[int, Row]]:
    try:
        reader = csv.DictReader(io.StringIO(text), strict=True)
        names = reader.fieldnames or ()
        if twice := sorted({name for name in names if list(names).count(name) > 1}):
            raise ConfigError(f"{where}: two columns {quoted(twice[0])}")
        for row in reader:
            yield reader.line_num, {str(key): str(value or "") for key, value in row.items()}
    except csv.Error as error:
        raise ConfigError(f"{where}: not a CSV table ({error})") from error


def _jsonl(text: str, where: str) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row: Any = parse_json(line, constants=True)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{where}: line {number}: not JSON ({error})") from error
        if not isinstance(row, dict):
            raise ConfigError(f"{where}: line {number}: must be an object")
        yield number, {str(key): str(value) for key, value in row.items() if value is not None}


def _join(folder: str, name: str) -> str:
    path = plain_path(name).lstrip("/")
    return f"{folder}/{path}" if folder else path


def _reason_left_out(file: FoundFile) -> str:
    image = file.origin.lower().rpartition(".")[2] in EXTENSIONS
    return "no class: neither a folder nor a metadata row says who made it" if image else "no image"
