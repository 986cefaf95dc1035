"""How much two crops show the same shot: what lies around the face, and where the five points are.

A swap replaces the face and keeps what surrounds it, so the real frame a forged one was made from is told by the
pixels outside both face boxes. Two crops of a frame need not show the same square; they are laid over each other by
source pixels, by the five points, and edge to edge, and the best fit counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIDE = 48  # crops are compared at this size
_FACE = 1.1  # the box that counts as face over the detected one
_MARGIN = 1.3  # side of a crop over its box where no box is known
_FEWEST = 150  # pixels around the face, of SIDE * SIDE
_POINTS = 0.25  # weight of the points against the surroundings
_CLOSE = 0.1  # distance of points, in sides of the box, at which they agree to 1 / e


@dataclass(frozen=True)
class Shot:
    """A crop made small, with its geometry in source pixels; `crop_box` None where it is turned against the source."""

    pixels: np.ndarray  # (SIDE, SIDE, 3) uint8
    crop_box: np.ndarray | None = None  # x0, y0, x1, y1
    box: np.ndarray | None = None
    points: np.ndarray | None = None  # (5, 2)

    @classmethod
    def of(cls, crop: np.ndarray, crop_box: object = None, box: object = None, landmarks: object = None) -> Shot:
        """From a (H, W, 3) uint8 crop and the values of its manifest row, each of which may be missing."""
        from PIL import Image

        small = np.asarray(Image.fromarray(crop).resize((SIDE, SIDE), Image.Resampling.BOX))
        points = _array(landmarks, 10)
        return cls(small, _array(crop_box, 4), _array(box, 4), None if points is None else points.reshape(5, 2))


def likeness(forged: Shot, real: Shot) -> float:
    """Between about -1 and 1.25; the correlation of the colours around the face, plus a share for agreeing points.

    Nan where no way to lay them over each other leaves enough pixels around the face.
    """
    best = np.nan
    for transform in _transforms(forged, real):
        surroundings = _correlation(forged, real, transform)
        if np.isfinite(surroundings):
            best = np.nanmax([best, surroundings + _POINTS * _agreement(forged, real, transform)])
    return float(best)


def _transforms(forged: Shot, real: Shot) -> list[np.ndarray]:
    """(2, 3) matrices from shares of the forged crop's side to those of the real one's."""
    found = [np.array([[1.0, 0, 0], [0, 1.0, 0]])]
    if forged.crop_box is None or real.crop_box is None:
        return found
    into, back = _to_source(forged.crop_box), _from_source(real.crop_box)
    found.append(_chain(back, into))
    if forged.points is not None and real.points is not None:
        found.append(_chain(back, _chain(_similarity(forged.points, real.points), into)))
    return found


def _correlation(forged: Shot, real: Shot, transform: np.ndarray) -> float:
    """Of the colours outside both faces; each crop's mean colour taken off."""
    shares = (np.arange(SIDE) + 0.5) / SIDE
    grid = np.stack(np.meshgrid(shares, shares), axis=-1).reshape(-1, 2)
    there = grid @ transform[:, :2].T + transform[:, 2]
    seen = ((there >= 0) & (there < 1)).all(1) & ~_inside(forged, grid) & ~_inside(real, there)
    if seen.sum() < _FEWEST:
        return np.nan
    column, row = (there[seen] * SIDE).astype(int).T
    one = forged.pixels.reshape(-1, 3)[seen].astype(np.float64)
    other = real.pixels[row, column].astype(np.float64)
    one, other = one - one.mean(0), other - other.mean(0)
    norm = np.sqrt((one**2).sum() * (other**2).sum())
    return float((one * other).sum() / norm) if norm > 0 else 0.0


def _agreement(forged: Shot, real: Shot, transform: np.ndarray) -> float:
    if forged.points is None or real.points is None or forged.crop_box is None or real.crop_box is None:
        return 0.0
    here = _apply(_from_source(forged.crop_box), forged.points)
    there = _apply(_from_source(real.crop_box), real.points)
    distance = np.linalg.norm(_apply(transform, here) - there, axis=1).mean() * _MARGIN
    return float(np.exp(-distance / _CLOSE))


def _inside(shot: Shot, shares: np.ndarray) -> np.ndarray:
    """Whether points, in shares of the crop's side, lie in the face."""
    if shot.box is None or shot.crop_box is None:
        return np.asarray((np.abs(shares - 0.5) < _FACE / _MARGIN / 2).all(1))
    corners = _apply(_from_source(shot.crop_box), shot.box.reshape(2, 2))
    middle, half = corners.mean(0), (corners[1] - corners[0]) / 2 * _FACE
    inside: np.ndarray = (np.abs(shares - middle) < half).all(1)
    return inside


def _similarity(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """Turn, scale and shift (2, 3) of least squares from `points` to `onto`."""
    a, b = points - points.mean(0), onto - onto.mean(0)
    norm = max(float((a**2).sum()), 1e-9)
    cosine, sine = (a * b).sum() / norm, (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / norm
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([turn, onto.mean(0) - turn @ points.mean(0)])


def _to_source(crop_box: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = crop_box
    return np.array([[x1 - x0, 0, x0], [0, y1 - y0, y0]])


def _from_source(crop_box: np.ndarray) -> np.ndarray:
    x0, y0, x1, y1 = crop_box
    width, height = max(x1 - x0, 1e-9), max(y1 - y0, 1e-9)
    return np.array([[1 / width, 0, -x0 / width], [0, 1 / height, -y0 / height]])


def _chain(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    return np.column_stack([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2] + second[:, 2]])


def _apply(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    moved: np.ndarray = points @ transform[:, :2].T + transform[:, 2]
    return moved


def _array(value: object, size: int) -> np.ndarray | None:
    if value is None or not np.iterable(value):
        return None
    array = np.asarray(value, dtype=np.float64).ravel()
    return array if array.size == size and np.isfinite(array).all() else None
