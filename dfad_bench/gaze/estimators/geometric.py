"""Gaze without weights: head pose from five landmarks, and the offset of the irises from the centres of the eyes.

Model of an eyeball in the normalised patch: the horizontal part of the gaze is a fraction of the head's direction
plus the iris offset over the eyeball's radius. Vertical iris offsets are hidden by eyelids and only add noise, so the
vertical part is the head's. The constants were fitted to another estimator on a video and agree with anatomy: a
radius of 9.2 mm at 1.6 px/mm gives 0.068 per pixel; 0.08 because the weighted mean over all positions is nearer to
the middle of the eye than the iris is.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Self

import numpy as np

from dfad_bench.core.errors import WeightsError
from dfad_bench.core.files import content_hash
from dfad_bench.gaze import normalize
from dfad_bench.gaze.estimators.base import GazeCard, GazeFlag, GazeResult
from dfad_bench.gaze.vectors import to_pitch_yaw

VERSION = 2  # of everything below that changes numbers
HEAD_SHARE_X = 0.475  # gx = 0.475 hx + 0.08 offset_px
IRIS_SHARE_X = 0.08
HEAD_SHARE_Y = 0.54  # gy = 0.54 hy - 0.04
BIAS_Y = -0.04
RADII_PX = (8, 9, 10, 11)  # iris in the patch: 5 to 6.9 mm
SEARCH_X, SEARCH_Y = 14, 8  # the iris is searched this far from the centre of the eye, patch px
PRIOR_WEIGHT = 25.0  # grey levels subtracted from the score at the edge of the search window
SOFTNESS = 20.0  # grey levels by which a position must be better to count e times as much
ARC_PX = 4  # width of the white arcs on both sides
ARC_RAD = np.radians(35)
DISAGREE_PX = 6.0  # a difference of the eyes' offsets that halves the weight of the irises
FLAG_DISAGREE_PX = 6.0  # above this difference one of the two is no iris: 3 % of photographs
SMALLEST_IOD_PX = 40.0  # with less distance between the eyes in the source, irises are not visible
_HALF = max(RADII_PX) + ARC_PX  # half the width of the templates
_HALF_Y = max(RADII_PX)  # half their height: the arcs end at 15 sin(35 degrees) = 8.6


class GeometricEstimator:
    """The built-in default: no download, deterministic, approximate."""

    name = "geometric"
    card = GazeCard(
        display="geometric (approximate)",
        paper="eyeball model on Zhang, Sugano and Bulling, ETRA 2018, normalisation",
        idea="Head pose from five landmarks plus the offset of a dark disc of known radius in each eye.",
        limits="Pitch is the head's; eyelashes, glasses and closed eyes mislead it (flagged); small faces: head only.",
        licence="none needed",
    )
    fingerprint = content_hash(
        [
            VERSION,
            [HEAD_SHARE_X, IRIS_SHARE_X, HEAD_SHARE_Y, BIAS_Y, PRIOR_WEIGHT, SOFTNESS, float(ARC_RAD), DISAGREE_PX],
            [*RADII_PX, SEARCH_X, SEARCH_Y, ARC_PX, FLAG_DISAGREE_PX, SMALLEST_IOD_PX],
            [normalize.FACE_MODEL_MM.tolist(), normalize.FOCAL_FACTOR],
        ]
    )

    @classmethod
    def build(cls, weights: Path | None) -> Self:
        """A new estimator.

        Raises:
            WeightsError: it takes no weights.
        """
        if weights is not None:
            raise WeightsError("the estimator geometric takes no weights; leave --weights out or name another one")
        return cls()

    def estimate(
        self,
        crops: np.ndarray,
        landmarks: np.ndarray,
        device: str = "cpu",
        *,
        source_scale: np.ndarray | None = None,
    ) -> GazeResult:
        """See `GazeEstimator.estimate`."""
        points = np.asarray(landmarks, dtype=np.float64)
        pose = normalize.solve_pose(points, crops.shape[2], crops.shape[1])
        view = normalize.virtual_camera(pose)
        offset, disagreement = iris_offsets(crops, points, pose, view, device)
        iod = np.linalg.norm(points[:, 1] - points[:, 0], axis=1)
        iod = iod * (1.0 if source_scale is None else np.asarray(source_scale, dtype=np.float64))
        unseen = ~(iod >= SMALLEST_IOD_PX) | _eye_outside(points[:, :2], crops.shape[2], crops.shape[1])
        unseen &= pose.ok
        weight = np.where(unseen, 0.0, 1 / (1 + (disagreement / DISAGREE_PX) ** 2))
        head = view.forward
        gx = HEAD_SHARE_X * head[:, 0] + IRIS_SHARE_X * weight * np.where(unseen, 0.0, offset)
        gy = HEAD_SHARE_Y * head[:, 1] + BIAS_Y
        pitch, yaw = angles(gx, gy)
        head_rad = to_pitch_yaw(head)
        flags = np.where(pose.ok, GazeFlag.NONE, GazeFlag.NO_POSE).astype(np.int16)
        flags |= np.where(unseen, GazeFlag.HEAD_ONLY, 0).astype(np.int16)
        flags |= np.where(~unseen & (disagreement > FLAG_DISAGREE_PX), GazeFlag.EYES_DISAGREE, 0).astype(np.int16)
        return GazeResult(pitch, yaw, np.where(pose.ok, weight, 0.0), flags, head_rad[:, 0], head_rad[:, 1])


def _eye_outside(eyes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Which faces (N,) have an eye (N, 2, 2) outside the crop."""
    return np.asarray(((eyes < 0) | (eyes > [width, height])).any(axis=(1, 2)))


