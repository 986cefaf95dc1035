"""From an image to one square face: MTCNN finds the faces, the biggest is cut out, its five points are refined.

A crop profile (`manifests/crops/*.yaml`) holds every number that decides the pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dfad_bench.core.errors import ConfigError, need
from dfad_bench.core.files import content_hash
from dfad_bench.core.resources import find_yaml
from dfad_bench.core.strict import read_dataclass
from dfad_bench.data.images import ImageRefused

if TYPE_CHECKING:
    from PIL import Image

_DETECTOR_SIDE = 20  # MTCNN fails on images with a shorter side below this
_MIRRORED = [1, 0, 2, 4, 3]  # left and right change places in a mirrored face
_SAME_FACE = 0.3  # intersection over union of boxes from which on two frames show the same face


@dataclass(frozen=True)
class CropProfile:
    """How a face becomes a crop. Lengths are pixels.

    With `detector: none` the image is already a crop: its centred square is resized, and there are neither box
    score nor landmarks.
    """

    name: str
    version: int
    title: str
    detector: Literal["mtcnn", "none"] = "mtcnn"
    size: int = 256  # side of the crop
    margin: float = 1.3  # side of the square over the longer side of the box
    min_probability: float = 0.9
    smallest_side: int = 32  # of the source image
    detect_side: int = 256  # first pass: the image shrunk to this longer side ...
    min_face_share: float = 0.2  # ... and faces of at least this share of its shorter side
    retry_side: int = 1024  # second pass, where the first finds nothing: longer side ...
    retry_min_face: int = 20  # ... and smallest face

    def __post_init__(self) -> None:
        if not 1 <= self.margin <= 4 or not 16 <= self.size <= 4096 or not 0 < self.min_probability < 1:
            raise ValueError("needs 1 <= margin <= 4, 16 <= size <= 4096, 0 < min_probability < 1")
        if self.smallest_side < _DETECTOR_SIDE or self.retry_min_face < _DETECTOR_SIDE:
            raise ValueError(f"smallest_side and retry_min_face must be at least {_DETECTOR_SIDE}")

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that decides a pixel."""
        return content_hash({key: value for key, value in asdict(self).items() if key != "title"})


def load_crop_profile(name: str) -> CropProfile:
    """A shipped crop profile by name, or the user's own by path.

    Raises:
        UnknownNameError, ConfigError: no such profile, or a bad file.
    """
    path = find_yaml("manifests", "crops", name)
    profile = read_dataclass(CropProfile, path)
    if path.stem != profile.name:
        raise ConfigError(f"{path}: name {profile.name!r} must equal the file's name")
    return profile


@dataclass(frozen=True)
class Crop:
    """One face. Boxes and landmarks are continuous source pixels (the first pixel spans 0 to 1)."""

    pixels: np.ndarray  # (size, size, 3) uint8
    crop_box: tuple[float, ...]  # x0, y0, x1, y1 of the square
    box: tuple[float, ...] | None = None  # as detected
    box_score: float | None = None
    landmarks: tuple[float, ...] | None = None  # x, y of left eye, right eye, nose, mouth corners (image left first)
    faces: int | None = None  # found at this scale with enough probability
    switched: bool = False  # a face was to be followed, and none is where it was


