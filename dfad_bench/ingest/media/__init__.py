"""How pixels are read: a medium a file, found by name. A reader gives frames; what cannot be read is `ImageRefused`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dfad_bench.core.registry import resolve
from dfad_bench.ingest.media.base import Frame, Reader, Sampling

if TYPE_CHECKING:
    from dfad_bench.ingest.sample import RawSample

MEDIA = {
    "archive": "dfad_bench.ingest.media.archive:frames",
    "image": "dfad_bench.ingest.media.image:frames",
    "video": "dfad_bench.ingest.media.video:frames",
    "animation": "dfad_bench.ingest.media.animation:frames",
}


def read(sample: RawSample, sampling: Sampling) -> Iterator[Frame]:
    """The frames of a sample, by its medium.

    Raises:
        UnknownNameError: no such medium.
        ImageRefused: nothing (more) can be read.
    """
    reader: Reader = resolve("medium", sample.medium, MEDIA)
    return reader(sample, sampling)
