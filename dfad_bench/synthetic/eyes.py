"""Eyes: sclera, iris and pupil placed by the gaze, catch light, lids, brows."""

from __future__ import annotations

import math

import numpy as np

from dfad_bench.synthetic.canvas import Canvas, Part
from dfad_bench.synthetic.geometry import EYE_MIDPOINT_MM, IRIS_DISTANCE_MM, IRIS_RADIUS_MM, Projector, direction
from dfad_bench.synthetic.identity import Colour, Identity, Scene

_HALF_WIDTH_MM = 14.6
_BULGE_MM = 6.0  # lids lie on the eyeball
_ARC = np.linspace(0.0, 1.0, 15)


def lid_outlines(person: Identity, eye: int, gaze_drop_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower lid margins (15, 3) of eye 0 or 1 in the head frame, from the nose outwards.

    `gaze_drop_mm` is how far the iris moves down; the upper lid follows it, as in real faces.
    """
    sign = -1.0 if eye == 0 else 1.0
    x, y, z = EYE_MIDPOINT_MM
    upper = max(5.6 * person.eye_height - 0.55 * gaze_drop_mm, 3.2)
    lower = max(4.4 * person.eye_height + 0.25 * gaze_drop_mm, 3.0)
    arch = np.sin(math.pi * _ARC) ** 0.85
    along = sign * (x - _HALF_WIDTH_MM + 2 * _HALF_WIDTH_MM * _ARC)
    tilt = 0.8 - 1.6 * _ARC
    depth = z - 1.0 + 2.0 * _ARC - _BULGE_MM * np.sin(math.pi * _ARC)
    above = np.stack([along, y + tilt - upper * arch, depth], 1)
    below = np.stack([along, y + tilt + lower * np.sin(math.pi * _ARC) ** 0.9, depth], 1)
    return above, below


def draw_eyes(canvas: Canvas, person: Identity, scene: Scene, project: Projector) -> None:
    """Draw both eyes, the irises at `Projector.iris_centres`."""
    gaze = direction(project.pose.pitch_rad, project.pose.yaw_rad)
    drop = IRIS_DISTANCE_MM * float((gaze @ project.rotation)[1])
    for eye in (0, 1):
        above, below = lid_outlines(person, eye, drop)
        _draw_eye(canvas, person, scene, project, eye, project(above), project(below))
        _draw_lid(canvas, person, project, above, below)
        _draw_brow(canvas, person, project, eye)


def _draw_eye(
    canvas: Canvas, person: Identity, scene: Scene, project: Projector, eye: int, above: np.ndarray, below: np.ndarray
) -> None:
    opening = np.concatenate([above, below[::-1]])
    scale = project.placement.scale
    inset = canvas.inset_within(opening)
    inset.fill(opening, _scaled_colour((236, 230, 224), 0.72 + 0.28 * sum(person.skin) / 690))
    inset.fill(project.iris_circle(eye, IRIS_RADIUS_MM), _scaled_colour(person.iris, 0.45))
    inset.fill(project.iris_circle(eye, IRIS_RADIUS_MM * 0.84), person.iris)
    inset.fill(project.iris_circle(eye, IRIS_RADIUS_MM * 0.62), _scaled_colour(person.iris, 1.18))
    inset.fill(project.iris_circle(eye, IRIS_RADIUS_MM * 0.42), (10, 8, 8))
    inset.stroke(above + [0, 0.9 * scale], _scaled_colour((160, 140, 132), 0.85), 1.2 * scale)  # the lid's shadow
    light = np.asarray(scene.light[:2]) * 3.0 * scale
    glint = project.iris_centres()[eye] + light + project.placement.scale * 0.9 * _circle(12)
    inset.fill(glint, (250, 250, 248))
    inset.close(Part.EYE)


def _draw_lid(canvas: Canvas, person: Identity, project: Projector, above: np.ndarray, below: np.ndarray) -> None:
    scale = project.placement.scale
    canvas.stroke(project(above), _scaled_colour(person.hair, 0.35), 1.3 * scale)
    canvas.stroke(project(below), _scaled_colour(person.skin, 0.62), 0.7 * scale)
    crease = above[1:-1] + [0.0, -3.2, -0.5]
    canvas.stroke(project(crease), _scaled_colour(person.skin, 0.7), 0.7 * scale)
    if person.age > 0.35:
        bag = below[2:-2] + [0.0, 5.0, -1.0]
        canvas.stroke(project(bag), _scaled_colour(person.skin, 1.0 - 0.22 * person.age), 0.8 * scale)


def _draw_brow(canvas: Canvas, person: Identity, project: Projector, eye: int) -> None:
    sign = -1.0 if eye == 0 else 1.0
    along = np.linspace(-17.5, 19.0, 9)
    share = (along + 17.5) / 36.5
    height = -48.0 - person.brow_arch * 4.5 * np.sin(math.pi * share**1.3)
    half = person.brow_thickness * 2.7 * (1.0 - 0.75 * share**2)
    depth = 27.0 + 9.0 * share
    x = sign * (EYE_MIDPOINT_MM[0] + along)
    outline = np.concatenate([np.stack([x, height - half, depth], 1), np.stack([x, height + half, depth], 1)[::-1]])
    skin, hair = np.asarray(person.skin), np.asarray(person.hair)
    colour = 0.2 * skin + 0.7 * np.minimum(hair, 0.75 * skin)  # darker than the skin, also under fair hair
    canvas.fill(project(outline), tuple(float(c) for c in colour))


def _circle(points: int) -> np.ndarray:
    angles = np.linspace(0.0, 2 * math.pi, points, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def _scaled_colour(colour: Colour, factor: float) -> Colour:
    return tuple(min(max(c * factor, 0.0), 255.0) for c in colour)  # type: ignore[return-value]