def angles(gx: np.ndarray, gy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pitch and yaw (N,) in radians of a gaze given by x and y of its unit vector; longer vectors are shortened."""
    excess = np.maximum(np.hypot(gx, gy) / 0.99, 1.0)
    gx, gy = gx / excess, gy / excess
    return np.arcsin(-gy), np.arctan2(-gx, np.sqrt(1 - gx**2 - gy**2))


def iris_offsets(
    crops: np.ndarray, landmarks: np.ndarray, pose: normalize.Pose, view: normalize.View, device: str
) -> tuple[np.ndarray, np.ndarray]:
    """Mean horizontal iris offset (N,) of both eyes in patch px, and the difference (N,) between the eyes.

    An eye's centre is the mean of its landmark, which follows the iris a little, and of the model's projected eye.
    """
    eyes = (landmarks[:, :2] + normalize.project_model(pose, normalize.FACE_MODEL_MM[:2])) / 2
    centres = normalize.project(view.homography, eyes)  # (N, 2, 2) in the patch
    windows = eye_windows(crops, centres, view.homography, pose.ok)
    offsets = find_irises(windows.reshape(-1, *windows.shape[2:]), device).reshape(-1, 2)
    offsets[~pose.ok] = np.nan
    return offsets.mean(axis=1), np.abs(offsets[:, 0] - offsets[:, 1])


def eye_windows(crops: np.ndarray, centres: np.ndarray, homography: np.ndarray, ok: np.ndarray) -> np.ndarray:
    """(N, 2, h, w) float32 red channels around each eye, warped straight from the crop, the eye in the middle.

    Red, because skin is bright and irises are dark in it.
    """
    width, height = 2 * (SEARCH_X + _HALF) + 1, 2 * (SEARCH_Y + _HALF) + 1
    windows = np.zeros((len(crops), 2, height, width), dtype=np.float32)
    for row in np.flatnonzero(ok):
        red = np.ascontiguousarray(crops[row, :, :, 0])
        for eye in range(2):
            shift = np.eye(3)
            shift[:2, 2] = np.array([width, height]) / 2 - centres[row, eye]
            windows[row, eye] = normalize.warp(red, shift @ homography[row], width, height)
    return windows


def find_irises(windows: np.ndarray, device: str) -> np.ndarray:
    """Horizontal offset (M,) in px of the iris, a dark disc, from the middle of each (h, w) window.

    Score of a position: mean of the white arcs at both sides minus the mean of the disc, minus a quadratic prior for
    the middle, for the best radius. The offset is the mean over all positions weighted by exp(score / SOFTNESS): a
    clear iris determines it, while an eyelash that scores only a little better does not.
    """
    import torch

    kernels, prior = (torch.from_numpy(value).to(device) for value in _templates())
    unseen = _HALF - _HALF_Y  # rows that no template reaches
    images = torch.from_numpy(windows[:, None, unseen:-unseen]).to(device)
    scores = torch.nn.functional.conv2d(images, kernels).amax(dim=1) - prior  # (M, 2 SEARCH_Y + 1, 2 SEARCH_X + 1)
    weights = torch.softmax(scores.double().flatten(1) / SOFTNESS, dim=1).reshape(scores.shape).sum(dim=1)
    places = torch.arange(-SEARCH_X, SEARCH_X + 1, dtype=torch.float64, device=device)
    return (weights @ places).cpu().numpy()


@cache
def _templates() -> tuple[np.ndarray, np.ndarray]:
    """Kernels (radii, 1, h, w), and the prior (2 SEARCH_Y + 1, 2 SEARCH_X + 1) in grey levels; float32."""
    fine = 5  # samples per pixel along each side
    tall, wide = (2 * half + 1 for half in (_HALF_Y, _HALF))
    # centred on integers, so that left and right are equal to the last bit
    y, x = (2 * np.mgrid[: tall * fine, : wide * fine] + 1 - fine * np.array([tall, wide])[:, None, None]) / (2 * fine)
    radius, slope = np.hypot(x, y), np.arctan2(np.abs(y), np.abs(x))

    def shrunk(mask: np.ndarray) -> np.ndarray:
        area = mask.reshape(tall, fine, wide, fine).mean(axis=(1, 3))
        return area / area.sum()

    kernels = [
        shrunk((radius > r) & (radius <= r + ARC_PX) & (slope <= ARC_RAD)) - shrunk(radius <= r) for r in RADII_PX
    ]
    dy, dx = np.mgrid[-SEARCH_Y : SEARCH_Y + 1, -SEARCH_X : SEARCH_X + 1]
    prior = PRIOR_WEIGHT * ((dx / SEARCH_X) ** 2 + (dy / SEARCH_Y) ** 2)
    return np.stack(kernels)[:, None].astype(np.float32), prior.astype(np.float32)
