"""Readers of pixels, one file per medium, found by name. They yield frames and raise `ImageRefused` on bad input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dfad_bench.core.registry import resolve
from dfad_bench.ingest.media.base import Frame, LostFrame, Reader, Sampling

if TYPE_CHECKING:
    from dfad_bench.ingest.sample import RawSample

MEDIA = {
    "archive": "dfad_bench.ingest.media.archive:frames",
    "image": "dfad_bench.ingest.media.image:frames",
    "video": "dfad_bench.ingest.media.video:frames",
    "animation": "dfad_bench.ingest.media.animation:frames",
    "parquet": "dfad_bench.ingest.media.parquet:frames",
}


def read(sample: RawSample, sampling: Sampling) -> Iterator[Frame | LostFrame]:
    """The frames of a sample, by its medium.

    Raises:
        UnknownNameError: no such medium.
        ImageRefused: the sample, or the rest of it, cannot be read.
    """
    reader: Reader = resolve("medium", sample.medium, MEDIA)
    return reader(sample, sampling)
