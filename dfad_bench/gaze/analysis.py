"""Gaze of real against forged faces, generator by generator: FID (GazeCLIP Fig. 1) and paired cosine (Fig. 7).

All distances are of Gaussians fitted to (pitch, yaw) in radians; square radians become square degrees times
`DEG2_PER_RAD2`. Distances of different estimators are not comparable.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.core.errors import ManifestError
from dfad_bench.core.labels import FAKE, REAL, ForgeryType
from dfad_bench.gaze.estimators.base import GazeFlag
from dfad_bench.gaze.fid import FidStudy, Floors, study_fid
from dfad_bench.gaze.pairs import PairStudy, study_pairs
from dfad_bench.gaze.resample import choose

if TYPE_CHECKING:
    import pandas as pd

DEG2_PER_RAD2 = float(np.degrees(1.0) ** 2)
ENOUGH_FACES = 50  # fewer do not decide how many faces the others are compared on
CONTROL = "random pairs"
_LOW_CONFIDENCE = 0.5
COLUMNS = (
    "sample_id",
    "dataset",
    "generator",
    "forgery",
    "family",
    "detection_label",
    "target_id",
    "pitch_rad",
    "yaw_rad",
    "confidence",
)


@dataclass(frozen=True)
class GeneratorGaze:
    """All that is known of one generator of one dataset, or of the control."""

    dataset: str
    generator: str
    forgery: str
    family: str
    reals: str  # whose real faces it is compared with: a dataset, or "all"
    found: int  # forged faces with a gaze
    dropped: int  # forged faces without
    low_confidence: float  # share of the compared forged faces with a confidence below one half
    head_only: float | None  # share whose gaze is the head's alone; None where flags are not given
    fid: FidStudy
    pairs: PairStudy


@dataclass(frozen=True)
class GazeReport:
    """Rows by dataset, forgery and generator, then the control; `points` are the compared (pitch, yaw), radians."""

    rows: tuple[GeneratorGaze, ...]
    control: PairStudy
    notes: tuple[str, ...]
    points: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]  # (dataset, generator): real, forged

    def flat(self) -> list[dict[str, Any]]:
        """A flat dict a row, plain numbers: for tables, CSV and JSON."""
        return list(self._flat())

    def _flat(self) -> Iterator[dict[str, Any]]:
        for row in self.rows:
            facts = {key: value for key, value in vars(row).items() if key not in ("fid", "pairs")}
            yield {**facts, **vars(row.fid), **row.pairs.flat()}
        yield {"dataset": "", "generator": CONTROL, "forgery": "control", **self.control.flat()}


def analyse(frame: pd.DataFrame, *, samples: int = 10_000, seed: int = 0, resamples: int = 1000) -> GazeReport:
    """Compare the gaze of each generator's faces with real faces.

    Every generator is compared on the same number of faces a side: the smallest of `samples`, of the real faces
    and of the generators that have at least `ENOUGH_FACES`; faces are chosen by a seeded hash of their id.
    A generator meets the real faces of its own dataset where there are any, else all.

    Args:
        frame: a row a face with `COLUMNS` (a `flags` column is used where given); rows that are neither real nor
            forged (detection_label -1) are left out.
        samples: at most so many faces a side, and so many pairs.
        seed: of every choice and every resample.
        resamples: of the bootstrap intervals.

    Raises:
        ManifestError: a column is missing, or there are no real or no forged faces with a gaze.
    """
    frame, usable = _usable(frame)
    reals = frame[usable & (frame["detection_label"] == REAL)]
    fakes = frame[usable & (frame["detection_label"] == FAKE)]
    for what, faces in (("real", reals), ("forged", fakes)):
        if faces.empty:
            raise ManifestError(f"no {what} face with a gaze in these manifests; add one that has some (--manifest)")
    scopes = _scopes(reals, fakes)
    groups: list[tuple[tuple[str, str], pd.DataFrame]] = [
        ((str(key[0]), str(key[1])), of_group)  # type: ignore[index]
        for key, of_group in fakes.groupby(["dataset", "generator"], observed=True)
    ]
    n = _equal_n([len(scopes[key[0]][1]) for key, _ in groups], [len(of_group) for _, of_group in groups], samples)
    floors = Floors(seed)
    lost = frame[~usable].groupby(["dataset", "generator"], observed=True).size()
    limits: dict[str, Any] = {"samples": samples, "seed": seed, "resamples": resamples}
    rows: list[GeneratorGaze] = []
    points: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]] = {}
    for (dataset, generator), of_group in groups:
        name, real_rows = scopes[dataset]
        side = min(n, len(of_group))
        fake = _pick(of_group, side, seed)
        real_angles, fake_angles = _angles(_pick(real_rows, side, seed)), _angles(fake)
        random = np.random.default_rng([seed, 1, *f"{dataset}/{generator}".encode()])
        fid = study_fid(real_angles, fake_angles, floors(name, _angles(real_rows), side), resamples, random)
        dropped = int(lost.get((dataset, generator), 0))
        rows.append(_row(of_group, fake, name, dropped, fid, study_pairs(of_group, reals, **limits)))
        points[dataset, generator] = (real_angles, fake_angles)
    order = [kind.value for kind in ForgeryType]
    rows.sort(key=lambda row: (row.dataset, order.index(row.forgery), row.generator))
    control = study_pairs(fakes, reals, shuffled=True, **limits)
    notes = [*_notes_on_choice(rows, n, samples, seed), *_notes_on_losses(frame, usable, rows)]
    return GazeReport(tuple(rows), control, tuple(notes), points)


def _usable(frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    if missing := [column for column in COLUMNS if column not in frame.columns]:
        raise ManifestError(f"gaze rows lack the columns {missing}")
    if frame["sample_id"].duplicated().any():
        raise ManifestError("a face is in two of the manifests; name each dataset once")
    frame = frame.sort_values("sample_id", kind="stable")
    return frame, np.isfinite(frame[["pitch_rad", "yaw_rad"]].to_numpy(dtype=float)).all(axis=1)


def _row(
    group: pd.DataFrame, compared: pd.DataFrame, reals: str, dropped: int, fid: FidStudy, pairs: PairStudy
) -> GeneratorGaze:
    first = group.iloc[0]
    return GeneratorGaze(
        dataset=str(first["dataset"]),
        generator=str(first["generator"]),
        forgery=str(first["forgery"]),
        family=str(first["family"]),
        reals=reals,
        found=len(group),
        dropped=dropped,
        low_confidence=float((compared["confidence"] < _LOW_CONFIDENCE).mean()),
        head_only=float((compared["flags"] & GazeFlag.HEAD_ONLY.value != 0).mean()) if "flags" in compared else None,
        fid=fid,
        pairs=pairs,
    )


def _scopes(reals: pd.DataFrame, fakes: pd.DataFrame) -> dict[str, tuple[str, pd.DataFrame]]:
    """By dataset of the forged faces: the real faces to compare with, and their name."""
    found = {}
    for dataset in fakes["dataset"].unique():
        own = reals[reals["dataset"] == dataset]
        enough = len(own) >= min(ENOUGH_FACES, len(reals))
        found[dataset] = (str(dataset), own) if enough else ("all", reals)
    return found


def _equal_n(reals: list[int], fakes: list[int], samples: int) -> int:
    large = [count for count in fakes if count >= ENOUGH_FACES]
    return min(samples, *reals, min(large) if large else max(fakes))


def _pick(rows: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    return rows.iloc[choose(rows["sample_id"].tolist(), count, seed)]


def _angles(rows: pd.DataFrame) -> np.ndarray:
    return rows[["pitch_rad", "yaw_rad"]].to_numpy(dtype=np.float64)


def _notes_on_choice(rows: list[GeneratorGaze], n: int, samples: int, seed: int) -> Iterator[str]:
    yield f"Distances on {n:,} real and {n:,} forged faces a generator (at most {samples:,}, by hash, seed {seed})."
    if few := [f"{row.dataset}/{row.generator} ({row.fid.n})" for row in rows if row.fid.n < n]:
        yield f"Fewer faces, so a higher floor of their own: {', '.join(few)}."
    if n < ENOUGH_FACES:
        yield f"Fewer than {ENOUGH_FACES} faces a side: read distances only against their floor."
    if own := sorted({row.dataset for row in rows if row.reals != "all"}):
        yield f"Compared with the real faces of the same dataset: {', '.join(own)}."
    if pooled := sorted({row.dataset for row in rows if row.reals == "all"}):
        yield f"Compared with all real faces, having none or too few of their own: {', '.join(pooled)}."
    yield (
        "Floor: mean distance of two disjoint draws of real faces of the same size. The interval (95 %, bootstrap,"
        " faces taken as independent) is of the distance less its sampling bias."
    )


def _notes_on_losses(frame: pd.DataFrame, usable: np.ndarray, rows: list[GeneratorGaze]) -> Iterator[str]:
    if dropped := int((~usable & (frame["detection_label"] >= 0)).sum()):
        yield f"{dropped:,} faces without a gaze (no head pose) are left out."
    if unlabelled := int((frame["detection_label"] < 0).sum()):
        yield f"{unlabelled:,} faces that nobody vouches for are left out."
    if missing := sum(row.pairs.missing for row in rows):
        yield f"{missing:,} pairs are left out: their real target is not in these manifests or has no gaze."
