"""FID of gaze: the Frechet distance of two Gaussians over (pitch, yaw), with its interval, parts and floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfad_bench.gaze.backends import Distance, closed_form_2d
from dfad_bench.gaze.resample import FEWEST, NO_SPREAD, bootstrap_gaussians, split_gaussians
from dfad_bench.metrics.frechet import covariance_part_2d, gaussian, mean_part

FLOOR_SPLITS = 200
Gaussians = tuple[np.ndarray, np.ndarray]  # means (..., 2) and covariances (..., 2, 2)


@dataclass(frozen=True)
class FidStudy:
    """One generator's distance; all values in square radians, None where a side has fewer than two faces.

    `unbiased` is the distance minus its sampling bias (estimated by bootstrap), `low` and `high` its 95 % interval,
    None with fewer than `resample.FEWEST` faces (with three the coverage would be 75 %) and where the resamples have no
    spread; `floor` is the mean distance
    of two disjoint samples of real faces of the same size, `floor_high` the 95 % quantile of such distances.
    """

    n: int  # faces on each side
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
    real: np.ndarray,
    fake: np.ndarray,
    floor: tuple[float, float] | None,
    resamples: int,
    random: np.random.Generator,
    *,
    real_draws: Gaussians | None = None,
    distance: Distance = closed_form_2d,
) -> FidStudy:
    """Distance of real from forged gaze.

    Args:
        real: (n, 2) angles in radians.
        fake: (n, 2).
        floor: as `RealSide.floor` gives it.
        resamples: number of bootstrap resamples.
        random: random generator of the bootstrap.
        real_draws: resampled Gaussians of `real`, where several generators share them.
        distance: a backend.
    """
    n = len(fake)
    if n < 2:
        return FidStudy(n)
    (mean_real, cov_real), (mean_fake, cov_fake) = gaussian(real), gaussian(fake)
    fid = float(distance(mean_real, cov_real, mean_fake, cov_fake))
    if real_draws is None:
        real_draws = bootstrap_gaussians(real, resamples, random)
    drawn = distance(*real_draws, *bootstrap_gaussians(fake, resamples, random))
    # A resample adds its own sampling bias: subtract it once from the estimate, twice from the interval.
    bias = float(drawn.mean()) - fid
    ends = (np.quantile(drawn, [0.025, 0.975]) - 2 * bias).clip(min=0).tolist()
    if n < FEWEST or ends[1] - ends[0] <= NO_SPREAD * max(1.0, fid):
        ends = (None, None)
    return FidStudy(
        n=n,
        fid_rad2=fid,
        unbiased_rad2=max(fid - bias, 0.0),
        low_rad2=ends[0],
        high_rad2=ends[1],
        floor_rad2=floor[0] if floor else None,
        floor_high_rad2=floor[1] if floor else None,
        mean_part_rad2=float(mean_part(mean_real, mean_fake)),
        covariance_part_rad2=float(covariance_part_2d(cov_real, cov_fake)),
        mean_real_rad=tuple(mean_real.tolist()),
        mean_fake_rad=tuple(mean_fake.tolist()),
        cov_real_rad2=tuple(map(tuple, cov_real.tolist())),
        cov_fake_rad2=tuple(map(tuple, cov_fake.tolist())),
    )


class RealSide:
    """The real faces of one scope: their floors and resamples, computed once for each number of faces.

    Args:
        scope: name of the scope; part of the seed.
        angles: (m, 2) all of its faces, radians.
        seed: seed of every draw.
        resamples: number of bootstrap resamples.
        distance: a backend.
    """

    def __init__(
        self,
        scope: str,
        angles: np.ndarray,
        *,
        seed: int,
        resamples: int = 1000,
        distance: Distance = closed_form_2d,
    ) -> None:
        self._scope, self._angles, self._distance = scope.encode(), angles, distance
        self._seed, self._resamples = seed, resamples
        self._floors: dict[int, tuple[float, float] | None] = {}
        self._draws: dict[int, Gaussians] = {}

    def floor(self, n: int) -> tuple[float, float] | None:
        """Mean and 95 % quantile, square radians, of distances of real from real at n faces; None with fewer than four.

        With fewer than 2 n real faces the two samples are halves, and their distance is scaled by half / n, because
        it is inversely proportional to the number of faces.
        """
        if n not in self._floors:
            self._floors[n] = self._floor(n)
        return self._floors[n]

    def draws(self, chosen: np.ndarray) -> Gaussians:
        """Resampled Gaussians of the `chosen` (n, 2) faces: the same for every generator compared with them."""
        n = len(chosen)
        if n not in self._draws:
            random = np.random.default_rng([self._seed, 5, n, *self._scope])
            self._draws[n] = bootstrap_gaussians(chosen, self._resamples, random)
        return self._draws[n]

    def _floor(self, n: int) -> tuple[float, float] | None:
        size = min(n, len(self._angles) // 2)
        if size < 2:
            return None
        random = np.random.default_rng([self._seed, 2, n, *self._scope])
        first, second = split_gaussians(self._angles, size, FLOOR_SPLITS, random)
        drawn = self._distance(*first, *second) * (size / n)
        return float(drawn.mean()), float(np.quantile(drawn, 0.95))
