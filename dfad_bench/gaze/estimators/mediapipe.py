"""Gaze from MediaPipe's face mesh: head pose from five of its points, and the position of the irises in the eyes.

The eyeball model of `geometric` with better points: a network locates the irises, so that the vertical part is known
too. MediaPipe is not among our extras, since it brings a second OpenCV; see docs/gaze.md.
"""

from __future__ import annotations

import weakref
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from dfad_bench.core.errors import WeightsError, need
from dfad_bench.core.files import check_hash, content_hash, sha256_file
from dfad_bench.core.weights import find_weights, weight_files
from dfad_bench.gaze import normalize
from dfad_bench.gaze.estimators.base import GazeCard, GazeFlag, GazeResult
from dfad_bench.gaze.estimators.geometric import DISAGREE_PX, FLAG_DISAGREE_PX, SMALLEST_IOD_PX, angles
from dfad_bench.gaze.vectors import to_pitch_yaw

VERSION = 1  # of everything below that changes numbers
PACKAGE = "mediapipe==1.2.2"
WEIGHTS = "mediapipe_face_landmarker"
HEAD_SHARE_X = 0.475  # gx = 0.475 hx + 0.068 offset_x
IRIS_SHARE_X = 0.068
HEAD_SHARE_Y = 0.63  # gy = 0.63 hy + 0.079 offset_y + 0.17
IRIS_SHARE_Y = 0.079
BIAS_Y = 0.17
REST_Y_PX = -3.4  # irises lie this far above the line of the eye corners: median of photographs
REST_APART_PX = -4.2  # and this much further outward than the middles of their eyes, image-left minus image-right
OPEN_SHARE = 0.15  # of the eye's width: lids closer than this hide part of the iris
FACES = 3  # most faces detected in a crop; the one at the landmarks is used
POINTS = 478  # with irises; a model without them has 468
# Points of the mesh, image left first.
EYE_CORNERS = ((33, 133), (362, 263))
LIDS = ((159, 145), (386, 374))
IRISES = (468, 473)
NOSE_AND_MOUTH = (4, 61, 291)
_WHY = "the gaze estimator mediapipe (make mediapipe-env gives it an environment of its own)"


