"""The real faces that a generator is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.gaze.backends import fid_backend
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
    backend: str

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


def scopes_of(reals: pd.DataFrame, datasets: np.ndarray, settings: Settings) -> dict[str, Scope]:
    """The real faces to compare with, by dataset of the forged faces."""

    def scope(name: str, rows: pd.DataFrame) -> Scope:
        distance = fid_backend(settings.backend)
        facts: dict[str, Any] = {"seed": settings.seed, "resamples": settings.resamples, "distance": distance}
        return Scope(name, rows, RealSide(name, side_of(rows), **facts))

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
