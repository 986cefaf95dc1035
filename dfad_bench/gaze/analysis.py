"""Gaze of real compared with forged faces, by generator: FID (GazeCLIP Fig. 1) and paired cosine (Fig. 7).

All distances are between Gaussians fitted to (pitch, yaw) in radians; square radians times `DEG2_PER_RAD2` are square
degrees. Distances of different estimators are not comparable.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.core.errors import ManifestError, quoted
from dfad_bench.core.labels import FAKE, REAL, ForgeryType
from dfad_bench.data.manifest import OK
from dfad_bench.gaze.backends import CLOSED_FORM, fid_backend
from dfad_bench.gaze.claims import ClaimTest, check_claims, gaze_is_eyes
from dfad_bench.gaze.estimators.base import GazeFlag
from dfad_bench.gaze.families import Drawn, GroupGaze, group_generators
from dfad_bench.gaze.fid import study_fid
from dfad_bench.gaze.notes import notes
from dfad_bench.gaze.pairs import NO_PAIRS, NO_TARGET, PairStudy, study_pairs
from dfad_bench.gaze.rows import GeneratorGaze
from dfad_bench.gaze.scopes import (
    Scope,
    Settings,
    angles_of,
    choose_rows,
    equal_count,
    ids_hash,
    scopes_of,
    side_of,
)

if TYPE_CHECKING:
    import pandas as pd

DEG2_PER_RAD2 = float(np.degrees(1.0) ** 2)
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
class GazeReport:
    """Rows by dataset, forgery and generator, then the control; `points` are the compared (pitch, yaw), radians."""

    rows: tuple[GeneratorGaze, ...]
    control: PairStudy
    notes: tuple[str, ...]
    points: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]  # (dataset, generator): real, forged
    groups: tuple[GroupGaze, ...] = ()
    claims: tuple[ClaimTest, ...] = ()

    def flat(self) -> list[dict[str, Any]]:
        """One flat dict of plain values per row: for tables, CSV and JSON."""
        return list(self._flat_rows())

    def _flat_rows(self) -> Iterator[dict[str, Any]]:
        for row in self.rows:
            facts = {key: value for key, value in vars(row).items() if key not in ("fid", "pairs")}
            yield {**facts, **vars(row.fid), **row.pairs.flat(), "gaze_is_eyes": gaze_is_eyes(row)}
        yield {"dataset": "", "generator": CONTROL, "forgery": "control", **self.control.flat()}


def analyse(
    frame: pd.DataFrame,
    *,
    samples: int = 10_000,
    seed: int = 0,
    resamples: int = 1000,
    equal_n: bool = True,
    backend: str = CLOSED_FORM,
) -> GazeReport:
    """Compare the gaze of each generator's faces with real faces.

    Every generator is compared on the same number of real and forged faces: the smallest of `samples`, of the real
    faces and of the generators that have at least `families.ENOUGH_FACES`; faces are chosen by a seeded hash of
    their id.
    A generator is compared with the real faces of its own dataset where there are any, else with all. One without a
    gaze, or with a single face, is a row whose verdict says so.

    Args:
        frame: a row per face with `COLUMNS` (`flags`, `source_key`, and `status` with refused faces, are used where
            given); rows that are neither real nor forged (detection_label -1) are left out. Without a `source_key`
            a face counts as independent of all others.
        samples: most faces on each side, and most pairs.
        seed: seed of every choice and every resample.
        resamples: number of resamples of the sources.
        equal_n: the same number of faces for all generators; else as many as each has, so that floors differ.
        backend: a name of `backends.FID_BACKENDS`.

    Raises:
        ManifestError: a column is missing, or there are no real or no forged faces with a gaze.
        UnknownNameError: no such backend.
    """
    settings = Settings(samples, seed, resamples, fid_backend(backend))
    frame, usable = _usable_rows(frame)
    reals = frame[usable & (frame["detection_label"] == REAL)]
    fakes = frame[usable & (frame["detection_label"] == FAKE)]
    for what, faces in (("real", reals), ("forged", fakes)):
        if faces.empty:
            raise ManifestError(f"no {what} face with a gaze in these manifests; add one that has some (--manifest)")
    scopes = scopes_of(reals, frame.loc[frame["detection_label"] == FAKE, "dataset"].unique(), settings)
    groups = _groups(frame)
    counts = {key: int(_has_gaze(rows).sum()) for key, rows in groups.items()}
    n = equal_count([len(scopes[key[0]].rows) for key in groups], list(counts.values()), samples)
    rows: list[GeneratorGaze] = []
    points: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]] = {}
    drawn: dict[tuple[str, str], Drawn] = {}
    for key, every in groups.items():
        scope = scopes[key[0]]
        side = min(n if equal_n else min(samples, len(scope.rows)), counts[key])
        row, points[key], drawn[key] = _study_generator(every, side, scope, reals, settings)
        rows.append(row)
    order = [kind.value for kind in ForgeryType]
    rows.sort(key=lambda row: (row.dataset, order.index(row.forgery), row.generator))
    control = study_pairs(fakes, reals, shuffled=True, **settings.of_pairs)
    sentences = tuple(notes(rows, frame, usable, n=n if equal_n else None, samples=samples, seed=seed))
    return GazeReport(
        tuple(rows), control, sentences, points, group_generators(rows, drawn), check_claims(rows, seed=seed)
    )


def _usable_rows(frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    if missing := [column for column in COLUMNS if column not in frame.columns]:
        raise ManifestError(f"gaze rows lack the columns {quoted(missing)}")
    if frame["sample_id"].duplicated().any():
        raise ManifestError("a face is in two of the manifests; name each dataset once")
    frame = frame.sort_values("sample_id", kind="stable")
    return frame, _has_gaze(frame)


def _has_gaze(rows: pd.DataFrame) -> np.ndarray:
    return np.isfinite(angles_of(rows)).all(axis=1)


def _groups(frame: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """All forged faces, with or without a gaze, by dataset and generator."""
    forged = frame[frame["detection_label"] == FAKE]
    found = forged.groupby(["dataset", "generator"], observed=True)
    return {(str(key[0]), str(key[1])): rows for key, rows in found}  # type: ignore[index]


def _study_generator(
    every: pd.DataFrame, side: int, scope: Scope, reals: pd.DataFrame, settings: Settings
) -> tuple[GeneratorGaze, tuple[np.ndarray, np.ndarray], Drawn]:
    """One generator's row from all of its faces, the compared gaze (real, forged), and its resampled distances."""
    seed = settings.seed
    seen = every[_has_gaze(every)]
    real, fake = scope.choose(side, seed), choose_rows(seen, side, seed)
    sides = (side_of(real), side_of(fake))
    first = every.iloc[0]
    floor = scope.side.floor(sides[0].shape, sides[1].shape) if side >= 2 else None
    drawn = scope.side.distances(*sides) if side >= 2 else np.zeros(0)
    fid = study_fid(*sides, floor, drawn, distance=settings.distance)
    refused = int((every["status"] != OK).sum()) if "status" in every else 0
    flags = fake["flags"].to_numpy(dtype=float).astype(int) if "flags" in fake else None
    row = GeneratorGaze(
        dataset=str(first["dataset"]),
        generator=str(first["generator"]),
        forgery=str(first["forgery"]),
        family=str(first["family"]),
        reals=scope.name,
        found=len(seen),
        dropped=len(every) - len(seen) - refused,
        low_confidence=float((fake["confidence"] < _LOW_CONFIDENCE).mean()) if side else None,
        head_only=float((flags & GazeFlag.HEAD_ONLY.value != 0).mean()) if flags is not None and side else None,
        fid=fid,
        pairs=study_pairs(seen, reals, **settings.of_pairs) if len(seen) else PairStudy(0, verdict=_no_pairs(first)),
        refused=refused,
        faces_sha256=ids_hash(real, fake),
    )
    points = (sides[0].vectors, sides[1].vectors)
    return replace(row, fid_verdict=_verdict(row)), points, Drawn(drawn, frozenset(sides[1].sources.tolist()))


def _verdict(row: GeneratorGaze) -> str:
    if row.fid.fid_rad2 is not None:
        return ""
    if row.found:
        return f"only {row.fid.n} real face" if row.fid.n < row.found else "only 1 face"
    return "all faces refused" if row.refused and not row.dropped else "no face with a gaze"


def _no_pairs(face: pd.Series) -> str:
    return NO_TARGET if face["forgery"] == ForgeryType.EFS.value else NO_PAIRS
