"""Pairs of a real target face and its forged face: how well the gaze was preserved (GazeCLIP Fig. 7).

The paper's cosine takes the two angles as a vector, (pitch, yaw): for gaze near the camera it is very sensitive to
noise, and it ignores magnitude. The cosine of the 3-D directions and the angle between them are given as well.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.core.labels import ForgeryType
from dfad_bench.gaze.resample import choose, mean_interval, pair_sources
from dfad_bench.gaze.sources import LEAST_PAIR_SOURCES, sources_of
from dfad_bench.gaze.vectors import angular_error_rad, to_unit
from dfad_bench.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd

NO_TARGET = "no target"  # an entirely synthesised face has none
NO_PAIRS = "no pairs"  # a target exists, but it is not known or not in the manifests


@dataclass(frozen=True)
class Mean:
    """A mean and its 95 % interval over sources, None with fewer than `sources.LEAST_PAIR_SOURCES` says."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PairStudy:
    """The pairs of one generator, angles in radians. `verdict` says why there are no values, "" where there are."""

    n: int
    verdict: str = ""
    missing: int = 0  # pairs whose real face is not in the manifests
    zero_norm: int = 0  # pairs with a gaze straight into the camera: no 2-D direction
    cosine_2d: Mean | None = None
    cosine_3d: Mean | None = None
    angle_rad: Mean | None = None
    median_angle_rad: float | None = None
    sources: int = 0  # of the forged faces or of their targets, whichever are fewer
    sources_effective: int = 0  # of equal size
    pairs_sha256: str = ""  # of the lines "forged id, space, real id", sorted

    def flat(self) -> dict[str, Any]:
        """Plain numbers by name."""
        facts: dict[str, Any] = {
            "pairs": self.n,
            "pair_verdict": self.verdict,
            "pairs_missing": self.missing,
            "pairs_zero_norm": self.zero_norm,
            "pair_sources": self.sources,
            "pair_sources_effective": self.sources_effective,
            "median_angle_rad": self.median_angle_rad,
            "pairs_sha256": self.pairs_sha256,
        }
        for name in ("cosine_2d", "cosine_3d", "angle_rad"):
            mean = getattr(self, name)
            facts[name] = mean.value if mean else None
            facts[f"{name}_low"] = mean.low if mean else None
            facts[f"{name}_high"] = mean.high if mean else None
        return facts


def study_pairs(
    fakes: pd.DataFrame, reals: pd.DataFrame, *, samples: int, seed: int, shuffled: bool = False
) -> PairStudy:
    """Gaze of forged faces compared with that of their real targets.

    Args:
        fakes: columns sample_id, forgery, target_id, pitch_rad, yaw_rad, and source_key with dataset where known.
        reals: columns sample_id, pitch_rad, yaw_rad, and source_key; the faces among which targets are found.
        samples: most pairs, chosen by a seeded hash of the forged face's id.
        seed: seed of the choices.
        shuffled: pair each forged face with the target of another one: the control.
    """
    import pandas as pd

    named = fakes[fakes["target_id"].notna()]
    if named.empty:
        whole = (fakes["forgery"] == ForgeryType.EFS.value).all()
        return PairStudy(0, verdict=NO_TARGET if whole and not shuffled else NO_PAIRS)
    here = named[named["target_id"].isin(reals["sample_id"])]
    missing = 0 if shuffled else len(named) - len(here)
    here = here.iloc[choose(here["sample_id"].tolist(), samples, seed)]
    targets, names, sources = here["target_id"].to_numpy(), here["sample_id"].to_numpy(), sources_of(here)
    forged = here[["pitch_rad", "yaw_rad"]].to_numpy(dtype=np.float64)
    if shuffled:
        order = np.random.default_rng([seed, 3]).permutation(len(here))
        others = targets[np.roll(order, 1)][np.argsort(order)] if len(here) else targets
        kept = others != targets
        forged, targets, names, sources = forged[kept], others[kept], names[kept], sources[kept]
    if not len(targets):
        return PairStudy(0, verdict=NO_PAIRS, missing=missing)
    found = reals.iloc[pd.Index(reals["sample_id"]).get_indexer(targets)]
    real = found[["pitch_rad", "yaw_rad"]].to_numpy(dtype=np.float64)
    study = _measure_pairs(real, forged, sources, sources_of(found), missing)
    lines = sorted(f"{name} {target}" for name, target in zip(names, targets, strict=True))
    return replace(study, pairs_sha256=hashlib.sha256("\n".join(lines).encode()).hexdigest())


def _measure_pairs(
    real: np.ndarray, forged: np.ndarray, forged_sources: np.ndarray, real_sources: np.ndarray, missing: int
) -> PairStudy:
    def mean(name: str, values: np.ndarray, bounds: tuple[float, float]) -> Mean | None:
        known = np.isfinite(values)
        if not known.any():
            return None
        sides = forged_sources[known], real_sources[known]
        low, high = mean_interval(values[known], *sides, LEAST_PAIR_SOURCES[name], bounds) or (None, None)
        return Mean(float(values[known].mean()), low, high)

    def mean_cosine(name: str, of_real: np.ndarray, of_forged: np.ndarray) -> Mean | None:
        found = mean(name, cosine.compute_per_face(a=of_real, b=of_forged), (-1.0, 1.0))
        value = cosine.compute(a=of_real, b=of_forged)
        return found if found is None or value is None else replace(found, value=value)

    cosine = METRICS["paired_cosine"]
    angle = angular_error_rad(real, forged)
    return PairStudy(
        n=len(real),
        missing=missing,
        zero_norm=int(np.isnan(cosine.compute_per_face(a=real, b=forged)).sum()),
        cosine_2d=mean_cosine("cosine_2d", real, forged),
        cosine_3d=mean_cosine("cosine_3d", to_unit(real), to_unit(forged)),
        angle_rad=mean("angle_rad", angle, (0.0, np.pi)),
        median_angle_rad=float(np.median(angle)),
        sources=min(len(np.unique(forged_sources)), len(np.unique(real_sources))),
        sources_effective=pair_sources(forged_sources, real_sources),
    )
