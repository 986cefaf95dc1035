"""From an image to one square face crop: MTCNN finds the faces, one is cropped or aligned, its landmarks are refined.

A crop profile (`manifests/crops/*.yaml`) holds every number that decides the pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.core.files import content_hash
from dfad_bench.core.resources import find_yaml
from dfad_bench.core.strict import read_dataclass
from dfad_bench.data.images import ImageRefused
from dfad_bench.ingest.crop.affine import box_affine, fit_similarity, warp
from dfad_bench.ingest.crop.border import border_of, bordered
from dfad_bench.ingest.crop.boxes import box_areas, choose_box, square_around
from dfad_bench.ingest.crop.detector import PYRAMID, SMALLEST, FaceDetector, Faces

if TYPE_CHECKING:
    from PIL import Image

_MIRRORED = [1, 0, 2, 4, 3]  # left and right landmarks are exchanged in a mirrored face
_NO_FACES = Faces(np.zeros((0, 4)), np.zeros(0))
_View = Callable[["Image.Image"], tuple["Image.Image", float]]  # image -> the resized image to search, and its scale
_MinFace = Callable[["Image.Image", float], float]  # image, scale of the view -> pixels of the view
_BATCH = 64  # images at once on an accelerator
_LONGEST_VIEW = 2800  # longest side, pixels: the detector's sums of a square image still fit into 32 bits
_Cut = tuple[tuple[float, ...] | None, tuple[float, ...], np.ndarray]  # crop_box, affine, pixels
_FLAT = 2.0  # standard deviation in grey levels below which a ready-made crop counts as empty


@dataclass(frozen=True)
class CropProfile:
    """How a face is cropped. Lengths are pixels.

    With `detector: none` the image is already a crop: it is checked (at least `smallest_side`, sides in a ratio of
    at most `most_oblong`; flags `not_square` and `flat`), its centred square is resized, and there are neither box
    score nor landmarks. `uncut` keeps the same pixels and looks for the landmarks of the face in them: the biggest of
    at least `min_face_share` of the image with a border of a quarter of its shorter side; a crop on which none is found
    has no landmarks, and 0 `faces`. With `native_side` the square is reduced to that side before it is resized to
    `size`, so that all crops hold as much of their image; a face whose square is smaller is refused. With a `template`
    the face is rotated and scaled so that its five landmarks fit the template.
    """

    name: str
    version: int
    title: str
    detector: Literal["mtcnn", "none"] = "mtcnn"
    size: int = 256  # side of the crop
    margin: float = 1.3  # side of the square over the longer side of the box, or over the template's
    template: tuple[float, ...] = ()  # x, y of five points (pixel centres 0, 1, ...) in a square of template_side
    template_side: int = 112
    most_oblong: float = 1.5  # longer over shorter side of a ready-made crop
    min_probability: float = 0.9
    smallest_side: int = 32  # of the source image
    detect_side: int = 448  # first pass: the image reduced by an integer factor to at least this longer side ...
    min_face_share: float = 0.2  # ... and faces of at least about this share of its shorter side
    retry_side: int = 1024  # second pass, where the first finds nothing: shrunk to this longer side ...
    retry_min_face: int = 20  # ... and smallest face
    native_side: int | None = None  # side every square is reduced to first; None: as large as the image has it
    uncut: bool = False  # the image is a crop already: landmarks are found, nothing is cut
    notes: tuple[str, ...] = ()  # for the reader: where the crops are not those of the profile's name

    def __post_init__(self) -> None:
        if not 1 <= self.margin <= 4 or not 16 <= self.size <= 4096 or not 0 < self.min_probability < 1:
            raise ValueError("needs 1 <= margin <= 4, 16 <= size <= 4096, 0 < min_probability < 1")
        if self.smallest_side < SMALLEST or self.retry_min_face < SMALLEST or self.min_face_share <= 0:
            raise ValueError(f"smallest_side and retry_min_face must be at least {SMALLEST}, min_face_share above 0")
        if max(2 * self.detect_side, self.retry_side) > _LONGEST_VIEW:
            raise ValueError(f"twice detect_side and retry_side must be at most {_LONGEST_VIEW}")
        if len(self.template) not in (0, 10) or self.template_side < 1 or self.most_oblong < 1:
            raise ValueError("needs ten numbers in template, template_side >= 1, most_oblong >= 1")
        if self.uncut and (self.detector == "none" or self.template):
            raise ValueError("uncut needs a detector and no template")
        if self.native_side is not None and (self.template or not SMALLEST <= self.native_side <= self.size):
            raise ValueError(f"native_side must be {SMALLEST} to size, and needs no template")

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that decides a pixel or a landmark."""
        later = {"uncut": False, "native_side": None}  # as they were before: profiles keep the hash they had
        left_out = {"title", "notes", *(name for name, unset in later.items() if getattr(self, name) == unset)}
        return content_hash({key: value for key, value in asdict(self).items() if key not in left_out})

    @cached_property
    def template_points(self) -> np.ndarray:
        """Where the five points (5, 2) come to lie in the crop, in continuous crop pixels.

        The template's square is enlarged to `size`, then `margin` adds to each side and the whole is scaled back.
        """
        points = np.reshape(self.template, (5, 2))
        return (points / self.template_side + (self.margin - 1) / 2) * self.size / self.margin + 0.5


