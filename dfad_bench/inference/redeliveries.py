"""A picture delivered again, as platforms and people do: coded, resized, cropped, blurred, copied from a screen.

A verdict that turns by what happens to every picture on its way says little about the face. The corruptions are those
of `dfad_bench/data/corruptions`, put to the whole picture; faces are found and cropped anew in the result.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dfad_bench.data.corruptions.codec import jpeg
from dfad_bench.data.corruptions.spatial import blur
from dfad_bench.data.images import ImageRefused
from dfad_bench.ingest.crop.cropper import Crop, FaceCropper
from dfad_bench.ingest.crop.detector import Faces

if TYPE_CHECKING:
    from PIL import Image

WEBP_QUALITY = 75
KEPT = 0.9  # of each side, by the crop
SCREEN = 0.8  # of each side: a picture shown smaller than it is
BLUR_KERNEL = 7  # pixels, the least severity of the corruption
_LONGEST_WEBP = 16_383  # pixels of a side
_LEAST_SIDE = 16  # a smaller picture is not resized
_RNG = np.random.default_rng(0)  # of operators that draw nothing


@dataclass(frozen=True)
class Delivered:
    """A picture (H, W, 3) uint8 after a re-delivery, and where a point of the one before lies in it.

    x' = scale (x - left), y' = scale (y - top).
    """

    pixels: np.ndarray
    scale: float = 1.0
    left: float = 0.0
    top: float = 0.0

    def moved(self, box: Sequence[float]) -> tuple[float, ...]:
        """A box x0, y0, x1, y1 of the picture before."""
        shift = (self.left, self.top, self.left, self.top)
        return tuple(self.scale * (value - by) for value, by in zip(box, shift, strict=True))


def _webp(pixels: np.ndarray) -> Delivered:
    """Coded as WebP; a picture too large for that is made smaller first."""
    from PIL import Image

    height, width = pixels.shape[:2]
    scale = min(1.0, _LONGEST_WEBP / max(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    return Delivered(_coded(pixels, "WEBP", quality=WEBP_QUALITY), scale)


def _half_size_and_back(pixels: np.ndarray) -> Delivered:
    from PIL import Image

    image = Image.fromarray(pixels)
    half = (max(image.width // 2, 1), max(image.height // 2, 1))
    small = image.resize(half, Image.Resampling.BICUBIC)
    return Delivered(np.asarray(small.resize(image.size, Image.Resampling.BICUBIC)))


def _crop(pixels: np.ndarray) -> Delivered:
    """The middle `KEPT` of each side."""
    height, width = pixels.shape[:2]
    top, left = round(height * (1 - KEPT) / 2), round(width * (1 - KEPT) / 2)
    kept = pixels[top : height - top, left : width - left]
    return Delivered(np.ascontiguousarray(kept), 1.0, float(left), float(top))


def _screenshot(pixels: np.ndarray) -> Delivered:
    """As shown at `SCREEN` of its size by a program that samples two by two pixels, and saved from there."""
    import cv2

    height, width = pixels.shape[:2]
    if min(height, width) * SCREEN < _LEAST_SIDE:
        return Delivered(pixels)
    size = (round(width * SCREEN), round(height * SCREEN))
    return Delivered(cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR), SCREEN)


def _stripped(pixels: np.ndarray) -> Delivered:
    """The upright pixels saved without any metadata: they are the same, whatever profile or comment stood beside."""
    return Delivered(_coded(pixels, "PNG", compress_level=1))


# eight ways, by name, in the order of tables
REDELIVERIES: Mapping[str, Callable[[np.ndarray], Delivered]] = {
    "jpeg_85": lambda pixels: Delivered(jpeg(pixels, 85, _RNG)),
    "jpeg_60": lambda pixels: Delivered(jpeg(pixels, 60, _RNG)),
    "webp": _webp,
    "half_size_and_back": _half_size_and_back,
    "crop_90": _crop,
    "blur": lambda pixels: Delivered(blur(pixels, BLUR_KERNEL, _RNG)),
    "screenshot": _screenshot,
    "no_metadata": _stripped,
}


def redeliver(image: Image.Image, crops: Sequence[Crop], cropper: FaceCropper) -> list[tuple[Crop | None, ...]]:
    """The crops of each face in each re-delivery of its picture, in the order of `REDELIVERIES`; None: not found again.

    Args:
        image: the upright picture.
        crops: faces found in it.
        cropper: finds and crops faces.
    """
    pixels = np.asarray(image)
    by_way = [_crops_again(way(pixels), pixels, crops, cropper) for way in REDELIVERIES.values()]
    return [tuple(found[number] for found in by_way) for number in range(len(crops))]


def _crops_again(
    delivered: Delivered, before: np.ndarray, crops: Sequence[Crop], cropper: FaceCropper
) -> list[Crop | None]:
    from PIL import Image

    if delivered.pixels.shape == before.shape and np.array_equal(delivered.pixels, before):
        return list(crops)  # the same pixels give the same crops
    image = Image.fromarray(delivered.pixels)
    faces = None if cropper.profile.detector == "none" else cropper.find([image])[0]
    return [_same_face(image, crop, delivered, faces, cropper) for crop in crops]


def _same_face(
    image: Image.Image, crop: Crop, delivered: Delivered, faces: Faces | None, cropper: FaceCropper
) -> Crop | None:
    try:
        made = cropper.crop(image, None if crop.box is None else delivered.moved(crop.box), faces)
    except ImageRefused:  # no face in it any more, or too small for one
        return None
    return None if made.switched else made


def _coded(pixels: np.ndarray, format: str, **how: int) -> np.ndarray:
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(pixels).save(data, format, **how)
    return np.asarray(Image.open(data).convert("RGB"))
