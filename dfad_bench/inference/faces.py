"""From a sample to the faces in it: read, found and cropped by the code that builds manifests.

Of a picture every face is cropped, the biggest first: that is the one a manifest would hold. Of a video one face is
followed through the sampled frames, as a manifest has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dfad_bench.data.images import ImageRefused
from dfad_bench.ingest.crop.cropper import Crop, FaceCropper
from dfad_bench.ingest.crop.detector import Faces
from dfad_bench.ingest.media.base import Frame, LostFrame, Sampling
from dfad_bench.ingest.sample import RawSample
from dfad_bench.ingest.shard import each_frame

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
    redelivered: tuple[np.ndarray | None, ...] = ()  # its crops (side, side, 3) in re-deliveries; None: not found

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
    """The faces of a sample, and what of it was refused; `left_out`: faces beyond the most that were asked for."""

    sample: RawSample
    faces: tuple[FoundFace, ...]
    refused: tuple[RefusedPart, ...]
    left_out: int = 0

    @property
    def is_video(self) -> bool:
        """Whether its faces are one face in several frames."""
        return self.sample.medium in VIDEOS


# an upright image and a face in it -> the crops of that face in its re-deliveries
Redeliver = Callable[["Image.Image", Crop], tuple[np.ndarray | None, ...]]
_Found = tuple[list[FoundFace], list[RefusedPart], int]


def find_faces(
    sample: RawSample,
    cropper: FaceCropper,
    *,
    seconds: float,
    sampling: Sampling,
    most: int,
    redeliver: Redeliver | None = None,
    keep: Callable[[int | None, Image.Image], None] | None = None,
) -> SampleFaces:
    """The faces of a picture or video; whatever is wrong becomes a refused part.

    Args:
        sample: what to read.
        cropper: finds and crops faces.
        seconds: that the sample may take.
        sampling: frames of a video.
        most: faces of a picture.
        redeliver: makes the crops of each face in re-deliveries of its picture.
        keep: is handed every picture or frame with a face, and its number.
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
            keep(frame.index, frame.image)
        return _faces_of(frame, crops, most, redeliver)

    made, refused = each_frame(sample, cropper, seconds, sampling, work)
    faces = tuple(face for some, _, _ in made for face in some)
    parts = [part for _, some, _ in made for part in some]
    parts += [] if refused is None else [RefusedPart(refused.status, refused.reason)]
    return SampleFaces(sample, faces, tuple(parts), sum(left for _, _, left in made))


def _faces_of(frame: Frame, crops: list[Crop | ImageRefused], most: int, redeliver: Redeliver | None) -> _Found:
    faces, refused = [], []
    for number, crop in enumerate(crops[:most], 1):
        if isinstance(crop, ImageRefused):
            refused.append(RefusedPart(crop.status, f"face {number}: {crop.reason}", frame.index))
            continue
        again = () if redeliver is None else redeliver(frame.image, crop)
        size = frame.image.size
        faces.append(FoundFace(crop, number, crop.faces or 1, frame.index, *size, frame.source_sha256, again))
    return faces, refused, max(0, len(crops) - most)
