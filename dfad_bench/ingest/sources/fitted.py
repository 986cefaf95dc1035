"""A sample, and the entry of the dataset file that its path fits."""

from __future__ import annotations

from typing import NamedTuple

from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.sources.spec_parts import Entry


class Fitted(NamedTuple):
    """A sample, the entry its path fits, the entry's number in the dataset file, its fields, and the path that fits."""

    sample: RawSample
    entry: Entry
    order: int
    fields: dict[str, str]
    place: str