def load_crop_profile(name: str) -> CropProfile:
    """A shipped crop profile by name, or the user's own by path.

    Raises:
        UnknownNameError, ConfigError: no such profile, or a bad file.
    """
    path = find_yaml("manifests", "crops", name)
    profile = read_dataclass(CropProfile, path)
    if path.stem != profile.name:
        raise ConfigError(f"{path}: name {quoted(profile.name)} must equal the file's name")
    return profile


@dataclass(frozen=True)
class Crop:
    """One cropped face. Boxes and landmarks are continuous source pixels (the first pixel spans 0 to 1)."""

    pixels: np.ndarray  # (size, size, 3) uint8
    affine: tuple[float, ...]  # a, b, c, d, e, f: crop x = a x + b y + c, crop y = d x + e y + f
    crop_box: tuple[float, ...] | None = None  # x0, y0, x1, y1 of the square; None where the crop is rotated
    box: tuple[float, ...] | None = None  # as detected
    box_score: float | None = None
    landmarks: tuple[float, ...] | None = None  # x, y of left eye, right eye, nose, mouth corners (image left first)
    faces: int | None = None  # found at this scale with enough probability
    switched: bool = False  # the face of the frame before is lost, another one was taken
    flags: tuple[str, ...] = ()  # remarks: not_square, flat


