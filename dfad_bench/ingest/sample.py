"""What flows through a build: files found in a release, and the samples made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dfad_bench.data.manifest import sample_id


@dataclass(frozen=True, slots=True)  # a million of them are held at once
class RawSample:
    """One image, or one video of which frames will be taken, with what its place says about it.

    `medium` names how pixels are read (`dfad_bench.ingest.media`). `member` is the name inside an archive, whose
    path is then `path`; `origin` holds both. `position` is its place in an archive that can only be read from its
    beginning, so that members go by in that order. `weight` is about how many rows it will give.
    `target_origin` is the real face a forged one was made from, in `target_dataset` (its own where None).
    `target_path` is the target's file where frames of two videos are to be paired; `target_size` its bytes.
    `refusal` is a manifest status where the adapter already knows that the file must not be opened.
    """

    dataset: str
    generator: str
    split: str | None
    origin: str
    path: Path
    source_key: str | None = None
    target_origin: str | None = None
    target_dataset: str | None = None
    target_path: Path | None = None
    target_size: int = 0
    pair_confidence: float | None = None
    frame: int | None = None  # index of a video frame stored in a file of its own
    size: int = 0  # bytes
    medium: str = "image"
    member: str | None = None
    position: int | None = None
    weight: int = 1
    refusal: str | None = None

    @property
    def sample_id(self) -> str:
        """The face's name in every manifest; of a video, the name of the video as a whole."""
        return sample_id(self.dataset, self.origin)

    @property
    def target_id(self) -> str | None:
        """The name of the real target face; of a video, of the real video as a whole."""
        return self._target(None)

    @property
    def container(self) -> str:
        """What must be opened as a whole: an archive without random access for its members, else the image itself."""
        if self.member is None or self.position is None:
            return self.origin
        return self.origin.removesuffix("/" + self.member)

    def frame_id(self, frame: int) -> str:
        """The name of one frame of a video."""
        return sample_id(self.dataset, self.origin, frame)

    def target_frame_id(self, frame: int) -> str | None:
        """The name of the frame of the same index in the real target video."""
        return self._target(frame)

    def _target(self, frame: int | None) -> str | None:
        if self.target_origin is None:
            return None
        return sample_id(self.target_dataset or self.dataset, self.target_origin, frame)


@dataclass(frozen=True)
class FoundFile:
    """A file below the source folder, or a member of an archive there. `outside`: a link that leads out of it.

    `places` are the paths that templates are tried on: of a member also those it would have unpacked.
    """

    origin: str  # POSIX, relative, Unicode as found; bytes that are no UTF-8 as \\xNN
    path: Path
    size: int
    outside: bool = False
    member: str | None = None
    position: int | None = None
    places: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.places:
            object.__setattr__(self, "places", (self.origin,))
