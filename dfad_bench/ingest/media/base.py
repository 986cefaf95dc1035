"""What readers of media share: the choice of frames, the frame, and the interface of a reader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dfad_bench.data.images import ANIMATION_EXTENSIONS
from dfad_bench.ingest.sample import RawSample

if TYPE_CHECKING:
    from PIL import Image

_WEIGHT = 64  # rows a video is assumed to give where only the stride is known


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video are taken: `frames` evenly spaced over all of it, or every `stride`-th.

    Of `count` frames, the i-th of n is number `i * (count - 1) // (n - 1)`: NumPy's `linspace(0, count - 1, n)`
    in integers, first and last frame included; all frames where there are no more than n.
    """

    frames: int | None = 32
    stride: int | None = None

    def __post_init__(self) -> None:
        if (self.frames is None) == (self.stride is None):
            raise ValueError("give either frames or stride")
        if (self.frames or self.stride or 0) < 1:
            raise ValueError("frames and stride must be 1 or more")

    def indices(self, count: int) -> list[int]:
        """The frames taken of a video of `count` frames, ascending.

        >>> Sampling(frames=4).indices(10), Sampling(frames=4).indices(3), Sampling(None, 4).indices(10)
        ([0, 3, 6, 9], [0, 1, 2], [0, 4, 8])
        """
        if self.frames is None:
            return list(range(0, count, self.stride or 1))
        if count <= self.frames:
            return list(range(count))
        return [i * (count - 1) // max(1, self.frames - 1) for i in range(self.frames)]

    def weight(self, medium: str) -> int:
        """About how many rows a sample of a medium gives."""
        return (self.frames or _WEIGHT) if medium in ("video", "animation") else 1


def medium_of(name: str) -> str:
    """The medium of a video file, by its extension."""
    return "animation" if name.lower().rpartition(".")[2] in ANIMATION_EXTENSIONS else "video"


@dataclass(frozen=True)
class Frame:
    """One image: RGB, upright. `index` counts the frames of a video from 0; None for a still image."""

    image: Image.Image  # its `format` names the source's format or codec
    source_sha256: str  # of the bytes of the file or archive member
    index: int | None = None
    source_bytes: int | None = None  # size of the file or archive member


@dataclass(frozen=True)
class LostFrame:
    """A sampled frame of a video that cannot be used, while others of the video can."""

    index: int
    reason: str
    source_sha256: str  # of the file


class Reader(Protocol):
    """Reads one sample.

    Raises:
        ImageRefused: the sample, or the rest of it, cannot be read; frames yielded before remain valid.
    """

    def __call__(self, sample: RawSample, sampling: Sampling) -> Iterator[Frame | LostFrame]:
        """The frames of a sample, in order."""
