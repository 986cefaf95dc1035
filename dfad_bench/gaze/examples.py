"""Example faces for figures: typical ones, chosen by a fixed rule instead of by eye.

The rule: of a generator's faces (or pairs) with a gaze take the confident ones, of these the half nearest to the
median, of these the first by a seeded hash of the id. The order of rows does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dfad_bench.core.labels import FAKE, REAL
from dfad_bench.gaze.draw import draw_on_crop, draw_on_patch
from dfad_bench.gaze.estimators.base import GazeFlag
from dfad_bench.gaze.normalize import normalize
from dfad_bench.gaze.resample import choose
from dfad_bench.gaze.table import crop_landmarks
from dfad_bench.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd

    from dfad_bench.data.manifest import Manifest

CONFIDENT = 0.5
RULE = "chosen by a seeded hash among the half of the confident faces nearest to the median gaze"
PAIR_RULE = "chosen by a seeded hash among the half of the confident pairs nearest to the median cosine"
_ANGLES = ["pitch_rad", "yaw_rad"]
_POORER = GazeFlag.NO_POSE.value | GazeFlag.RESIZED.value


@dataclass(frozen=True)
class Face:
    """A crop and its landmarks."""

    crop: np.ndarray  # (H, W, 3) uint8 RGB
    landmarks: np.ndarray  # (5, 2) crop pixels, continuous coordinates; NaN where unknown


@dataclass(frozen=True)
class Pair:
    """A forged face and its real target, by id."""

    forged: str
    target: str
    confident: bool


def choose_face(rows: pd.DataFrame, seed: int) -> tuple[str, bool] | None:
    """The sample_id of a typical face, and whether it is a confident one; None where no row has a gaze.

    Args:
        rows: faces of one generator: sample_id, pitch_rad, yaw_rad, confidence, and flags where known.
        seed: seed of the hash.
    """
    rows = rows[np.isfinite(rows[_ANGLES].to_numpy(dtype=np.float64)).all(axis=1)]
    if rows.empty:
        return None
    is_confident = _confident_rows(rows)
    pool = rows[is_confident] if is_confident.any() else rows
    angles = pool[_ANGLES].to_numpy(dtype=np.float64)
    chosen = typical_face(pool["sample_id"].tolist(), np.linalg.norm(angles - np.median(angles, axis=0), axis=1), seed)
    return chosen, bool(is_confident.any())


def choose_pairs(frames: Sequence[pd.DataFrame], seed: int) -> dict[tuple[str, str], Pair]:
    """By (dataset, generator): one typical pair, the same for all estimators; none for generators without pairs.

    A pair counts where both faces have a gaze by every estimator; "nearest to the median" is by the 2-D cosine, its
    distances summed over the estimators.

    Args:
        frames: one per estimator, all of the same faces: the columns of `gaze.analysis.COLUMNS`, and flags.
        seed: seed of the hash.
    """
    first = frames[0]
    fakes = first[(first["detection_label"] == FAKE) & first["target_id"].notna()]
    real = first.loc[first["detection_label"] == REAL, "sample_id"]
    fakes = fakes[fakes["target_id"].isin(real)]
    values, is_confident = _pair_values([frame.set_index("sample_id") for frame in frames], fakes)
    whole = np.isfinite(values).all(axis=0)
    found = {}
    for key, index in fakes.groupby(["dataset", "generator"], observed=True, sort=True).indices.items():
        at = index[whole[index]]
        if not len(at):
            continue
        confident = bool(is_confident[at].any())
        at = at[is_confident[at]] if confident else at
        off = np.abs(values[:, at] - np.median(values[:, at], axis=1, keepdims=True)).sum(axis=0)
        pool = fakes.iloc[at]
        forged = typical_face(pool["sample_id"].tolist(), off, seed)
        target = str(pool.loc[pool["sample_id"] == forged, "target_id"].iloc[0])
        found[str(key[0]), str(key[1])] = Pair(forged, target, confident)  # type: ignore[index]
    return found


def load_faces(manifests: Sequence[Manifest], sample_ids: Iterable[str]) -> dict[str, Face]:
    """Crops and landmarks by sample_id, in one pass over each manifest; unknown ids are left out."""
    wanted = set(sample_ids)
    faces: dict[str, Face] = {}
    for manifest in manifests:
        rows = manifest.frame(["sample_id", "landmarks", "crop_affine"])
        rows = rows[rows["sample_id"].isin(wanted - faces.keys())]
        if rows.empty:
            continue
        landmarks = dict(zip(rows["sample_id"], crop_landmarks(rows)[0], strict=True))
        for crop in manifest.crops(set(landmarks)):
            faces[crop.sample_id] = Face(crop.pixels(), landmarks[crop.sample_id])
    return faces


def gaze_of(frame: pd.DataFrame, sample_ids: Iterable[str]) -> dict[str, dict[str, float]]:
    """pitch_rad, yaw_rad and flags of the given faces of `frame`, by sample_id."""
    rows = frame[frame["sample_id"].isin(set(sample_ids))].set_index("sample_id")
    columns = [*_ANGLES, "flags"] if "flags" in rows else _ANGLES
    values = rows[columns].fillna({"flags": 0}).to_numpy(dtype=np.float64)
    return {str(name): dict(zip(columns, gaze, strict=True)) for name, gaze in zip(rows.index, values, strict=True)}


def sees_patch(estimator: str) -> bool:
    """Whether an estimator's angles are in the camera of the normalised patch, not in that of the crop.

    Estimators of raw faces say so by a class attribute `normalised = False`.
    """
    from dfad_bench.core.registry import resolve
    from dfad_bench.gaze.estimators.build import estimator_table

    table = estimator_table()
    return estimator not in table or bool(getattr(resolve("estimator", estimator, table), "normalised", True))


def with_arrow(face: Face, gaze: Mapping[str, float], *, normalised: bool = True) -> np.ndarray:
    """The crop with its gaze (a value of `gaze_of`) drawn on it. `normalised`: see `sees_patch`."""
    resized = bool(int(gaze.get("flags", 0)) & GazeFlag.RESIZED.value)
    angles = [gaze[name] for name in _ANGLES]
    return draw_on_crop(face.crop, face.landmarks, angles, normalised=normalised and not resized)


def gaze_patch(face: Face, gaze: Mapping[str, float], *, arrow: bool = True) -> np.ndarray:
    """(224, 224, 3) the normalised patch, the input of estimators, with its gaze drawn on it where asked for."""
    patch: np.ndarray = normalize(face.crop[None], face.landmarks[None]).images[0]
    return draw_on_patch(patch, [gaze[name] for name in _ANGLES]) if arrow else patch


def typical_face(names: list[str], off: np.ndarray, seed: int) -> str:
    """One of the half of the faces that are least off, by a seeded hash.

    Args:
        names: sample ids.
        off: (n,) how far each is from what is usual.
        seed: of the hash.
    """
    near = [name for name, distance in zip(names, off, strict=True) if distance <= np.median(off)]
    return str(near[int(choose(near, 1, seed)[0])])


def _confident_rows(rows: pd.DataFrame) -> np.ndarray:
    is_confident = rows["confidence"].to_numpy(dtype=np.float64) >= CONFIDENT
    if "flags" in rows:
        is_confident &= rows["flags"].fillna(0).to_numpy(dtype=np.int64) & _POORER == 0
    return is_confident


def _pair_values(tables: Sequence[pd.DataFrame], fakes: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """2-D cosines (estimators, pairs), NaN where undefined, and (pairs,) whether all of them are confident."""
    cosines = []
    is_confident = np.ones(len(fakes), dtype=bool)
    for table in tables:
        sides = [table.reindex(fakes[column]) for column in ("sample_id", "target_id")]
        forged, real = (side[_ANGLES].to_numpy(dtype=np.float64) for side in sides)
        known = np.isfinite(forged).all(axis=1) & np.isfinite(real).all(axis=1)
        cosines.append(np.full(len(fakes), np.nan))
        cosines[-1][known] = METRICS["paired_cosine"].compute_per_face(a=real[known], b=forged[known])
        is_confident &= _confident_rows(sides[0]) & _confident_rows(sides[1])
    return np.array(cosines).reshape(len(tables), len(fakes)), is_confident
