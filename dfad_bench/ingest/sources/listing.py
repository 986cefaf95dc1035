"""The listing of a source folder by its dataset file, whatever the layout."""

from __future__ import annotations

import os
from pathlib import Path

from dfad_bench.core.files import is_plain_relative
from dfad_bench.core.registry import resolve
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.sources import SOURCES
from dfad_bench.ingest.sources.base import LINKED, READ_ALREADY, Listing
from dfad_bench.ingest.sources.spec import DatasetSpec


def list_source(spec: DatasetSpec, root: Path) -> Listing:
    """The samples below `root`, and what was left out; links are followed where the dataset says so, each file once.

    Raises:
        ConfigError: no such folder, or a damaged list in it.
    """
    listing: Listing = resolve("layout", spec.layout, SOURCES)(spec, root)
    if spec.follow_links:
        _drop_doubles(listing, os.path.realpath(root))
    elif note := _links_note(listing):
        listing.notes.append(note)
    return listing


def _drop_doubles(listing: Listing, base: str) -> None:
    """Of several names of one file keep the file's own, else the first; the others are counted."""
    best: dict[tuple[Path, str | None], RawSample] = {}

    def rank(sample: RawSample) -> tuple[bool, str]:
        return str(sample.path) != os.path.join(base, _file_of(sample)), sample.origin  # noqa: PTH118

    for sample in listing.samples:
        kept = best.setdefault((sample.path, sample.member), sample)
        if rank(sample) < rank(kept):
            best[sample.path, sample.member] = sample
    samples, listing.samples = listing.samples, []
    for sample in samples:
        if sample.refusal or best[sample.path, sample.member] is sample:
            listing.samples.append(sample)
        else:
            listing.ignore(READ_ALREADY, sample.origin)


def _file_of(sample: RawSample) -> str:
    """The name of the file below the root: of a member that of its archive."""
    return sample.origin if sample.member is None else sample.origin.removesuffix(f"/{sample.member}")


def _links_note(listing: Listing) -> str | None:
    refused = [s for s in listing.samples if s.refusal == "outside_root" and is_plain_relative(s.origin)]
    parts = [f"{len(refused):,} links to files elsewhere"] * bool(refused)
    parts += [f"{number:,} linked folders" for why, number in listing.ignored.items() if why == LINKED]
    return f"{' and '.join(parts)} are not followed; --follow-links reads them" if parts else None
