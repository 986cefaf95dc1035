"""The real faces that a generator is compared with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.gaze.backends import Distance
from dfad_bench.gaze.families import ENOUGH_FACES
from dfad_bench.gaze.fid import RealSide, Side
from dfad_bench.gaze.resample import choose
from dfad_bench.gaze.sources import sources_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Settings:
    """The settings of a study, see `analysis.analyse`."""

    samples: int
    seed: int
    resamples: int
    distance: Distance

    @property
    def of_pairs(self) -> dict[str, Any]:
        """The arguments of `study_pairs`."""
        return {"samples": self.samples, "seed": self.seed}


@dataclass(frozen=True)
class Scope:
    """The real faces that some generators are compared with, and their name: a dataset, or "all"."""

    name: str
    rows: pd.DataFrame
    side: RealSide = field(repr=False)
    _chosen: dict[tuple[int, int], pd.DataFrame] = field(default_factory=dict, repr=False)

    def choose(self, count: int, seed: int) -> pd.DataFrame:
        """`count` of the rows, chosen once by a hash of their id, the same for every generator."""
        if (count, seed) not in self._chosen:
            self._chosen[count, seed] = choose_rows(self.rows, count, seed)
        return self._chosen[count, seed]


def scopes_of(
    reals: pd.DataFrame,
    datasets: np.ndarray,
    settings: Settings,
    compared: Callable[[pd.DataFrame], Side] | None = None,
) -> dict[str, Scope]:
    """The real faces to compare with, by dataset of the forged faces.

    Args:
        reals: a row a real face.
        datasets: of the forged faces.
        settings: of the study.
        compared: what is compared of some rows; None: their gaze.
    """
    sides = compared or side_of

    def scope(name: str, rows: pd.DataFrame) -> Scope:
        facts: dict[str, Any] = {
            "seed": settings.seed, "resamples": settings.resamples, "distance": settings.distance
        }  # fmt: skip
        return Scope(name, rows, RealSide(name, sides(rows), **facts))

    every, found = scope("all", reals), {}
    for dataset in datasets:
        own = reals[reals["dataset"] == dataset]
        enough = len(own) >= min(ENOUGH_FACES, len(reals))
        found[dataset] = scope(str(dataset), own) if enough else every
    return found


def choose_rows(rows: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """`count` of the rows by a seeded hash of their sample_id."""
    return rows.iloc[choose(rows["sample_id"].tolist(), count, seed)]


def side_of(rows: pd.DataFrame) -> Side:
    """Gaze and sources of the rows."""
    return Side(angles_of(rows), sources_of(rows))


def angles_of(rows: pd.DataFrame) -> np.ndarray:
    """(n, 2) pitch and yaw in radians."""
    return rows[["pitch_rad", "yaw_rad"]].to_numpy(dtype=np.float64)


def equal_count(reals: list[int], fakes: list[int], samples: int) -> int:
    """The faces a side that all generators can be compared on; those with fewer than `ENOUGH_FACES` do not limit it."""
    large = [count for count in fakes if count >= ENOUGH_FACES]
    return min(samples, *reals, min(large) if large else max(fakes))


def ids_hash(*sides: pd.DataFrame) -> str:
    """Hash of the compared faces: sample ids of each side, sorted, an empty line between sides."""
    text = "\n\n".join("\n".join(sorted(side["sample_id"])) for side in sides)
    return hashlib.sha256(text.encode()).hexdigest()
