"""Images listed in a CSV beside them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from dfad_bench.core.errors import ConfigError, listed, quoted
from dfad_bench.core.files import plain_path, safe_relative
from dfad_bench.core.labels import ForgeryType
from dfad_bench.core.taxonomy import taxonomy
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.sources.base import Listing, walk_files
from dfad_bench.ingest.sources.classes import class_of
from dfad_bench.ingest.sources.prefixes import map_prefix, suggest_prefix
from dfad_bench.ingest.sources.spec import DatasetSpec
from dfad_bench.ingest.sources.spec_parts import TableSpec
from dfad_bench.ingest.sources.template import Template

_MAX_BYTES = 1 << 30


def list_images(spec: DatasetSpec, root: Path) -> Listing:
    """The rows of the table as samples; a listed file that is missing becomes a refused row.

    Raises:
        ConfigError: no such folder or table, a missing column, or a file listed twice.
    """
    assert spec.table is not None  # guaranteed by DatasetSpec
    if not root.is_dir():
        raise ConfigError(f"{root}: no such folder")
    listing = Listing()
    file = root / spec.table.file
    lines: dict[str, int] = {}
    for number, row in _rows(file, spec.table):
        path = Template(spec.table.path).fill(row)
        if path is None:
            raise ConfigError(f"{file}: line {number}: no path")
        origin = map_prefix(path if "\\" in path and not spec.prefixes else plain_path(path), spec.prefixes)
        if origin in lines:
            raise ConfigError(f"{file}: line {number}: {quoted(origin)} is also on line {lines[origin]}")
        lines[origin] = number
        name = Template(spec.table.generator).fill(row) or ""
        generator = class_of(spec, name, f"{file}: line {number}", spec.table.generator.strip("{}"))
        if generator is None:
            listing.ignore(f"unknown generator {quoted(name)}", origin)
            continue
        listing.samples.append(_sample(spec, spec.table, root, origin, generator, row))
    if not lines:
        raise ConfigError(f"{file}: no row below the header{' that `where` keeps' if spec.table.where else ''}")
    listing.samples = _with_targets(listing.samples, spec.table)
    missing = (s.origin for s in listing.samples if s.refusal or not s.size)
    listing.notes += [note] if (note := suggest_prefix(root, missing, spec.prefixes)) else []
    _count_unlisted(spec, root, lines, listing)
    return listing


def _with_targets(samples: list[RawSample], table: TableSpec) -> list[RawSample]:
    known = {sample.origin.casefold(): sample for sample in samples}
    rules = [(Template(rule.path), [Template(text) for text in rule.target]) for rule in table.pairs]
    return [_with_target(sample, rules, known) for sample in samples]


def _with_target(
    sample: RawSample, rules: list[tuple[Template, list[Template]]], known: dict[str, RawSample]
) -> RawSample:
    if taxonomy()[sample.generator].forgery in (ForgeryType.EFS, ForgeryType.NONE):
        return sample  # real, or made from no face, whatever its name looks like
    for template, targets in rules:
        fields = template.match(sample.origin)
        for target in targets if fields is not None else ():
            real = known.get((target.fill(fields or {}) or "").casefold())
            if real is not None and real.origin != sample.origin:
                return replace(sample, target_origin=real.origin, pair_confidence=1.0)
    return sample


def _sample(
    spec: DatasetSpec, table: TableSpec, root: Path, origin: str, generator: str, row: dict[str, str]
) -> RawSample:
    refusal = None
    try:
        path = safe_relative(root, origin, follow=spec.follow_links)
    except (ConfigError, OSError, ValueError):
        path, refusal = root, "outside_root"
    size = changed = 0
    with suppress(OSError):
        if refusal is None:
            size, changed = (facts := path.stat()).st_size, facts.st_mtime_ns
    return RawSample(
        dataset=spec.name,
        generator=generator,
        split=spec.split_of(Template(table.split).fill(row)) if table.split else None,
        origin=origin,
        path=path,
        source_key=Template(table.source_key).fill(row) if table.source_key else None,
        source=Template(table.source).fill(row) if table.source else None,
        size=size,
        changed=changed,
        refusal=refusal,
    )


def _rows(file: Path, table: TableSpec) -> Iterator[tuple[int, dict[str, str]]]:
    texts = [table.path, table.generator, table.split, table.source_key, table.source]
    needed = {name for text in texts if text for name in Template(text).fields} | set(table.where)
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{file}: larger than {_MAX_BYTES} bytes")
        with file.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, strict=True)
            if missing := sorted(needed - set(reader.fieldnames or ())):
                raise ConfigError(
                    f"{file}: no columns {quoted(missing)}; found {listed(reader.fieldnames or ['none'])}"
                )
            for row in reader:
                if all(row[column] in values for column, values in table.where.items()):
                    yield reader.line_num, row
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not a CSV table ({error})") from error


def _count_unlisted(spec: DatasetSpec, root: Path, listed: dict[str, int], listing: Listing) -> None:
    assert spec.table is not None
    skip = [Template(text) for text in (*spec.skip, spec.table.file)]
    for file in walk_files(root, listing, spec.follow_links):
        if file.origin in listed:
            continue
        known = any(template.match(file.origin) is not None for template in skip)
        listing.ignore("not part of this dataset" if known else "not in the table", file.origin)
