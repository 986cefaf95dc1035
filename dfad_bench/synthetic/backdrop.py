"""The background of a portrait: a lit studio wall, or blurred greenery outdoors."""

from __future__ import annotations

import numpy as np

from dfad_bench.synthetic.identity import Scene
from dfad_bench.synthetic.seeding import rng_for


def draw_backdrop(scene: Scene, side: int) -> np.ndarray:
    """A (side, side, 3) uint8 RGB background."""
    import cv2

    rng = rng_for(scene.texture_key, "backdrop")
    small = _studio(scene, rng) if scene.source == "studio" else _outdoor(scene, rng)
    return cv2.resize(np.clip(small, 0, 255).astype(np.uint8), (side, side), interpolation=cv2.INTER_CUBIC)


def _studio(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    first, second = (np.asarray(colour, np.float32) for colour in scene.backdrop)
    y, x = np.mgrid[0:1:64j, 0:1:64j].astype(np.float32)
    centre_x, centre_y = rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.5)
    falloff = np.clip(np.hypot(x - centre_x, y - centre_y) / 0.9, 0, 1)[..., None]
    return first * (1 - falloff) + second * falloff


def _outdoor(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    import cv2

    sky = np.array([170, 196, 222], np.float32) * rng.uniform(0.8, 1.1)
    ground = np.array([92, 112, 70], np.float32) * rng.uniform(0.6, 1.2)
    ground = 0.6 * ground + 0.4 * np.asarray(scene.backdrop[1], np.float32)
    horizon = rng.uniform(0.25, 0.7)
    y = np.mgrid[0:1:128j, 0:1:128j][0].astype(np.float32)
    share = (1 / (1 + np.exp(-(y - horizon) * 14)))[..., None]
    picture = np.ascontiguousarray((sky * (1 - share) + ground * share).astype(np.float32))
    for _ in range(26):  # leaves and lamps out of focus
        at = tuple(int(v) for v in rng.integers(0, 128, 2))
        colour = (ground if at[1] > 128 * horizon else sky) * rng.uniform(0.6, 1.35) + rng.normal(0, 10, 3)
        cv2.circle(picture, at, int(rng.integers(4, 15)), tuple(float(c) for c in colour), -1)
    return cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(1.2, 3.5)))
