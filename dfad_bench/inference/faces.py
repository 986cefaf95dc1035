"""From a sample to the faces in it: read, found and cropped by the code that builds manifests.

Of a picture every face is cropped, the biggest first: that is the one a manifest would hold. Of a video one face is
followed through the sampled frames, as a manifest has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dfad_bench.data.images import ImageRefused
from dfad_bench.inference.provenance.stated_origin import StatedOrigin, stated_origin
from dfad_bench.ingest.crop.cropper import Crop, FaceCropper
from dfad_bench.ingest.crop.detector import Faces
from dfad_bench.ingest.media import read
from dfad_bench.ingest.media.base import Frame, LostFrame, Sampling
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.shard import ItemTimeout, each_frame, time_limit

if TYPE_CHECKING:
    from PIL import Image

VIDEOS = ("video", "animation")


@dataclass(frozen=True)
class FoundFace:
    """A face of a picture, or of a frame of a video. `number` counts from 1, the biggest face of a picture first."""

    crop: Crop
    number: int
    faces: int  # found in the picture, or in the frame
    frame: int | None
    width: int  # of the picture
    height: int
    source_sha256: str
    redelivered: tuple[Crop | None, ...] = ()  # its crops in re-deliveries of the picture; None: not found again

    @property
    def crop_sha256(self) -> str:
        """Hash of its pixels, as manifests keep it."""
        return hashlib.sha256(self.crop.pixels.tobytes()).hexdigest()


@dataclass(frozen=True)
class RefusedPart:
    """Why a sample, a frame of it, or a face in it is not predicted."""

    status: str
    reason: str
    frame: int | None = None


@dataclass(frozen=True)
class SampleFaces:
    """The faces of a sample, and what of it was refused; `left_out`: faces beyond the most that were asked for.

    `origin`: what the file itself states about where it comes from; None where it cannot be opened.
    """

    sample: RawSample
    faces: tuple[FoundFace, ...]
    refused: tuple[RefusedPart, ...]
    left_out: int = 0
    origin: StatedOrigin | None = None

    @property
    def is_video(self) -> bool:
        """Whether its faces are one face in several frames."""
        return self.sample.medium in VIDEOS


# an upright image and faces in it -> the crops of each face in re-deliveries
Redeliver = Callable[["Image.Image", Sequence[Crop]], list[tuple[Crop | None, ...]]]
_Found = tuple[list[FoundFace], list[RefusedPart], int]


def find_faces(
    sample: RawSample,
    cropper: FaceCropper,
    *,
    seconds: float,
    sampling: Sampling,
    most: int,
    redeliver: Redeliver | None = None,
    keep: Callable[[Image.Image], None] | None = None,
) -> SampleFaces:
    """The faces of a picture or video; whatever is wrong becomes a refused part.

    Args:
        sample: what to read.
        cropper: finds and crops faces.
        seconds: that the sample may take.
        sampling: frames of a video.
        most: faces of a picture.
        redeliver: makes the crops of each face in re-deliveries of its picture.
        keep: is handed every picture or frame with a face.
    """
    near: tuple[float, ...] | None = None

    def work(frame: Frame | LostFrame, known: Faces | None) -> _Found:
        nonlocal near
        if isinstance(frame, LostFrame):
            return [], [RefusedPart("unreadable", frame.reason, frame.index)], 0
        try:
            if sample.medium in VIDEOS:
                crops: list[Crop | ImageRefused] = [cropper.crop(frame.image, near, known)]
                near = crops[0].box or near if isinstance(crops[0], Crop) else near
            else:
                crops = cropper.crop_every(frame.image, known)
        except ImageRefused as refused:
            return [], [RefusedPart(refused.status, refused.reason, frame.index)], 0
        if keep is not None:
            keep(frame.image)
        return _faces_of(frame, crops, most, redeliver)

    made, refused = each_frame(sample, cropper, seconds, sampling, work)
    faces = tuple(face for some, _, _ in made for face in some)
    parts = [part for _, some, _ in made for part in some]
    parts += [] if refused is None else [RefusedPart(refused.status, refused.reason)]
    left_out = sum(left for _, _, left in made)
    return SampleFaces(sample, faces, tuple(parts), left_out, stated_origin(sample))


def frames_again(sample: RawSample, sampling: Sampling, seconds: float) -> Iterator[Frame]:
    """The frames of a video that was read before, one by one, up to the first that cannot be read.

    Args:
        sample: a video.
        sampling: its frames.
        seconds: that a frame may take.
    """
    frames = read(sample, sampling)
    while True:
        try:
            with time_limit(seconds):
                frame = next(frames, None)
        except (ImageRefused, ItemTimeout, MemoryError, ArithmeticError, AssertionError, LookupError, RuntimeError,
                TypeError, ValueError):  # what `each_frame` refuses the rest of a sample for  # fmt: skip
            return
        if frame is None:
            return
        if isinstance(frame, Frame):
            yield frame


def _faces_of(frame: Frame, crops: list[Crop | ImageRefused], most: int, redeliver: Redeliver | None) -> _Found:
    whole, size = [(number, crop) for number, crop in enumerate(crops[:most], 1)], frame.image.size
    good = [(number, crop) for number, crop in whole if isinstance(crop, Crop)]
    again = redeliver(frame.image, [crop for _, crop in good]) if redeliver is not None else [()] * len(good)
    faces = [
        FoundFace(crop, number, crop.faces or 1, frame.index, *size, frame.source_sha256, others)
        for (number, crop), others in zip(good, again, strict=True)
    ]
    refused = [
        RefusedPart(crop.status, f"face {number}: {crop.reason}", frame.index)
        for number, crop in whole
        if isinstance(crop, ImageRefused)
    ]
    return faces, refused, max(0, len(crops) - most)
