"""How pixels are read: a medium a file, found by name. A reader gives frames; what cannot be read is `ImageRefused`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dfad_bench.core.registry import resolve

if TYPE_CHECKING:
    from PIL import Image

    from dfad_bench.data.sources.base import RawSample

MEDIA = {
    "image": "dfad_bench.data.media.image:frames",
}


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video are taken: `frames` evenly spaced over the whole of it, or every `stride`-th."""

    frames: int | None = 32
    stride: int | None = None

    def __post_init__(self) -> None:
        if (self.frames is None) == (self.stride is None):
            raise ValueError("give either frames or stride")
        if (self.frames or self.stride or 0) < 1:
            raise ValueError("frames and stride must be 1 or more")


@dataclass(frozen=True)
class Frame:
    """One picture: RGB, upright. `index` counts the frames of a video from 0; None for an image."""

    image: Image.Image  # its `format` names the source's format or codec
    source_sha256: str  # of the bytes of the file or archive member
    index: int | None = None
    source_bytes: int | None = None  # size of the file or archive member


class Reader(Protocol):
    """Reads one sample.

    Raises:
        ImageRefused: nothing (more) can be read; frames given before stay.
    """

    def __call__(self, sample: RawSample, sampling: Sampling) -> Iterator[Frame]:
        """The frames of a sample, in order."""


def read(sample: RawSample, sampling: Sampling) -> Iterator[Frame]:
    """The frames of a sample, by its medium.

    Raises:
        UnknownNameError: no such medium.
        ImageRefused: nothing (more) can be read.
    """
    reader: Reader = resolve("medium", sample.medium, MEDIA)
    return reader(sample, sampling)
