"""The shape of the head in the head frame (millimetres): silhouettes and outlines of features, and how to draw them."""

from __future__ import annotations

import math

import numpy as np

from dfad_bench.synthetic.canvas import Canvas, Part
from dfad_bench.synthetic.geometry import Projector
from dfad_bench.synthetic.identity import Colour, Identity, Scene

# Height, half width and depth of the middle line of horizontal sections through the face.
_SECTIONS = np.array(
    [
        (-84, 57, 33),
        (-66, 66, 31),
        (-46, 69, 29),
        (-20, 70, 29),
        (4, 68, 28),
        (24, 63, 26),
        (42, 53, 25),
        (58, 40, 25),
        (70, 26, 28),
        (77, 11, 33),
    ],
    float,
)
_TURN = np.linspace(-math.pi / 2, math.pi / 2, 15)


def face_points(person: Identity, inner: float = 1.0) -> np.ndarray:
    """Points (n, 3) of the face's surface from the hairline to the chin; `inner` < 1 keeps the central part."""
    rows = []
    for height, half, depth in _SECTIONS:
        low = max(0.0, height / 77.0)
        half *= person.face_width * (1 + (person.jaw - 1) * min(low * 1.6, 1.0) * (1 - 0.5 * low))
        height *= 1 + (person.chin - 1) * (low > 0)
        width = half * inner
        turn = _TURN * min(inner * 0.98, 1.0)
        rows.append(np.stack([width * np.sin(turn), np.full(15, height), depth + 62 * (1 - np.cos(turn))], 1))
    top = np.linspace(-1, 1, 9)
    crown = person.hairline_mm * (1 - 0.05 * top**2)
    rows.append(np.stack([40 * person.face_width * inner * top, crown, np.full(9, 38.0) + 10 * top**2], 1))
    points = np.concatenate(rows)
    return points if inner == 1.0 else points[(points[:, 1] > -74) & (points[:, 1] < 66)]


def skull_points(volume: float) -> np.ndarray:
    """Points of the upper head's surface, hair included."""
    pitch, yaw = np.meshgrid(np.linspace(-1.5, 0.55, 9), np.linspace(0, 2 * math.pi, 24, endpoint=False))
    x = 74 * volume * np.cos(pitch) * np.sin(yaw)
    z = 108 + 96 * volume * np.cos(pitch) * np.cos(yaw)
    y = -58 + 74 * volume * np.sin(pitch)
    return np.stack([x.ravel(), y.ravel(), z.ravel()], 1)


def draw_body(canvas: Canvas, person: Identity, scene: Scene, project: Projector) -> None:
    """Draw the hair behind the head, neck and shoulders."""
    if person.hair_length_mm > 0:
        _draw_long_hair(canvas, person, project)
    scale, middle = project.placement.scale, project.placement.centre[0]
    neck = project(np.array([[-44, 40, 100], [44, 40, 100]]))
    bottom = 330.0
    shade = tuple(0.74 * c for c in person.skin)
    left, right = middle - 52 * scale, middle + 52 * scale
    canvas.fill(np.array([neck[0], neck[1], [right, bottom], [left, bottom]]), shade, Part.SKIN)
    collar = 160 + 104 * scale
    spread = np.linspace(-1, 1, 21)
    line = np.stack(
        [
            middle + spread * 150 * scale,
            collar + 26 * scale * np.abs(spread) ** 1.5 + 14 * scale * np.exp(-((spread * 3.2) ** 2)),
        ],
        1,
    )
    canvas.fill(
        np.concatenate([line, [[middle + 200 * scale, 340], [middle - 200 * scale, 340]]]), scene.cloth, Part.CLOTH
    )


def _draw_long_hair(canvas: Canvas, person: Identity, project: Projector) -> None:
    side = 80 * person.hair_volume
    ends = np.array([[-side, person.hair_length_mm, 110], [side, person.hair_length_mm, 110]], float)
    sides = np.array([[-side, -40, 105], [side, -40, 105]], float)
    points = np.concatenate([skull_points(person.hair_volume), sides, ends, ends * [0.8, 1.0, 1.0] + [0, 9, 0]])
    canvas.fill_hull(project(points), tuple(0.8 * c for c in person.hair), Part.HAIR)


