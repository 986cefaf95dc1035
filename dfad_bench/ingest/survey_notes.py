"""Remarks about a source folder for the doctor and the build."""

from __future__ import annotations

from collections.abc import Iterator

from dfad_bench.core.errors import quoted
from dfad_bench.ingest.sources.base import NOT_ASKED, PACKED_VIDEO, Listing
from dfad_bench.ingest.sources.label_checks import FORGED_REAL, TWO_LABELS, TWO_NAMES
from dfad_bench.ingest.sources.spec import DatasetSpec

UNLABELLED = "unlabelled"


def release_notes(spec: DatasetSpec, listing: Listing) -> Iterator[str]:
    """Where the real faces are of a release that has none, what is forged in part, and what is not known of it."""
    for name, what in spec.reals_in.items():
        yield f"the real faces are not in this release: {what} (dataset {name}; `dfad infer-pairs --real` joins them)"
    if partly := sum(bool(sample.spans) for sample in listing.samples):
        yield f"{partly:,} videos are forged in part: each frame has the label of its interval"
    if masked := sum(sample.mask_path is not None for sample in listing.samples):
        yield f"{masked:,} forged files have a mask: each face has the label of its place in it"
    yield from (f"not known: {what}" for what in spec.unknown)


def left_out_notes(listing: Listing) -> Iterator[str]:
    """What a build leaves out, and what to do about it."""
    for why, number in sorted(listing.ignored.items()):
        if why.endswith(NOT_ASKED):
            yield f"{number:,} files: {why} (--only)"
    yield from advice(listing)
    if packed := listing.ignored.get(PACKED_VIDEO):
        yield f"{packed:,} videos lie in archives: unpack them ({quoted(listing.examples[PACKED_VIDEO][0])} ...)"


def unlabelled_note(spec: DatasetSpec, listing: Listing) -> Iterator[str]:
    """A line where the generator of a folder of files was not given."""
    if spec.generator_option and any(s.generator == UNLABELLED for s in listing.samples):
        yield "what made these files is not known: all are `unlabelled`; say it with --generator NAME"


def advice(listing: Listing) -> Iterator[str]:
    """What to do about files that a build leaves out."""
    for why in (FORGED_REAL, TWO_LABELS, TWO_NAMES):
        if number := listing.ignored.get(why):
            yield f"{number:,} pictures are left out: {why} ({quoted(listing.examples[why][0])} ...)"
    if unknown := [why for why in listing.ignored if why.startswith("unknown generator")]:
        yield (
            f"{unknown[0]}{' and others' if unknown[1:] else ''}: map the name under `generators` of the dataset file, "
            "and declare there under `taxonomy` what `dfad list generators` does not show"
        )
