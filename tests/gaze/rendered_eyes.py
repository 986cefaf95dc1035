"""Faces of two eyes only, drawn with a known gaze: for tests of gaze without a face generator."""

from __future__ import annotations

import numpy as np

from dfad_bench.gaze import normalize
from dfad_bench.gaze.vectors import to_unit

SIDE = 256
DISTANCE_MM = 900.0
EYEBALL_MM = 11.0  # iris centre from the eyeball's centre
EYEBALL_DEPTH_MM = 4.4  # eyeball centre behind the eye corners


def head_rotation(pitch_rad: float, yaw_rad: float) -> np.ndarray:
    """Head axes in camera axes for a head pointing along (pitch, yaw)."""
    z = -to_unit([pitch_rad, yaw_rad])
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)


def draw_face(
    gaze_rad: tuple[float, float], head_rad: tuple[float, float], *, shift: tuple[float, float] = (0.0, 0.0)
) -> tuple[np.ndarray, np.ndarray]:
    """A (256, 256, 3) uint8 crop and its five landmarks (5, 2), continuous coordinates."""
    focal = normalize.FOCAL_FACTOR * SIDE
    rotation = head_rotation(*head_rad)
    move = np.array([shift[0], shift[1], DISTANCE_MM])

    def project(points: np.ndarray) -> np.ndarray:
        return points[:, :2] / points[:, 2:] * focal + SIDE / 2

    model = normalize.FACE_MODEL_MM - [0, 0, 20]
    landmarks = project(model @ rotation.T + move)
    corners = model[:2] @ rotation.T + move
    balls = (model[:2] + [0, 0, EYEBALL_DEPTH_MM]) @ rotation.T + move
    irises = project(balls + EYEBALL_MM * to_unit(gaze_rad))
    scale = focal / DISTANCE_MM
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    image = np.full((SIDE, SIDE), 170.0)
    for corner, iris in zip(project(corners), irises, strict=True):
        white = _inside(((x - corner[0]) / (15 * scale)) ** 2 + ((y - corner[1]) / (7.5 * scale)) ** 2, 0.12)
        disc = _inside(np.hypot(x - iris[0], y - iris[1]) / (5.9 * scale), 0.08)
        image = image * (1 - white) + 225 * white
        image = image * (1 - white * disc) + 45 * white * disc
    return np.repeat(image.round().clip(0, 255).astype(np.uint8)[..., None], 3, axis=2), landmarks


def _inside(level: np.ndarray, soft: float) -> np.ndarray:
    """1 where `level` < 1, 0 beyond, smooth between."""
    return ((1 + soft - level) / (2 * soft)).clip(0, 1)


def draw_faces(
    count: int, seed: int, *, spread_rad: float = np.radians(12)
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Crops, landmarks, gaze (count, 2) and head (count, 2) in radians; the eyes turn up to 18 degrees in the head."""
    rng = np.random.default_rng(seed)
    heads = rng.uniform(-1, 1, (count, 2)) * [np.radians(8), spread_rad]
    gazes = heads + rng.uniform(-1, 1, (count, 2)) * [np.radians(5), np.radians(18)]
    shifts = rng.uniform(-8, 8, (count, 2))
    drawn = [draw_face(tuple(g), tuple(h), shift=tuple(s)) for g, h, s in zip(gazes, heads, shifts, strict=True)]
    return np.stack([d[0] for d in drawn]), np.stack([d[1] for d in drawn]), gazes, heads


def mirror(crops: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Crops and landmarks flipped left to right, in the order of the points for the new image."""
    flipped = landmarks[:, [1, 0, 2, 4, 3]] * [-1.0, 1.0] + [crops.shape[2], 0.0]
    return np.ascontiguousarray(crops[:, :, ::-1]), flipped
