"""A stand-in for a face parser: where parts of a face must be by its five landmarks, and which by their colour are.

It needs no network and is no parser: on real faces its maps are coarse, and forgery changes them less than a trained
parser's. It is for running and testing what needs parsing maps. A view made by it says so in its fingerprint, in the
records of runs, and on boards (`parser: stand-in`). Labels are those of CelebAMask-HQ; it knows no glasses,
jewellery, ears, hats and open mouths.

Places are in units of the face: x from the middle of the eyes, in distances of the eyes, to the image's right; y from
the line of the eyes, in distances of eyes and mouth, to the chin.
"""

from __future__ import annotations

import numpy as np

from dfad_bench.core.label_colours import CELEBAMASK_HQ

LABEL = {name: number for number, name in enumerate(CELEBAMASK_HQ)}
LEAST_PX = 6.0  # between the eyes, and from the eyes to the mouth; of a smaller face nothing can be said
_SKIN_DISTANCE = 3.0  # robust deviations of lightness and colour within which a pixel is skin
_LEAST_SPREAD = np.array([14.0, 5.0, 6.0])  # of L, a, b in OpenCV's 8 bits: shadows vary, colour does not
_ROBUST = 1.4826  # of a normal distribution, standard over median absolute deviation


def stand_in_labels(crop: np.ndarray, landmarks: np.ndarray) -> np.ndarray | None:
    """The label map (H, W) uint8 of one crop; None without landmarks, or where the face is too small.

    Args:
        crop: (H, W, 3) uint8 RGB.
        landmarks: (5, 2) in crop pixels, eyes and mouth corners from the image's left; NaN where unknown.
    """
    import cv2

    height, width = crop.shape[:2]
    if (places := _face_places(np.asarray(landmarks, dtype=np.float64), height, width)) is None:
        return None
    x, y, mouth = places
    lab = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2LAB).astype(np.float64)
    cheeks = (np.abs(x) < 0.75) & (y > 0.25) & (y < 0.75)
    if cheeks.sum() < 9:
        return None
    middle, spread = _robust_colour(lab[cheeks])
    off = (lab - middle) / spread
    labels = _outer_labels(lab, off, x, y)
    _paint_features(labels, off, x, y, mouth)
    return labels


def _face_places(points: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Place (x, y) of every pixel, (H, W) each, in units of the face, and half the mouth; None of no or a tiny face."""
    if points.shape != (5, 2) or not np.isfinite(points).all():
        return None
    eyes, mouth = (points[0] + points[1]) / 2, (points[3] + points[4]) / 2
    across, down = points[1] - points[0], mouth - eyes
    wide, high = float(np.hypot(*across)), float(np.hypot(*down))
    axes = np.stack([across, down], axis=1)
    if min(wide, high) < LEAST_PX or abs(float(np.linalg.det(axes))) < 0.2 * wide * high:
        return None
    rows, columns = np.mgrid[:height, :width] + 0.5
    away = np.stack([columns - eyes[0], rows - eyes[1]], axis=-1) @ np.linalg.inv(axes).T
    half_mouth = float(np.hypot(*(points[4] - points[3]))) / wide / 2
    return away[..., 0], away[..., 1], min(max(half_mouth, 0.2), 0.6)


def _robust_colour(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    middle = np.median(pixels, axis=0)
    return middle, np.maximum(_ROBUST * np.median(np.abs(pixels - middle), axis=0), _LEAST_SPREAD)


def _outer_labels(lab: np.ndarray, off: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Skin, hair, neck and cloth; the rest is background, whose colour is that of the image's upper corners."""
    is_skin = (off**2).sum(axis=-1) < _SKIN_DISTANCE**2
    height, width = x.shape
    corner = max(min(height, width) // 12, 1)
    corners = np.concatenate([lab[:corner, :corner].reshape(-1, 3), lab[:corner, -corner:].reshape(-1, 3)])
    behind, spread = _robust_colour(corners)
    far = (((lab - behind) / spread) ** 2).sum(axis=-1) > _SKIN_DISTANCE**2
    labels = np.full(x.shape, LABEL["background"], np.uint8)
    around = (np.abs(x) < 1.9) & (y > -2.4) & (y < 1.9)
    labels[around & far & ~is_skin] = LABEL["hair"]
    below = y > 1.75
    labels[below & far & ~is_skin] = LABEL["cloth"]
    labels[below & is_skin & (np.abs(x) < 1.1)] = LABEL["neck"]
    face = (x / 1.2) ** 2 + ((y - 0.45) / 1.4) ** 2 < 1
    inner = (x / 0.8) ** 2 + ((y - 0.5) / 1.0) ** 2 < 1  # skin whatever its colour: shadows, beards, make-up
    labels[(face & is_skin) | inner] = LABEL["skin"]
    return labels


def _paint_features(labels: np.ndarray, off: np.ndarray, x: np.ndarray, y: np.ndarray, mouth: float) -> None:
    """Brows, eyes, nose and lips, over the skin around them."""
    lightness, redness = off[..., 0], off[..., 1]
    differs = (off**2).sum(axis=-1) >= 2.0**2
    for side, brow, eye in ((-0.5, "left brow", "left eye"), (0.5, "right brow", "right eye")):
        above = (np.abs(x - side) < 0.42) & (y > -0.6) & (y < -0.18)
        labels[above & (lightness < -1.0)] = LABEL[brow]
        opening = ((x - side) / 0.3) ** 2 + (y / 0.2) ** 2 < 1
        labels[opening & differs] = LABEL[eye]
    down = ((y - 0.1) / 0.65).clip(0, 1)
    labels[(y > 0.1) & (y < 0.75) & (np.abs(x) < 0.12 + 0.2 * down)] = LABEL["nose"]
    lips = (x / (1.15 * mouth)) ** 2 + ((y - 1.0) / 0.26) ** 2 < 1
    is_lip = lips & ((redness > 0.8) | (lightness < -1.5))
    labels[is_lip & (y < 1.0)] = LABEL["upper lip"]
    labels[is_lip & (y >= 1.0)] = LABEL["lower lip"]
