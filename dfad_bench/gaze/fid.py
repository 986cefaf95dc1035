"""FID of gaze: the Frechet distance of two Gaussians over (pitch, yaw), with its interval, parts and floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfad_bench.gaze.resample import bootstrap_gaussians, split_gaussians
from dfad_bench.metrics.frechet import covariance_part_2d, gaussian, gaussian_frechet_2d, mean_part

FLOOR_SPLITS = 200


@dataclass(frozen=True)
class FidStudy:
    """One generator's distance; everything in square radians, None where two faces a side are not there.

    `unbiased` is the distance less its sampling bias (estimated by bootstrap), `low` and `high` the 95 % interval
    of that; `floor` is what two disjoint draws of real faces of the same size give on average, `floor_high` what
    95 % of such draws stay below.
    """

    n: int  # faces a side
    fid_rad2: float | None = None
    unbiased_rad2: float | None = None
    low_rad2: float | None = None
    high_rad2: float | None = None
    floor_rad2: float | None = None
    floor_high_rad2: float | None = None
    mean_part_rad2: float | None = None
    covariance_part_rad2: float | None = None
    mean_real_rad: tuple[float, ...] | None = None
    mean_fake_rad: tuple[float, ...] | None = None
    cov_real_rad2: tuple[tuple[float, ...], ...] | None = None
    cov_fake_rad2: tuple[tuple[float, ...], ...] | None = None


def study_fid(
    real: np.ndarray, fake: np.ndarray, floor: tuple[float, float] | None, resamples: int, random: np.random.Generator
) -> FidStudy:
    """Distance of (n, 2) real from (n, 2) forged angles in radians; `floor` as `Floors` gives it."""
    n = len(fake)
    if n < 2:
        return FidStudy(n)
    (mean_real, cov_real), (mean_fake, cov_fake) = gaussian(real), gaussian(fake)
    fid = float(gaussian_frechet_2d(mean_real, cov_real, mean_fake, cov_fake))
    drawn = gaussian_frechet_2d(
        *bootstrap_gaussians(real, resamples, random), *bootstrap_gaussians(fake, resamples, random)
    )
    # A resample adds its own sampling bias to the one the estimate has: once off the estimate, twice off the interval.
    bias = float(drawn.mean()) - fid
    low, high = (np.quantile(drawn, [0.025, 0.975]) - 2 * bias).clip(min=0)
    return FidStudy(
        n=n,
        fid_rad2=fid,
        unbiased_rad2=max(fid - bias, 0.0),
        low_rad2=float(low),
        high_rad2=float(high),
        floor_rad2=floor[0] if floor else None,
        floor_high_rad2=floor[1] if floor else None,
        mean_part_rad2=float(mean_part(mean_real, mean_fake)),
        covariance_part_rad2=float(covariance_part_2d(cov_real, cov_fake)),
        mean_real_rad=tuple(mean_real.tolist()),
        mean_fake_rad=tuple(mean_fake.tolist()),
        cov_real_rad2=tuple(map(tuple, cov_real.tolist())),
        cov_fake_rad2=tuple(map(tuple, cov_fake.tolist())),
    )


class Floors:
    """Real against real at the same number of faces, computed once a scope and number.

    With fewer than twice as many real faces the two draws are halves, and their distance is scaled by half / n,
    because it falls as one over the number of faces.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._known: dict[tuple[str, int], tuple[float, float] | None] = {}

    def __call__(self, scope: str, reals: np.ndarray, n: int) -> tuple[float, float] | None:
        """Mean and 95 % quantile of the floor, square radians; None with fewer than four real faces."""
        if (scope, n) not in self._known:
            self._known[scope, n] = self._floor(scope, reals, n)
        return self._known[scope, n]

    def _floor(self, scope: str, reals: np.ndarray, n: int) -> tuple[float, float] | None:
        size = min(n, len(reals) // 2)
        if size < 2:
            return None
        random = np.random.default_rng([self._seed, 2, n, *scope.encode()])
        first, second = split_gaussians(reals, size, FLOOR_SPLITS, random)
        drawn = gaussian_frechet_2d(*first, *second) * (size / n)
        return float(drawn.mean()), float(np.quantile(drawn, 0.95))
