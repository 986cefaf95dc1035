"""Light on the head: shading of a smooth body, soft relief of the features, hair and skin texture."""

from __future__ import annotations

import math

import numpy as np

from dfad_bench.synthetic.canvas import SIDE, fixed_point
from dfad_bench.synthetic.geometry import Projector
from dfad_bench.synthetic.identity import Identity, Scene

_COARSE = 80  # pixels of the grid on which light is computed: it changes slowly
_RELIEF = 160


def body_light(scene: Scene, project: Projector) -> np.ndarray:
    """Brightness factor (SIDE, SIDE) of a head-sized ellipsoid under the scene's light, about 1 where lit."""
    import cv2

    y, x = (np.mgrid[0:_COARSE, 0:_COARSE].astype(np.float32) + 0.5) * (SIDE / _COARSE)
    scale = project.placement.scale
    centre = project(np.array([[0.0, -22.0, 80.0]]))[0]
    nx, ny = (x - centre[0]) / (88 * scale), (y - centre[1]) / (118 * scale)
    length = np.sqrt(nx * nx + ny * ny)
    shrink = np.where(length > 0.97, 0.97 / np.maximum(length, 1e-6), 1.0)
    nx, ny = nx * shrink, ny * shrink
    nz = -np.sqrt(1.0 - nx * nx - ny * ny)
    lit = nx * scene.light[0] + ny * scene.light[1] + nz * scene.light[2]
    value = scene.ambient + (1.12 - scene.ambient) * np.clip(0.22 + 0.78 * lit, 0, 1)
    return cv2.resize(value.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


def relief(person: Identity, scene: Scene, project: Projector) -> np.ndarray:
    """Brightness factor (SIDE, SIDE) of sockets, nose, lips, cheeks and chin."""
    import cv2

    zoom = _RELIEF / SIDE
    flat = np.full((_RELIEF, _RELIEF), 128, np.uint8)

    def fill(points: list[tuple[float, float, float]], value: int) -> None:
        cv2.fillPoly(flat, [fixed_point(project(np.array(points, float)), zoom)], value, cv2.LINE_AA, 4)

    def oval(x: float, y: float, z: float, width: float, height: float, value: int) -> None:
        angles = np.linspace(0, 2 * math.pi, 16, endpoint=False)
        fill([(x + width * math.cos(a), y + height * math.sin(a), z) for a in angles], value)

    side = 1.0 if scene.light[0] >= 0 else -1.0  # the side the light comes from
    bridge, width = person.nose_bridge, person.nose_width
    for sign in (-1.0, 1.0):
        oval(sign * 31, -35, 34, 19, 12, 108)
        oval(sign * 40, 6, 34, 15, 11, 138)
    oval(0, -70, 30, 26, 12, 136)
    oval(0, 66, 28, 13, 7, 136)
    fill(
        [
            (-side * 6, -32, 24),
            (-side * 9 * bridge, -8, 14),
            (-side * 18 * width, 7, 18),
            (-side * 24, 4, 26),
            (-side * 15, -30, 32),
        ],
        100,
    )
    oval(0, 14, 18, 15 * width, 4, 92)
    oval(0, 48, 26, 15, 4, 104)
    fill([(-3.5 * bridge, -36, 22), (3.5 * bridge, -36, 22), (5 * bridge, -4, 2), (-5 * bridge, -4, 2)], 146)
    oval(0, -1, 0, 8 * width, 6, 150)
    soft = cv2.GaussianBlur(flat, (0, 0), 2.2)
    return cv2.resize(soft, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 128.0


def stubble(person: Identity, project: Projector) -> np.ndarray | None:
    """Darkening (SIDE, SIDE) of jaw and upper lip, or None for a shaved face."""
    import cv2

    if not person.stubble:
        return None
    flat = np.zeros((_RELIEF, _RELIEF), np.uint8)
    jaw = [
        (-58, 8, 60),
        (-42, 22, 38),
        (-24, 18, 28),
        (0, 20, 24),
        (24, 18, 28),
        (42, 22, 38),
        (58, 8, 60),
        (44, 60, 50),
        (0, 82, 34),
        (-44, 60, 50),
    ]
    cv2.fillPoly(flat, [fixed_point(project(np.array(jaw, float)), _RELIEF / SIDE)], 255, cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(flat, (0, 0), 4.0)
    return cv2.resize(soft, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR).astype(np.float32) * (person.stubble / 255.0)


def skin_texture(rng: np.random.Generator, age: float) -> np.ndarray:
    """Pores and blotches: a zero-mean field (SIDE, SIDE) in grey levels at about 2, 5 and 12 pixels."""
    import cv2

    total = np.zeros((SIDE, SIDE), np.float32)
    for size, strength in ((160, 3.2 + 1.5 * age), (80, 3.2 + 1.0 * age), (34, 2.4)):
        field = rng.standard_normal((size, size), dtype=np.float32) * strength
        total += cv2.resize(field, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return total


def hair_texture(rng: np.random.Generator) -> np.ndarray:
    """Strands: a zero-mean field (SIDE, SIDE), stretched downwards, in fractions of the hair's brightness."""
    import cv2

    field = rng.standard_normal((24, 160), dtype=np.float32)
    return cv2.resize(field, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) * 0.16
