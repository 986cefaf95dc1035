"""The mirror check: yaw must change its sign for a mirrored face, pitch must not. Finds swapped outputs without labels.

Published gaze networks disagree about which of two outputs is the pitch, and some papers' own code names them wrongly.
A few drawn faces and their mirror images decide it. The check cannot find outputs with the wrong sign or unit, which
behave the same in the mirror. The faces are always the same drawn ones, so that the verdict on a weight file does not
depend on the data; a network that does not recognise drawn faces may fail although its order is right, which is why
an order named by the user is never overruled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

MARGIN = 1 / 3  # the yaw's odd share must exceed the pitch's by this much, else the outputs are not pitch and yaw
ODD_SHARE = 2 / 3  # least share of the yaw's spread that is odd, and of the pitch's that is even, without a remark
LEAST_SPREAD_RAD = 1e-4  # an output that varies less over the faces does not depend on them
_POSES_DEG = ((-14, 8), (12, 9), (-13, 17), (15, 16), (-12, 24), (13, 23))  # head pitch and yaw
_EYES = 1.25  # angle of the gaze over the angle of the head
_MOUTH_MM = ((-26.5, 33.0, 35.0), (26.5, 33.0, 35.0))  # mouth corners of the drawn head


@dataclass(frozen=True)
class Symmetry:
    """For two outputs: the share of their spread that changes its sign in the mirror, and the spread in radians."""

    odd: tuple[float, float]
    spread_rad: tuple[float, float]

    def fits(self, order: str) -> bool:
        """Whether the outputs behave as `order` ("pitch_yaw" or "yaw_pitch") says."""
        pitch, yaw = self.odd if order == "pitch_yaw" else self.odd[::-1]
        return min(self.spread_rad) >= LEAST_SPREAD_RAD and yaw - pitch >= MARGIN

    @property
    def clear(self) -> bool:
        """Whether one output is mostly odd and the other mostly even."""
        return max(self.odd) >= ODD_SHARE and min(self.odd) <= 1 - ODD_SHARE

    def __str__(self) -> str:
        """The text for a remark or an error."""
        first, second = self.odd
        return f"odd in the mirror: {first:.0%} of the first output, {second:.0%} of the second"


def symmetry(plain: np.ndarray, mirrored: np.ndarray) -> Symmetry:
    """How (n, 2) outputs for faces and for their mirror images are related.

    The spread around the common mean is the sum of an odd part (which changes its sign) and an even one; perfect yaw
    is all odd, perfect pitch all even.

    >>> symmetry(np.array([[0.1, 0.3], [0.2, -0.1]]), np.array([[0.1, -0.3], [0.2, 0.1]])).odd
    (0.0, 1.0)
    """
    plain, mirrored = np.asarray(plain, dtype=np.float64), np.asarray(mirrored, dtype=np.float64)
    odd = ((plain - mirrored) / 2) ** 2
    even = ((plain + mirrored) / 2 - (plain + mirrored).mean(axis=0) / 2) ** 2
    total = odd.mean(axis=0) + even.mean(axis=0)
    share = odd.mean(axis=0) / np.where(total > 0, total, 1.0)
    spread = np.sqrt(total)
    return Symmetry((float(share[0]), float(share[1])), (float(spread[0]), float(spread[1])))


def check(outputs: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Symmetry:
    """Symmetry of a network: `outputs` gives its (N, 2) outputs of crops and landmarks, as `estimate` takes them."""
    crops, landmarks = drawn_faces()
    both = outputs(np.concatenate([crops, crops[:, :, ::-1]]), np.concatenate([landmarks, flip(landmarks, crops)]))
    return symmetry(both[: len(crops)], both[len(crops) :])


def flip(landmarks: np.ndarray, crops: np.ndarray) -> np.ndarray:
    """(N, 5, 2) landmarks of `crops` flipped left to right."""
    return landmarks[:, [1, 0, 2, 4, 3]] * [-1.0, 1.0] + [float(crops.shape[2]), 0.0]


@cache
def drawn_faces() -> tuple[np.ndarray, np.ndarray]:
    """Six drawn faces (6, 320, 320, 3) uint8 looking up and down to one side, and their landmarks (6, 5, 2)."""
    from dfad_bench.synthetic.geometry import EYE_MIDPOINT_MM, Pose
    from dfad_bench.synthetic.identity import draw_identity, draw_scene
    from dfad_bench.synthetic.portrait import render

    x, y, z = EYE_MIDPOINT_MM
    points = np.array([(-x, y, z), (x, y, z), (0.0, 0.0, 0.0), *_MOUTH_MM])
    crops, landmarks = [], []
    for index, (pitch, yaw) in enumerate(np.radians(_POSES_DEG).tolist()):
        scene = draw_scene(0, "studio", f"mirror/{index}")
        pose = Pose(pitch, yaw, _EYES * pitch, _EYES * yaw, scene.roll_rad)
        portrait = render(draw_identity(0, f"mirror{index}"), scene, pose)
        crops.append(portrait.image.round().astype(np.uint8))
        landmarks.append(portrait.project(points))
    return np.stack(crops), np.stack(landmarks)