class MediapipeEstimator:
    """Face Landmarker's points through an eyeball model; on the CPU, one face after the other."""

    name = "mediapipe"
    card = GazeCard(
        display="MediaPipe Face Landmarker",
        paper="Kartynnik et al. 2019 (face mesh), Ablavatski et al. 2020 (irises); eyeball model as in geometric",
        idea="Head pose from five points of the face mesh plus the offset of both irises from the eye corners' middle.",
        limits="Constants fitted on one video; pitch may be off by a constant few degrees; small faces: head only.",
        licence="Apache-2.0",
        weights=(WEIGHTS,),
    )

    def __init__(self, weights: Path) -> None:
        """An estimator with its model file, which must be the published one.

        Raises:
            IntegrityError: another file.
        """
        self._weights = weights
        published = weight_files()[WEIGHTS].sha256
        if published:
            check_hash(weights, published)
        self.fingerprint = content_hash(
            [
                VERSION,
                sha256_file(weights),
                [HEAD_SHARE_X, IRIS_SHARE_X, HEAD_SHARE_Y, IRIS_SHARE_Y, BIAS_Y, REST_Y_PX, REST_APART_PX, OPEN_SHARE],
                [DISAGREE_PX, FLAG_DISAGREE_PX, SMALLEST_IOD_PX, FACES],
                [*EYE_CORNERS, *LIDS, IRISES, NOSE_AND_MOUTH],
                [normalize.FACE_MODEL_MM.tolist(), normalize.FOCAL_FACTOR],
            ]
        )

    @classmethod
    def build(cls, weights: Path | None) -> Self:
        """A new estimator; only `estimate` needs MediaPipe, so that stored tables can be read without it.

        Raises:
            WeightsError: the model file is missing.
            IntegrityError: another file than the published one.
        """
        return cls(weights or find_weights(WEIGHTS))

    def estimate(
        self,
        crops: np.ndarray,
        landmarks: np.ndarray,
        device: str = "cpu",
        *,
        source_scale: np.ndarray | None = None,
    ) -> GazeResult:
        """See `GazeEstimator.estimate`; landmarks only decide which of several faces is used.

        Raises:
            MissingDependencyError: MediaPipe is not installed.
            WeightsError: MediaPipe cannot use the model file.
        """
        return gaze_of_mesh(self._meshes(crops, landmarks), crops.shape[1], crops.shape[2], source_scale)

    def _meshes(self, crops: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """(N, 478, 2) points in crop pixels, continuous coordinates; NaN where no face was found."""
        package = need("mediapipe", PACKAGE, _WHY)
        height, width = crops.shape[1:3]
        meshes = np.full((len(crops), POINTS, 2), np.nan)
        for row, crop in enumerate(crops):
            image = package.Image(image_format=package.ImageFormat.SRGB, data=np.ascontiguousarray(crop))
            faces = self._landmarker.detect(image).face_landmarks
            if faces:
                points = np.array([[(point.x, point.y) for point in face] for face in faces]) * [width, height]
                meshes[row] = nearest_face(points, landmarks[row])
        return meshes

    @cached_property
    def _landmarker(self) -> Any:
        """Face Landmarker in its mode for single images, in which images do not influence each other."""
        tasks = need("mediapipe.tasks.python", PACKAGE, _WHY)
        options = tasks.vision.FaceLandmarkerOptions(
            base_options=tasks.BaseOptions(model_asset_buffer=self._weights.read_bytes()), num_faces=FACES
        )
        try:
            landmarker = tasks.vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            line = str(error).splitlines()[0]
            raise WeightsError(f"{self._weights}: MediaPipe cannot use this model ({line})") from error
        weakref.finalize(self, landmarker.close)  # its own __del__ is too late when Python exits
        return landmarker


def nearest_face(meshes: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Of (k, 478, 2) faces the one whose five points are nearest to `landmarks` (5, 2); all NaN where none is near.

    Near means on average within a quarter of the distance between the eyes. Without landmarks it is the first face.
    """
    if not np.isfinite(landmarks).all():
        return meshes[0]
    distance = np.linalg.norm(five_points(meshes) - landmarks, axis=2).mean(axis=1)
    best = int(distance.argmin())
    if distance[best] <= np.linalg.norm(landmarks[1] - landmarks[0]) / 4:
        return meshes[best]
    return np.full_like(meshes[0], np.nan)


def five_points(meshes: np.ndarray) -> np.ndarray:
    """(N, 5, 2) points in the order of `GazeEstimator.estimate` of (N, 478, 2) meshes; an eye is between its corners.

    Eyes and mouth corners are the points of `normalize.FACE_MODEL_MM`.
    """
    eyes = [meshes[:, pair].mean(axis=1) for pair in EYE_CORNERS]
    return np.stack([*eyes, *(meshes[:, index] for index in NOSE_AND_MOUTH)], axis=1)


def gaze_of_mesh(meshes: np.ndarray, height: int, width: int, source_scale: np.ndarray | None) -> GazeResult:
    """Gaze of (N, 478, 2) meshes in crops of `height` x `width`; NaN meshes have none.

    The confidence falls with the disagreement of the eyes (half at `DISAGREE_PX`) and as the lids close; the angles
    do not depend on it.
    """
    points = five_points(meshes)
    pose = normalize.solve_pose(points, width, height)
    view = normalize.virtual_camera(pose)
    offsets = normalize.project(view.homography, meshes[:, IRISES]) - normalize.project(view.homography, points[:, :2])
    eye_offset_px = np.abs(offsets[:, 0, 0] - offsets[:, 1, 0] - REST_APART_PX)
    iod = np.linalg.norm(points[:, 1] - points[:, 0], axis=1)
    iod = iod * (1.0 if source_scale is None else np.asarray(source_scale, dtype=np.float64))
    small = pose.ok & ~(iod >= SMALLEST_IOD_PX)
    offset_x, offset_y = np.where(small[:, None], [0.0, REST_Y_PX], offsets.mean(axis=1)).T
    gx = HEAD_SHARE_X * view.forward[:, 0] + IRIS_SHARE_X * offset_x
    gy = HEAD_SHARE_Y * view.forward[:, 1] + IRIS_SHARE_Y * offset_y + BIAS_Y
    pitch, yaw = angles(gx, gy)
    head_rad = to_pitch_yaw(view.forward)
    flags = np.where(pose.ok, GazeFlag.NONE, GazeFlag.NO_POSE).astype(np.int16)
    flags |= np.where(small, GazeFlag.HEAD_ONLY, 0).astype(np.int16)
    flags |= np.where(~small & (eye_offset_px > FLAG_DISAGREE_PX), GazeFlag.EYES_DISAGREE, 0).astype(np.int16)
    trust = (lid_openness(meshes) / OPEN_SHARE).clip(0, 1) / (1 + (eye_offset_px / DISAGREE_PX) ** 2)
    confidence = np.where(pose.ok & ~small, trust, 0.0)
    return GazeResult(pitch, yaw, confidence, flags, head_rad[:, 0], head_rad[:, 1])


def lid_openness(meshes: np.ndarray) -> np.ndarray:
    """Distance of the lids over the eye's width (N,), mean of both eyes, of (N, 478, 2) meshes."""
    shares = [
        np.linalg.norm(meshes[:, upper] - meshes[:, lower], axis=1)
        / np.linalg.norm(meshes[:, outer] - meshes[:, inner], axis=1)
        for (upper, lower), (outer, inner) in zip(LIDS, EYE_CORNERS, strict=True)
    ]
    return np.mean(shares, axis=0)