def draw_head(canvas: Canvas, person: Identity, project: Projector) -> None:
    """Draw the ears, the hair and the face without features."""
    for sign in (-1.0, 1.0):
        angles = np.linspace(0, 2 * math.pi, 20, endpoint=False)
        ear = np.stack(
            [np.full(20, sign * 73.0 * person.face_width), -14 + 23 * np.sin(angles), 94 + 13 * np.cos(angles)], 1
        )
        ear[:, 0] += sign * 5 * (1 + np.cos(angles))
        canvas.fill(project(ear), tuple(0.86 * c for c in person.skin), Part.SKIN)
    canvas.fill_hull(project(skull_points(person.hair_volume)), person.hair, Part.HAIR)
    canvas.fill_hull(project(face_points(person)), person.skin, Part.SKIN)
    if person.age > 0.3:
        across = np.linspace(-1, 1, 9)
        for height in (-81.0, -75.0, -69.0)[: 1 + int(person.age * 3)]:
            row = np.stack([34 * across, height + 1.5 * across**2, 31 + 6 * across**2], 1)
            canvas.stroke(project(row), _aged_colour(person.skin, 0.7 * person.age), 0.8 * project.placement.scale)
    if person.fringe:
        _draw_fringe(canvas, person, project)


def _draw_fringe(canvas: Canvas, person: Identity, project: Projector) -> None:
    across = np.linspace(-1, 1, 13)
    part = 0.45 * math.copysign(1.0, person.fringe)
    low = person.hairline_mm + abs(person.fringe) * 22 * np.abs(across - part)
    depth = 30 + 26 * across**2
    edge = np.stack([62 * person.face_width * across, np.minimum(low, -62.0), depth], 1)
    top = np.stack([58 * across[::-1], np.full(13, -112.0) + 14 * across**2, np.full(13, 52.0)], 1)
    canvas.fill(project(np.concatenate([edge, top])), person.hair, Part.HAIR)


def draw_nose(canvas: Canvas, person: Identity, project: Projector) -> None:
    """Draw nostrils and wings; the bridge comes from `shading`."""
    scale, width = project.placement.scale, person.nose_width
    dark = tuple(0.34 * c for c in person.skin)
    angles = np.linspace(0, 2 * math.pi, 12, endpoint=False)
    for sign in (-1.0, 1.0):
        hole = np.stack([sign * 8.5 * width + 4.0 * np.cos(angles), 9.5 + 2.0 * np.sin(angles), np.full(12, 9.0)], 1)
        canvas.fill(project(hole), dark)
        wing = np.array([[13, -3, 16], [17.5, 2, 18], [17.5, 8, 18], [13, 11, 15]], float) * [sign * width, 1, 1]
        canvas.stroke(project(wing), tuple(0.66 * c for c in person.skin), 1.1 * scale)


def draw_mouth(canvas: Canvas, person: Identity, scene: Scene, project: Projector) -> None:
    """Draw the lips, a smile, and lines of age beside them."""
    scale = project.placement.scale
    half = 26.5 * person.mouth_width * (1 + 0.1 * max(scene.smile, 0))
    across = np.linspace(-1, 1, 17)
    depth = 24 + 11 * across**2
    lift = -4.0 * scene.smile * across**2
    bow = 1 - across**2
    upper = 33 + lift - person.lip_fullness * (5.6 * bow**0.8 - 1.6 * np.exp(-((across * 7) ** 2)))
    lower = 33 + lift + person.lip_fullness * 7.4 * bow**0.75
    middle = 33 + lift + 0.6 * bow
    x = half * across

    def at(height: np.ndarray) -> np.ndarray:
        return project(np.stack([x, height, depth], 1))

    canvas.fill(np.concatenate([at(upper), at(middle)[::-1]]), tuple(0.86 * c for c in person.lips), Part.LIPS)
    canvas.fill(np.concatenate([at(middle), at(lower)[::-1]]), person.lips, Part.LIPS)
    canvas.stroke(at(middle), tuple(0.42 * c for c in person.lips), 1.3 * scale)
    if person.age > 0.3:
        for sign in (-1.0, 1.0):
            fold = np.array([[20, 8, 24], [27, 19, 30], [32, 32, 36]], float) * [sign, 1, 1]
            canvas.stroke(project(fold), _aged_colour(person.skin, person.age), 1.2 * scale)


def _aged_colour(skin: Colour, age: float) -> tuple[float, ...]:
    return tuple((1.0 - 0.3 * age) * c for c in skin)
