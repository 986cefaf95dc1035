"""Whether two crops show the same shot: similarity of the surroundings of the face and of its five landmarks.

A swap replaces the face and keeps its surroundings, so the real frame a forged one was made from is found by the
pixels outside both face boxes. Two crops of a frame need not show the same square; they are aligned by source pixels,
by the five landmarks, and edge to edge, and the best fit counts.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np

from dfad_bench.ingest.crop.affine import IDENTITY, Affine, apply_affine, box_affine, compose_affines, fit_similarity

SIDE = 48  # crops are compared at this size
_FACE = 1.1  # side of the area that counts as face, over the side of the detected box
_MARGIN = 1.3  # side of a crop over the side of its box, where no box is known
_LEAST_EXTENT = 1e-9  # a crop box without extent counts as this wide, source pixels
_FEWEST = 150  # pixels around the face, of SIDE * SIDE, that a comparison needs
_POINTS = 0.25  # weight of the landmarks relative to the surroundings
_CLOSE = 0.1  # distance of landmarks, in sides of the box, at which their agreement is 1 / e


@dataclass(frozen=True)
class Shot:
    """A reduced crop, with its geometry in source pixels; `crop_box` is None where the crop is rotated."""

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
    """Correlation of the colours around the face plus a bonus for landmarks that agree: about -1 to 1.25.

    NaN where no alignment leaves enough pixels around the face.
    """
    best = np.nan
    for transform in _transforms(forged, real):
        surroundings = _correlation(forged, real, transform)
        if np.isfinite(surroundings):
            best = np.nanmax([best, surroundings + _POINTS * _agreement(forged, real, transform)])
    return float(best)


def _transforms(forged: Shot, real: Shot) -> list[Affine]:
    """Candidate alignments: maps from fractions of the forged crop's side to fractions of the real one's."""
    found = [IDENTITY]
    if forged.crop_box is None or real.crop_box is None:
        return found
    into, back = _to_source(forged.crop_box), _from_source(real.crop_box)
    found.append(compose_affines(back, into))
    if forged.points is not None and real.points is not None:
        with contextlib.suppress(ValueError):  # points that are all the same fit nothing
            found.append(compose_affines(back, compose_affines(fit_similarity(forged.points, real.points), into)))
    return found


def _correlation(forged: Shot, real: Shot, transform: Affine) -> float:
    """Correlation of the colours outside both faces, each crop's mean colour subtracted."""
    shares = (np.arange(SIDE) + 0.5) / SIDE
    grid = np.stack(np.meshgrid(shares, shares), axis=-1).reshape(-1, 2)
    there = apply_affine(transform, grid)
    seen = ((there >= 0) & (there < 1)).all(1) & ~_inside_face(forged, grid) & ~_inside_face(real, there)
    if seen.sum() < _FEWEST:
        return np.nan
    column, row = (there[seen] * SIDE).astype(int).T
    one = forged.pixels.reshape(-1, 3)[seen].astype(np.float64)
    other = real.pixels[row, column].astype(np.float64)
    one, other = one - one.mean(0), other - other.mean(0)
    norm = np.sqrt((one**2).sum() * (other**2).sum())
    return float((one * other).sum() / norm) if norm > 0 else 0.0


def _agreement(forged: Shot, real: Shot, transform: Affine) -> float:
    if forged.points is None or real.points is None or forged.crop_box is None or real.crop_box is None:
        return 0.0
    here = apply_affine(_from_source(forged.crop_box), forged.points)
    there = apply_affine(_from_source(real.crop_box), real.points)
    distance = np.linalg.norm(apply_affine(transform, here) - there, axis=1).mean() * _MARGIN
    return float(np.exp(-distance / _CLOSE))


def _inside_face(shot: Shot, shares: np.ndarray) -> np.ndarray:
    """Whether points, in fractions of the crop's side, lie in the face."""
    if shot.box is None or shot.crop_box is None:
        return np.asarray((np.abs(shares - 0.5) < _FACE / _MARGIN / 2).all(1))
    corners = apply_affine(_from_source(shot.crop_box), shot.box.reshape(2, 2))
    middle, half = corners.mean(0), (corners[1] - corners[0]) / 2 * _FACE
    inside: np.ndarray = (np.abs(shares - middle) < half).all(1)
    return inside


def _to_source(crop_box: np.ndarray) -> Affine:
    """The map from fractions of a crop's side to pixels of its source."""
    x0, y0, x1, y1 = crop_box.tolist()
    return x1 - x0, 0.0, x0, 0.0, y1 - y0, y0


def _from_source(crop_box: np.ndarray) -> Affine:
    """The map from pixels of the source to fractions of a crop's side."""
    x0, y0, x1, y1 = crop_box.tolist()
    return box_affine((x0, y0, max(x1, x0 + _LEAST_EXTENT), max(y1, y0 + _LEAST_EXTENT)), 1)


def _array(value: object, size: int) -> np.ndarray | None:
    if value is None or not np.iterable(value):
        return None
    array = np.asarray(value, dtype=np.float64).ravel()
    return array if array.size == size and np.isfinite(array).all() else None
