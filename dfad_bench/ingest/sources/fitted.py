"""A sample, and how its path fits the dataset file."""

from __future__ import annotations

from typing import NamedTuple

from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.sources.spec import Entry


class Fitted(NamedTuple):
    """A sample, and how its path fits: the entry, its number in the dataset file, its fields, the path that fits."""

    sample: RawSample
    entry: Entry
    order: int
    fields: dict[str, str]
    place: str
