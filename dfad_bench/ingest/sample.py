"""The data of a build: files found in a release, and the samples made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dfad_bench.data.images import VIDEO_EXTENSIONS
from dfad_bench.data.manifest_schema import sample_id

OUTSIDE = "leads out of the source folder"


@dataclass(frozen=True, slots=True)  # a million of them are held at once
class RawSample:
    """One image, or one video of which frames will be taken, with what its path says about it.

    `medium` names the reader (`dfad_bench.ingest.media`). `member` is the name inside an archive, whose
    path is then `path`; `origin` holds both. `position` is its position in an archive that must be read from its
    beginning, so that members are read in that order. `weight` is about how many rows it will give.
    `target_origin` is the real face a forged one was made from, in `target_dataset` (its own where None).
    `target_path` is the target's file where frames of two videos are to be paired; `target_size` its bytes.
    `changed` and `target_changed` are the times of the files' last change (or of the archive's), in nanoseconds.
    `source` is the collection within the dataset, None where the dataset distinguishes none, empty where it does but
    not for this sample. `refusal` is a manifest status where the adapter already knows that the file must not be
    opened, `refusal_reason` says why.

    A video forged in part has `spans`: first frame, first frame behind, and generator of each; `outside` is that of all
    other frames. `mask_path` is the file whose white pixels are forged: a face it does not touch is real.
    """

    dataset: str
    generator: str
    split: str | None
    origin: str
    path: Path
    source_key: str | None = None
    source: str | None = None
    target_origin: str | None = None
    target_dataset: str | None = None
    target_path: Path | None = None
    target_size: int = 0
    target_changed: int = 0
    pair_confidence: float | None = None
    frame: int | None = None  # index of a video frame stored in a file of its own
    size: int = 0  # bytes
    changed: int = 0
    medium: str = "image"
    member: str | None = None
    position: int | None = None
    weight: int = 1
    refusal: str | None = None
    refusal_reason: str = OUTSIDE
    spans: tuple[tuple[int, int, str], ...] = ()
    outside: str | None = None
    mask_path: Path | None = None
    mask_size: int = 0
    mask_changed: int = 0

    def generator_at(self, frame: int | None) -> str:
        """Who made a frame of a video."""
        if frame is None or self.outside is None:
            return self.generator
        found = (generator for start, stop, generator in self.spans if start <= frame < stop)
        return next(found, self.outside)

    @property
    def sample_id(self) -> str:
        """The face's name in every manifest; of a video, the name of the video as a whole."""
        return sample_id(self.dataset, self.origin)

    @property
    def target_id(self) -> str | None:
        """The name of the real target face; of a video, of the real video as a whole.

        A stored frame whose target is a video (of another dataset) is paired with the frame of the same index.
        """
        video = (self.target_origin or "").lower().rpartition(".")[2] in VIDEO_EXTENSIONS
        return self._target(self.frame if video else None)

    @property
    def container(self) -> str:
        """The file to be read as a whole: for a member the archive if that has no random access, else the image."""
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
    """A file below the source folder, or a member of an archive in it. `outside`: a link to a file elsewhere.

    `damaged` says why no member of its archive can be trusted, and is empty where they can.
    `places` are the paths that templates are tried on; for a member also the paths it would have when unpacked.
    """

    origin: str  # POSIX, relative, Unicode as found; bytes that are not UTF-8 as \\xNN
    path: Path
    size: int
    outside: bool = False
    member: str | None = None
    position: int | None = None
    places: tuple[str, ...] = ()
    damaged: str = ""
    changed: int = 0  # time of the last change, of a member that of its archive, in nanoseconds

    @property
    def must_not_be_read(self) -> bool:
        """Whether it is refused without being opened."""
        return self.outside or bool(self.damaged)

    def __post_init__(self) -> None:
        if not self.places:
            object.__setattr__(self, "places", (self.origin,))
