"""Frames of animated GIF, WebP and PNG files, by Pillow; a still image is one frame."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dfad_bench.data.images import ANIMATION_EXTENSIONS, ImageRefused, read_source
from dfad_bench.ingest.media.animation_file import MAX_BYTES, frame_at, number_of_frames, open_animation
from dfad_bench.ingest.media.base import Frame, Sampling
from dfad_bench.ingest.media.video import check_file, frames_to_take
from dfad_bench.ingest.sample import RawSample

if TYPE_CHECKING:
    pass


def frames(sample: RawSample, sampling: Sampling) -> Iterator[Frame]:
    """The sampled frames, composed as they are shown, transparency over white.

    Raises:
        ImageRefused: no animation of a known format, too large, or damaged; frames before the damage are yielded.
    """
    check_file(sample.path, sample.origin, ANIMATION_EXTENSIONS, MAX_BYTES)
    data = read_source(sample.path, max_bytes=MAX_BYTES)
    digest = hashlib.sha256(data).hexdigest()
    try:
        image = open_animation(data)
        for number in frames_to_take(sample, sampling, number_of_frames(image)):
            yield Frame(frame_at(image, number), digest, number, len(data))
    except ImageRefused as refused:
        refused.source_sha256 = digest
        raise
