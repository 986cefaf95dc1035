"""Head pose from five landmarks, and the normalised face patch that gaze networks take.

Modified data normalisation of Zhang, Sugano and Bulling (ETRA 2018) with ETH-XGaze's numbers: a virtual camera of
focal length 960 px looks at the face centre from 600 mm, upright in the head's frame, 224 x 224 px. A frontal
adult face then has 1.6 px per millimetre and its eyes about 102 px apart.

Points are continuous coordinates: the first pixel's centre is at 0.5, the image ends at its width. OpenCV counts
pixel centres from 0, which is why half pixels are added and subtracted below; without that, yaw is 3 degrees off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Adult mean face, mm: image-left eye, image-right eye, nose tip, image-left and image-right mouth corner.
# x right, y down, z away from the camera; z is normal to the plane of eyes and mouth. Eyes 64 mm apart.
FACE_MODEL_MM = np.array(
    [[-32.0, -32.0, 37.0], [32.0, -32.0, 37.0], [0.0, 0.0, 0.0], [-28.5, 33.0, 37.0], [28.5, 33.0, 37.0]]
)
NOSE_BASE_MM = np.array([0.0, 9.5, 17.0])
FOCAL_FACTOR = 4.0  # assumed focal length of the camera, in widths of the crop: a portrait lens
FOCAL_NORM_PX = 960.0
DISTANCE_NORM_MM = 600.0
PATCH_SIDE = 224
FACE_CENTRE_MM = (FACE_MODEL_MM[:2].mean(axis=0) + NOSE_BASE_MM) / 2  # midway between the eyes and the nose's base
# A detector's tight face box in units of the face (distance of the eyes, or of eyes and mouth, whichever is longer):
# width, height, and how far its middle lies below the middle of eyes and mouth. Medians of 1,579 detections.
BOX_SHARES = (2.05, 2.7, -0.18)


@dataclass(frozen=True)
class Pose:
    """Poses of N heads; rows without a pose are NaN in every array."""

    rotation: np.ndarray  # (N, 3, 3) head axes in camera axes
    translation: np.ndarray  # (N, 3) nose tip, mm
    camera: np.ndarray  # (3, 3)
    ok: np.ndarray  # (N,) bool

    @property
    def centre(self) -> np.ndarray:
        """(N, 3) face centre in mm: midway between the eyes' midpoint and the nose's base."""
        return self.place(FACE_CENTRE_MM)

    def place(self, point_mm: np.ndarray) -> np.ndarray:
        """(N, 3) position of a point (3,) of the face model in camera axes, mm."""
        return self.rotation @ point_mm + self.translation


@dataclass(frozen=True)
class View:
    """The virtual camera of each face."""

    rotation: np.ndarray  # (N, 3, 3) from the camera's axes to the virtual camera's
    homography: np.ndarray  # (N, 3, 3) from crop to patch, continuous coordinates
    forward: np.ndarray  # (N, 3) unit direction of the head, in the virtual camera's axes


@dataclass(frozen=True)
class Patches:
    """Normalised faces; `ok` is False where there was no pose and the crop was only resized."""

    images: np.ndarray  # (N, height, side, 3) uint8 RGB
    head_rad: np.ndarray  # (N, 2) pitch and yaw of the head, NaN without a pose
    ok: np.ndarray  # (N,) bool


def solve_pose(landmarks: np.ndarray, width: int, height: int, *, focal_factor: float = FOCAL_FACTOR) -> Pose:
    """Head poses from (N, 5, 2) landmarks in an image of `width` x `height`, camera unknown.

    SQPNP on the five points, refined by Levenberg-Marquardt.
    """
    import cv2

    points = np.ascontiguousarray(landmarks, dtype=np.float64)
    focal = focal_factor * max(width, height)
    camera = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    rotation, translation = np.full((len(points), 3, 3), np.nan), np.full((len(points), 3), np.nan)
    ok = np.zeros(len(points), dtype=bool)
    for row, face in enumerate(points):
        if not np.isfinite(face).all() or np.ptp(face, axis=0).min() < 1:
            continue
        try:
            found, turn, move = cv2.solvePnP(FACE_MODEL_MM, face, camera, None, flags=cv2.SOLVEPNP_SQPNP)
            if found:
                turn, move = cv2.solvePnPRefineLM(FACE_MODEL_MM, face, camera, None, turn, move)
        except cv2.error:  # degenerate points (all on one line)
            continue
        if found and np.isfinite(turn).all() and np.isfinite(move).all() and move[2, 0] > 0:
            rotation[row], translation[row], ok[row] = cv2.Rodrigues(turn)[0], move[:, 0], True
    return Pose(rotation, translation, camera, ok)


def virtual_camera(
    pose: Pose,
    *,
    focal_px: float = FOCAL_NORM_PX,
    distance_mm: float = DISTANCE_NORM_MM,
    side: int = PATCH_SIDE,
    height: int | None = None,
    centre_mm: np.ndarray = FACE_CENTRE_MM,
) -> View:
    """The camera that looks at each face centre, with the head's x axis level: W = C S R K^-1.

    Gaze is rotated by `rotation` only, never scaled (the "modified" normalisation). The patch is `side` wide and
    `height` (default: as much) high; `centre_mm` is the point of the face model that lies in its middle.
    """
    centre = pose.place(centre_mm)
    distance = np.linalg.norm(centre, axis=1, keepdims=True)
    forward = centre / distance
    down = np.cross(forward, pose.rotation[:, :, 0])
    down /= np.linalg.norm(down, axis=1, keepdims=True)
    right = np.cross(down, forward)
    rotation = np.stack([right, down, forward], axis=1)
    scale = np.zeros((len(centre), 3, 3))
    scale[:, 0, 0] = scale[:, 1, 1] = 1
    scale[:, 2, 2] = distance_mm / distance[:, 0]
    new_camera = np.array([[focal_px, 0, side / 2], [0, focal_px, (height or side) / 2], [0, 0, 1.0]])
    homography = new_camera @ scale @ rotation @ np.linalg.inv(pose.camera)
    head = rotation @ pose.rotation
    return View(rotation, homography, -head[:, :, 2])


def project(homography: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N, k, 2) points through (N, 3, 3) homographies."""
    lifted = np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1)
    mapped = np.einsum("nij,nkj->nki", homography, lifted)
    return mapped[..., :2] / mapped[..., 2:]