class FaceCropper:
    """Crops one face of an image. Needs facenet-pytorch, whose weights are in its package.

    The same pixels give the same crop, whatever was cropped before and however many workers there are: on a CPU
    images go through the networks one by one, and callers limit torch to one thread.
    """

    def __init__(self, profile: CropProfile, device: str = "cpu") -> None:
        self.profile = profile
        self.device = device
        self._detector = FaceDetector(device) if profile.detector == "mtcnn" else None

    @property
    def batch(self) -> int:
        """How many images `find` should be given at once."""
        return 1 if self._detector is None or self.device == "cpu" else _BATCH

    def crop(self, image: Image.Image, near: tuple[float, ...] | None = None, found: Faces | None = None) -> Crop:
        """The biggest face of an upright RGB image as a square crop.

        The biggest is the box of the largest area among those with `min_probability`. The square has `margin`
        times the box's longer side around the box's centre; at a border it is shifted inside, and shrunk only
        where it is larger than the image. Nothing is padded, but a crop aligned to a template is black where
        the image does not reach, as the template's authors have it.

        Args:
            image: the picture.
            near: box of the face in the frame before; the face that overlaps it most is taken. Where none does
                (intersection over union of 0.3 or more), the biggest is taken, and the crop is marked `switched`.
            found: result of `find` for this image, if there is one already.

        Raises:
            ImageRefused: `too_small`, `no_face` or `not_a_crop`.
        """
        ready = self._ready_made(image, found)
        if ready is not None:
            return ready
        faces = found or self.find([image])[0]
        if not len(faces.boxes):
            raise self._no_face()
        best, switched = choose_box(faces.boxes, near)
        return self._crop_face(image, faces, best, switched)

    def crop_every(self, image: Image.Image, found: Faces | None = None) -> list[Crop | ImageRefused]:
        """Every face of an upright RGB image, the biggest first: `crop` gives the first; why one cannot be cropped.

        Args:
            image: the picture.
            found: result of `find` for this image, if there is one already.

        Raises:
            ImageRefused: as of `crop`, where there is no face at all.
        """
        ready = self._ready_made(image, found)
        if ready is not None:
            return [ready]
        faces = found or self.find([image])[0]
        if not len(faces.boxes):
            raise self._no_face()
        crops: list[Crop | ImageRefused] = []
        for place in np.argsort(-box_areas(faces.boxes), kind="stable"):
            try:
                crops.append(self._crop_face(image, faces, int(place)))
            except ImageRefused as refused:
                crops.append(refused)
        return crops

    def _ready_made(self, image: Image.Image, found: Faces | None) -> Crop | None:
        """The crop of a profile that takes the image for one; None where a face is to be cut.

        Raises:
            ImageRefused: `too_small` or `not_a_crop`.
        """
        profile = self.profile
        if min(image.size) < profile.smallest_side:
            raise ImageRefused("too_small", f"{image.width}x{image.height}, needs {profile.smallest_side}")
        if self._detector is None:
            return self._resize_ready_made(image)
        if profile.uncut:
            return self._add_landmarks(self._resize_ready_made(image), image, found or self.find([image])[0])
        return None

    def _no_face(self) -> ImageRefused:
        return ImageRefused("no_face", f"no face with probability {self.profile.min_probability} or more")

    def _crop_face(self, image: Image.Image, faces: Faces, place: int, switched: bool = False) -> Crop:
        box = tuple(float(v) for v in faces.boxes[place])
        landmarks = self._landmarks(image, box)
        aligned = self.profile.template
        square, affine, pixels = self._cut_aligned(image, landmarks) if aligned else self._square(image, box)
        return Crop(
            pixels=pixels,
            affine=affine,
            crop_box=square,
            box=box,
            box_score=float(faces.scores[place]),
            landmarks=tuple(float(v) for v in landmarks.ravel()),
            faces=min(len(faces.boxes), 127),
            switched=switched,
        )

    def find(self, images: Sequence[Image.Image]) -> list[Faces]:
        """The faces of each image, in its own pixels: a quick pass, then two more for images without a face so far.

        The second pass looks for small faces; the third again for large ones, at scales half a step beside those of
        the first, since MTCNN sometimes misses an obvious face at one set of scales.
        On an accelerator, images of the same size after shrinking go through the networks together.
        """
        if self.profile.uncut:
            return self._find_in_ready_made(images)
        return self._find(images, small=True)

    def _find(self, images: Sequence[Image.Image], *, small: bool) -> list[Faces]:
        profile = self.profile
        passes: tuple[tuple[_View, _MinFace], ...] = (
            (self._reduced_view, self._least_large_face),
            (self._small_view, lambda image, scale: profile.retry_min_face),
            (self._reduced_view, lambda image, scale: self._least_large_face(image, scale) * PYRAMID**0.5),
        )
        found = [_NO_FACES for _ in images]
        for view, min_face in passes if small else (passes[0], passes[2]):
            lost = [index for index, faces in enumerate(found) if not len(faces.boxes)]
            for index, faces in zip(
                lost, self._detect_in_views([images[i] for i in lost], view, min_face), strict=True
            ):
                found[index] = faces
        return found

    def _find_in_ready_made(self, images: Sequence[Image.Image]) -> list[Faces]:
        """The large faces, looked for with a border around the image: in tight crops faces reach beyond it.

        A small face in a ready-made crop is not the one it was cut for.
        """
        found = []
        for image, faces in zip(images, self._find([bordered(image) for image in images], small=False), strict=True):
            border, (boxes, scores) = border_of(image), faces
            sides = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
            large = sides >= self.profile.min_face_share * (min(image.size) + 2 * border)
            found.append(Faces(boxes[large] - border, scores[large]))
        return found

    def _detect_in_views(self, images: Sequence[Image.Image], view: _View, min_face: _MinFace) -> list[Faces]:
        detector = self._detector
        if detector is None:
            raise ValueError(f"crop profile {quoted(self.profile.name)} finds no faces")
        views = [view(image) for image in images]
        alike: dict[tuple[tuple[int, int], float], list[int]] = {}
        for index, (image, (small, scale)) in enumerate(zip(images, views, strict=True)):
            alike.setdefault((small.size, min_face(image, scale)), []).append(index)
        found: dict[int, Faces] = {}
        for (_, smallest), indices in alike.items():
            for start in range(0, len(indices), self.batch):
                some = indices[start : start + self.batch]
                faces = detector.detect(np.stack([np.asarray(views[i][0]) for i in some]), smallest)
                found |= zip(some, faces, strict=True)
        return [self._confident_faces(found[index], scale) for index, (_, scale) in enumerate(views)]

    def _reduced_view(self, image: Image.Image) -> tuple[Image.Image, float]:
        """The image reduced by an integer factor to a longer side of at least `detect_side`, and its scale."""
        times = max(1, max(image.size) // self.profile.detect_side)
        return (image if times == 1 else image.reduce(times)), 1 / times

    def _small_view(self, image: Image.Image) -> tuple[Image.Image, float]:
        """The image with its longer side at most `retry_side`, and its scale."""
        from PIL import Image

        scale = min(1.0, self.profile.retry_side / max(image.size))
        size = tuple(max(1, round(length * scale)) for length in image.size)
        return image.resize(size, Image.Resampling.BILINEAR), scale  # type: ignore[arg-type]

    def _least_large_face(self, image: Image.Image, scale: float) -> float:
        """Smallest face of the quick pass, in pixels of the reduced image: about `min_face_share` of the shorter side.

        It is one of the scales that a search for faces of `retry_min_face` pixels in the whole image would use:
        MTCNN's boxes depend on the scales it searches, and with equal scales they are nearly equal.
        """
        profile = self.profile
        steps = math.log(min(image.size) * profile.min_face_share / profile.retry_min_face) / -math.log(PYRAMID)
        return profile.retry_min_face / PYRAMID ** max(0, round(steps)) * scale

    def _confident_faces(self, faces: Faces, scale: float) -> Faces:
        """Faces of at least `min_probability`, converted from pixels of the reduced image to those of the image."""
        boxes, scores = faces
        keep = (scores >= self.profile.min_probability) & np.isfinite(boxes).all(1)
        keep &= (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
        return Faces(boxes[keep] / scale, scores[keep])

    def _landmarks(self, image: Image.Image, box: Sequence[float]) -> np.ndarray:
        """Five points (5, 2): O-Net on the face and on its mirror image, averaged, which cancels its bias in x."""
        from PIL import Image

        assert self._detector is not None  # only called with a detector
        x0, y0, x1, y1 = box
        side = max(1, round(max(x1 - x0, y1 - y0)))
        left, top = round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2)
        patch = image.crop((left, top, left + side, top + side))
        face = np.asarray(patch.resize((48, 48), Image.Resampling.BOX, reducing_gap=2.0), dtype=np.float32)
        plain, mirrored = self._detector.points(np.stack([face, face[:, ::-1]]))  # (5, 2) each, shares of the side
        mirrored = mirrored[_MIRRORED] * [-1, 1] + [1, 0]
        return np.asarray((plain + mirrored) / 2 * side + [left, top])

    def _square(self, image: Image.Image, box: Sequence[float]) -> _Cut:
        x0, y0, x1, y1 = box
        side = self.profile.margin * max(x1 - x0, y1 - y0)
        return self._cut(image, square_around((x0 + x1) / 2, (y0 + y1) / 2, side, image.size))

    def _cut_aligned(self, image: Image.Image, landmarks: np.ndarray) -> _Cut:
        affine = fit_similarity(landmarks, self.profile.template_points)
        if not 1e-3 < np.hypot(affine[0], affine[3]) < 1e3:
            raise ImageRefused("no_face", "the five points of the face do not fit the template")
        return None, affine, warp(image, affine, self.profile.size)

    def _resize_ready_made(self, image: Image.Image) -> Crop:
        """The centred square of an image that is a crop already, after checking that it can be one."""
        short_side, long_side = sorted(image.size)
        if long_side > self.profile.most_oblong * short_side:
            most = self.profile.most_oblong
            raise ImageRefused("not_a_crop", f"{image.width}x{image.height}: sides in a ratio of more than {most:g}")
        square, affine, pixels = self._cut(
            image, square_around(image.width / 2, image.height / 2, float(short_side), image.size)
        )
        checks = {"not_square": long_side > 1.02 * short_side, "flat": float(pixels.std()) < _FLAT}
        return Crop(pixels, affine, square, flags=tuple(name for name, true in checks.items() if true))

    def _add_landmarks(self, crop: Crop, image: Image.Image, found: Faces) -> Crop:
        """A ready-made crop with the box and landmarks of its face, in pixels of the image, where there is one."""
        boxes, scores = found
        if not len(boxes):
            return replace(crop, faces=0)
        best = int(np.argmax(box_areas(boxes)))
        box, border = tuple(float(v) for v in boxes[best]), border_of(image)
        points = self._landmarks(bordered(image), [v + border for v in box]) - border
        landmarks = tuple(float(v) for v in points.ravel())
        return replace(crop, box=box, box_score=float(scores[best]), landmarks=landmarks, faces=min(len(boxes), 127))

    def _cut(self, image: Image.Image, square: tuple[float, float, float, float]) -> _Cut:
        from PIL import Image

        side, native = self.profile.size, self.profile.native_side
        if native is None:
            pixels = np.asarray(image.resize((side, side), Image.Resampling.LANCZOS, box=square))
        elif square[2] - square[0] < native:
            found = f"the square around the face has {square[2] - square[0]:.0f} pixels"
            raise ImageRefused("too_small", f"{found}, the profile needs {native}")
        else:
            reduced = image.resize((native, native), Image.Resampling.LANCZOS, box=square)
            pixels = np.asarray(reduced.resize((side, side), Image.Resampling.LANCZOS))
        return square, box_affine(square, side), pixels
