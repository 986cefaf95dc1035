"""From a drawn portrait to the pixels of a file: sensor noise and camera processing."""

from __future__ import annotations

import numpy as np

from dfad_bench.synthetic.canvas import SIDE
from dfad_bench.synthetic.identity import Scene


def expose(image: np.ndarray, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """The image (320, 320, 3) as uint8, with sensor noise.

    A studio camera leaves fine white noise. The outdoor camera is a phone: it smooths noise and colours and sharpens
    a little, but only mildly, so that detectors do not learn to recognise the camera. Forged faces get studio noise
    too, as if encoded by the same software, so that neither file size nor the finest detail identifies a generator.
    """
    if scene.source == "outdoor":
        image = _telephone_camera(image, scene, rng)
    else:
        image = image + scene.noise * rng.standard_normal((SIDE, SIDE, 3), dtype=np.float32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _telephone_camera(image: np.ndarray, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    import cv2

    grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
    colour = cv2.GaussianBlur(image - grey[..., None], (0, 0), 1.0)
    noise = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE), dtype=np.float32), (0, 0), 0.6)
    grey = grey + 1.5 * scene.noise * noise
    grey = grey + 0.15 * (grey - cv2.GaussianBlur(grey, (0, 0), 1.6))
    fine = 0.8 * scene.noise * rng.standard_normal((SIDE, SIDE, 3), dtype=np.float32)
    return grey[..., None] + colour + fine
