"""A still image in a file of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dfad_bench.data.images import ImageRefused, decode_image, formats_of, read_source
from dfad_bench.ingest.media.base import Frame, Sampling
from dfad_bench.ingest.sample import RawSample

if TYPE_CHECKING:
    from PIL import Image


def frames(sample: RawSample, sampling: Sampling) -> Iterator[Frame]:
    """The one picture.

    Raises:
        ImageRefused: it cannot be read or decoded; `source_sha256` is the hash of its bytes if they could be read.
    """
    data = read_source(sample.path)
    digest = hashlib.sha256(data).hexdigest()
    yield Frame(decode_known(data, digest, sample.origin), digest, source_bytes=len(data))


def decode_known(data: bytes, digest: str, name: str) -> Image.Image:
    """`decode_image` of a file of this name, with the hash of the bytes attached to a refusal.

    Raises:
        ImageRefused: see `decode_image`.
    """
    try:
        return decode_image(data, formats=formats_of(name))
    except ImageRefused as refused:
        refused.source_sha256 = digest
        raise