def project_model(pose: Pose, points_mm: np.ndarray) -> np.ndarray:
    """(k, 3) points of the face model as (N, k, 2) points in the image."""
    camera_mm = np.einsum("nij,kj->nki", pose.rotation, points_mm) + pose.translation[:, None]
    pixels = np.einsum("ij,nkj->nki", pose.camera, camera_mm)
    return pixels[..., :2] / pixels[..., 2:]


def warp(image: np.ndarray, homography: np.ndarray, width: int, height: int) -> np.ndarray:
    """`image` transformed by a homography in continuous coordinates, bilinear, edges repeated."""
    import cv2

    down, up = np.eye(3), np.eye(3)
    down[:2, 2], up[:2, 2] = -0.5, 0.5
    matrix = down @ homography @ up
    return cv2.warpPerspective(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def normalize(
    crops: np.ndarray,
    landmarks: np.ndarray,
    *,
    side: int = PATCH_SIDE,
    height: int | None = None,
    focal_px: float = FOCAL_NORM_PX,
    distance_mm: float = DISTANCE_NORM_MM,
    centre_mm: np.ndarray = FACE_CENTRE_MM,
) -> Patches:
    """Normalised patches of crops; a face without a pose is resized as a whole and marked.

    Args:
        crops: (N, H, W, 3) uint8 RGB.
        landmarks: (N, 5, 2) in crop pixels, continuous coordinates; NaN where there are none.
        side: width of the patch in pixels.
        height: height of the patch, by default `side`.
        focal_px: see `virtual_camera`.
        distance_mm: see `virtual_camera`.
        centre_mm: see `virtual_camera`.
    """
    from dfad_bench.gaze.vectors import to_pitch_yaw

    pose = solve_pose(landmarks, crops.shape[2], crops.shape[1])
    view = virtual_camera(
        pose, focal_px=focal_px, distance_mm=distance_mm, side=side, height=height, centre_mm=centre_mm
    )
    images = _warp_all(crops, view.homography, pose.ok, side, height or side)
    return Patches(images, to_pitch_yaw(view.forward), pose.ok)


def face_boxes(crops: np.ndarray, landmarks: np.ndarray, side: int) -> Patches:
    """Faces cropped to a detector's box and stretched to a square, for networks that take no normalised patch.

    The box is guessed from the landmarks (`BOX_SHARES`), upright in the crop; beyond its edge the crop is repeated.
    Head angles are in the crop's camera. A face without landmarks or pose is resized as a whole and marked.
    """
    from dfad_bench.gaze.vectors import to_pitch_yaw

    points = np.asarray(landmarks, dtype=np.float64)
    pose = solve_pose(points, crops.shape[2], crops.shape[1])
    eyes, mouth = points[:, :2].mean(axis=1), points[:, 3:].mean(axis=1)
    length = np.maximum(np.linalg.norm(points[:, 1] - points[:, 0], axis=1), np.linalg.norm(mouth - eyes, axis=1))
    width, height, below = (share * length for share in BOX_SHARES)
    middle = (eyes + mouth) / 2
    matrix = np.zeros((len(crops), 3, 3))
    with np.errstate(divide="ignore"):  # points that all coincide have no pose either
        matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 2, 2] = side / width, side / height, 1
    matrix[:, 0, 2] = side / 2 - middle[:, 0] * matrix[:, 0, 0]
    matrix[:, 1, 2] = side / 2 - (middle[:, 1] + below) * matrix[:, 1, 1]
    return Patches(_warp_all(crops, matrix, pose.ok, side, side), to_pitch_yaw(-pose.rotation[:, :, 2]), pose.ok)


def _warp_all(crops: np.ndarray, homography: np.ndarray, ok: np.ndarray, width: int, height: int) -> np.ndarray:
    """(N, height, width, 3) crops through their homographies; resized as a whole where not `ok`."""
    import cv2

    images = np.empty((len(crops), height, width, 3), dtype=np.uint8)
    for row, crop in enumerate(crops):
        if ok[row]:
            images[row] = warp(crop, homography[row], width, height)
        else:
            images[row] = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA)
    return images