class FaceCropper:
    """Cuts the biggest face out of an image. Needs facenet-pytorch, whose weights are in its package.

    The same pixels give the same crop, whatever was cropped before and however many workers there are: images
    go through the networks one by one, and callers hold torch to one thread.
    """

    def __init__(self, profile: CropProfile) -> None:
        self.profile = profile
        self._mtcnn: Any = None
        if profile.detector == "mtcnn":
            package = need("facenet_pytorch", "facenet-pytorch==2.5.3", "finding faces")
            self._mtcnn = package.MTCNN(keep_all=True, device="cpu").eval()

    def crop(self, image: Image.Image, near: tuple[float, ...] | None = None) -> Crop:
        """The biggest face of an upright RGB image as a square crop.

        The biggest is the box of the largest area among those with `min_probability`. The square has `margin`
        times the box's longer side around the box's centre; at a border it is shifted inside, and shrunk only
        where it is larger than the image. Nothing is padded.

        Args:
            image: the picture.
            near: box of the face in the frame before; the face that overlaps it most is taken. Where none does
                (intersection over union of 0.3 or more), it is the biggest, and the crop says `switched`.

        Raises:
            ImageRefused: `too_small` or `no_face`.
        """
        profile = self.profile
        if min(image.size) < profile.smallest_side:
            raise ImageRefused("too_small", f"{image.width}x{image.height}, needs {profile.smallest_side}")
        if self._mtcnn is None:
            side = float(min(image.size))
            square = _square(image.width / 2, image.height / 2, side, image.size)
            return Crop(self._cut(image, square), square)
        boxes, scores = self._find(image)
        if not len(boxes):
            raise ImageRefused("no_face", f"no face with probability {profile.min_probability} or more")
        best, switched = _choose(boxes, near)
        x0, y0, x1, y1 = (float(v) for v in boxes[best])
        square = _square((x0 + x1) / 2, (y0 + y1) / 2, profile.margin * max(x1 - x0, y1 - y0), image.size)
        landmarks = self._landmarks(image, (x0, y0, x1, y1))
        return Crop(
            pixels=self._cut(image, square),
            crop_box=square,
            box=(x0, y0, x1, y1),
            box_score=float(scores[best]),
            landmarks=tuple(float(v) for v in landmarks.ravel()),
            faces=min(len(boxes), 127),
            switched=switched,
        )

    def _find(self, image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (n, 4) in source pixels and probabilities (n,): a quick pass, then a thorough one if it was in vain."""
        profile = self.profile
        small = _shrink(image, profile.detect_side)
        share = max(_DETECTOR_SIDE, min(small.size) * profile.min_face_share)
        boxes, scores = self._detect(small, image, share)
        if len(boxes):
            return boxes, scores
        return self._detect(_shrink(image, profile.retry_side), image, profile.retry_min_face)

    def _detect(self, view: Image.Image, image: Image.Image, min_face: float) -> tuple[np.ndarray, np.ndarray]:
        none = np.zeros((0, 4)), np.zeros(0)
        if min(view.size) < max(_DETECTOR_SIDE, min_face):
            return none
        self._mtcnn.min_face_size = min_face
        try:
            found, probabilities = self._mtcnn.detect(view)
        except (RuntimeError, ValueError) as error:
            if "non-empty" not in str(error):  # raised where a stage is left without a candidate
                raise
            return none
        if found is None:
            return none
        boxes = np.asarray(found.tolist(), dtype=np.float64).reshape(-1, 4)  # arrays come with dtype object
        scores = np.asarray(list(probabilities), dtype=np.float64)
        scale = [image.width / view.width, image.height / view.height] * 2
        keep = (scores >= self.profile.min_probability) & np.isfinite(boxes).all(1)
        keep &= (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
        return boxes[keep] * scale, scores[keep]

    def _landmarks(self, image: Image.Image, box: tuple[float, float, float, float]) -> np.ndarray:
        """Five points (5, 2): O-Net on the face and on its mirror image, averaged, which cancels its bias in x."""
        import torch
        from PIL import Image

        x0, y0, x1, y1 = box
        side = max(1, round(max(x1 - x0, y1 - y0)))
        left, top = round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2)
        patch = image.crop((left, top, left + side, top + side)).resize((48, 48), Image.Resampling.BOX)
        face = (np.asarray(patch, dtype=np.float32) - 127.5) / 128
        pair = torch.from_numpy(np.stack([face, face[:, ::-1]]).transpose(0, 3, 1, 2).copy())
        with torch.inference_mode():
            points = self._mtcnn.onet(pair)[1].numpy().astype(np.float64)  # (2, 10): five x, then five y
        plain, mirrored = points.reshape(2, 2, 5).transpose(0, 2, 1)  # (5, 2) each, shares of the side
        mirrored = mirrored[_MIRRORED] * [-1, 1] + [1, 0]
        return (plain + mirrored) / 2 * side + [left, top]

    def _cut(self, image: Image.Image, square: tuple[float, ...]) -> np.ndarray:
        from PIL import Image

        size = (self.profile.size, self.profile.size)
        return np.asarray(image.resize(size, Image.Resampling.LANCZOS, box=square))  # type: ignore[arg-type]


def overlap(boxes: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """Intersection over union (n,) of `boxes` (n, 4) with `box`.

    >>> overlap(np.array([[0.0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]]), (0, 0, 2, 2)).round(3).tolist()
    [1.0, 0.333, 0.0]
    """
    x0, y0, x1, y1 = box
    width = np.minimum(boxes[:, 2], x1) - np.maximum(boxes[:, 0], x0)
    height = np.minimum(boxes[:, 3], y1) - np.maximum(boxes[:, 1], y0)
    common = np.maximum(width, 0) * np.maximum(height, 0)
    return common / np.maximum(_areas(boxes) + (x1 - x0) * (y1 - y0) - common, 1e-9)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _choose(boxes: np.ndarray, near: Sequence[float] | None) -> tuple[int, bool]:
    """Which of `boxes` to take, and whether that leaves the face that was to be followed."""
    biggest = int(np.argmax(_areas(boxes)))
    if near is None:
        return biggest, False
    shares = overlap(boxes, near)
    followed = int(np.argmax(shares))
    return (followed, False) if shares[followed] >= _SAME_FACE else (biggest, True)


def _shrink(image: Image.Image, longest: int) -> Image.Image:
    from PIL import Image

    scale = longest / max(image.size)
    if scale >= 1:
        return image
    size = tuple(max(1, round(length * scale)) for length in image.size)
    return image.resize(size, Image.Resampling.BILINEAR)  # type: ignore[arg-type]


def _square(x: float, y: float, side: float, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """A square around (x, y), shifted into the image, shrunk where it is larger than the image.

    >>> _square(10, 50, 60, (100, 200))
    (0.0, 20.0, 60.0, 80.0)
    """
    width, height = size
    side = min(side, width, height)
    x0 = min(max(x - side / 2, 0.0), width - side)
    y0 = min(max(y - side / 2, 0.0), height - side)
    return x0, y0, min(x0 + side, float(width)), min(y0 + side, float(height))
