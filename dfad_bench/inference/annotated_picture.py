"""A picture with what was said of its faces drawn into it: boxes, labels, gaze, heat-map, and what a score means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dfad_bench.core.escape import one_line
from dfad_bench.gaze.draw import arrow_on_crop, draw_arrow
from dfad_bench.ingest.crop.cropper import Crop

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

LONGEST, SHORTEST = 1600, 640  # pixels of the longer side, at most and at least
Colour = tuple[int, int, int]
_Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels of the drawn picture
# Okabe and Ito's, which everybody tells apart: vermilion, orange, blue, grey
COLOURS: dict[str, Colour] = {"fake": (213, 94, 0), "unsure": (230, 159, 0), "real": (0, 114, 178)}
_OTHER: Colour = (110, 110, 110)
_HEAT: Colour = (255, 0, 80)
_HEAT_SHARE = 0.5  # of the colour where the map is 1
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_LETTERS = 34  # heights of a letter over the shorter side of the picture
_LEAST_LETTER = 12


@dataclass(frozen=True)
class FaceDrawing:
    """What is drawn of one face.

    Attributes:
        crop: box, and the map from the picture into the crop.
        verdict: chooses the colour.
        lines: of the label, the first one larger.
        gaze: pitch and yaw in radians, or None.
        normalised: whether these are angles of the virtual camera (`GazeEstimator.normalised`).
        heat: (h, w) in [0, 1] over the crop, or None.
    """

    crop: Crop
    verdict: str
    lines: tuple[str, ...]
    gaze: tuple[float, float] | None = None
    normalised: bool = True
    heat: np.ndarray | None = None


def draw_faces(picture: Image.Image, faces: Sequence[FaceDrawing], foot: Sequence[str]) -> Image.Image:
    """A copy of an RGB picture of bounded size, with faces drawn into it and lines below it.

    Args:
        picture: upright.
        faces: the biggest first.
        foot: what a reader must know; long lines are broken.
    """
    from PIL import Image, ImageDraw

    scale = min(LONGEST / max(picture.size), max(1.0, SHORTEST / max(picture.size)))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    pixels = np.asarray(picture.resize(size, Image.Resampling.LANCZOS) if size != picture.size else picture)
    for face in faces:
        if face.heat is not None:
            pixels = _heated(pixels, face, scale)
    for face in faces:
        pixels = _with_gaze(pixels, face, scale)
    drawn = Image.fromarray(pixels)
    letter = max(_LEAST_LETTER, min(size) // _LETTERS)
    pen = ImageDraw.Draw(drawn)
    boxes = [_box_of(face, scale, size) for face in faces]
    width, taken = max(2, letter // 7), list(boxes)
    for face, box in zip(faces, boxes, strict=True):
        pen.rectangle(box, outline=COLOURS.get(face.verdict, _OTHER), width=width)
    for face, box in zip(faces, boxes, strict=True):
        taken.append(_draw_label(pen, face, box, taken, size, letter))
    return _with_foot(drawn, foot, max(_LEAST_LETTER, letter - 2))


def _box_of(face: FaceDrawing, scale: float, size: tuple[int, int]) -> _Box:
    """The box of a face in pixels of the drawn picture."""
    box = face.crop.box or face.crop.crop_box or (0.0, 0.0, size[0] / scale, size[1] / scale)
    x0, y0, x1, y1 = (round(value * scale) for value in box)
    x0, y0 = max(0, min(x0, size[0] - 2)), max(0, min(y0, size[1] - 2))
    return x0, y0, max(x0 + 1, min(x1, size[0] - 1)), max(y0 + 1, min(y1, size[1] - 1))


def _draw_label(
    pen: ImageDraw.ImageDraw, face: FaceDrawing, box: _Box, taken: Sequence[_Box], size: tuple[int, int], letter: int
) -> _Box:
    """Draw the label of a face beside its box, where it hides least of faces and other labels; returns its place."""
    edge = max(2, letter // 7)
    fonts = [font_of(letter + 2 if number == 0 else letter) for number in range(len(face.lines))]
    lines = [_fitted(line, font, size[0] - 2 * edge) for line, font in zip(face.lines, fonts, strict=True)]
    heights = [font_height(font) for font in fonts]
    wide = round(max((font.getlength(line) for line, font in zip(lines, fonts, strict=True)), default=0)) + 2 * edge
    high = sum(heights) + 2 * edge
    x0, y0, x1, y1 = box
    corners = [(x0, y0 - high), (x0, y1), (x1, y0), (x0 - wide, y0), (x1 - wide, y0 - high), (x1 - wide, y1)]
    inside = [(max(0, min(left, size[0] - wide - 1)), max(0, min(top, size[1] - high - 1))) for left, top in corners]
    places = [(left, top, left + wide, top + high) for left, top in inside]
    place = min(places, key=lambda other: sum(_common_area(other, one) for one in taken))  # the first of equals
    pen.rectangle(place, fill=COLOURS.get(face.verdict, _OTHER))
    ink, top = _BLACK if face.verdict == "unsure" else _WHITE, place[1]
    for line, font, height in zip(lines, fonts, heights, strict=True):
        pen.text((place[0] + edge, top + edge), line, font=font, fill=ink)
        top += height
    return place


def _common_area(first: _Box, second: _Box) -> int:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(0, width) * max(0, height)


def _with_gaze(pixels: np.ndarray, face: FaceDrawing, scale: float) -> np.ndarray:
    if face.gaze is None or face.crop.landmarks is None:
        return pixels
    to_crop = np.reshape(face.crop.affine, (2, 3))
    points = np.reshape(face.crop.landmarks, (5, 2)) @ to_crop[:, :2].T + to_crop[:, 2]
    height, width = face.crop.pixels.shape[:2]
    ends = np.array(arrow_on_crop(width, height, points, face.gaze, normalised=face.normalised))
    start, tip = (ends - to_crop[:, 2]) @ np.linalg.inv(to_crop[:, :2]).T * scale
    if not np.isfinite([start, tip]).all() or max(np.abs([*start, *tip])) > 4 * LONGEST:
        return pixels
    thickness = max(2, round(min(pixels.shape[:2]) / 200))
    first, last = (float(start[0]), float(start[1])), (float(tip[0]), float(tip[1]))
    return draw_arrow(pixels, first, last, colour=(255, 255, 0), halo=_BLACK, thickness=thickness)


def _heated(pixels: np.ndarray, face: FaceDrawing, scale: float) -> np.ndarray:
    """The picture with a heat-map of a face over the place of its crop."""
    import cv2

    assert face.heat is not None
    side = face.crop.pixels.shape[0]
    to_crop = np.vstack([np.reshape(face.crop.affine, (2, 3)), [0, 0, 1]])
    to_map = np.diag([face.heat.shape[1] / side, face.heat.shape[0] / side, 1.0]) @ to_crop
    back = (np.diag([scale, scale, 1.0]) @ np.linalg.inv(to_map))[:2]
    height, width = pixels.shape[:2]
    share = cv2.warpAffine(face.heat.astype(np.float32), back, (width, height))[..., None] * _HEAT_SHARE
    mixed: np.ndarray = np.round(pixels * (1 - share) + np.array(_HEAT, np.float32) * share).astype(np.uint8)
    return mixed


def _with_foot(picture: Image.Image, lines: Sequence[str], letter: int) -> Image.Image:
    """The picture with lines on white below it."""
    from PIL import Image, ImageDraw

    font, edge = font_of(letter), letter // 2
    broken = [part for line in lines for part in _broken_lines(one_line(line), font, picture.width - 2 * edge)]
    if not broken:
        return picture
    height = font_height(font)
    whole = Image.new("RGB", (picture.width, picture.height + height * len(broken) + 2 * edge), _WHITE)
    whole.paste(picture, (0, 0))
    pen = ImageDraw.Draw(whole)
    for number, line in enumerate(broken):
        pen.text((edge, picture.height + edge + number * height), line, font=font, fill=_BLACK)
    return whole


def font_of(size: int) -> ImageFont.FreeTypeFont:
    """The letters of matplotlib's figures, at a size in pixels."""
    from pathlib import Path

    from matplotlib import get_data_path
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def font_height(font: ImageFont.FreeTypeFont) -> int:
    """Pixels from line to line."""
    return sum(font.getmetrics())


def _fitted(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """A text without its end where it is wider than `width` pixels."""
    shown = one_line(text)
    while len(shown) > 1 and font.getlength(shown) > width:
        shown = shown[:-2].rstrip() + "…"
    return shown


def _broken_lines(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return [_fitted(line, font, width) for line in lines if line]
