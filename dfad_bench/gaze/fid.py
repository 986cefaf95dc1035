"""FID of gaze: the Frechet distance of two Gaussians over (pitch, yaw), with its interval, parts and floor.

Chance is counted over sources (`sources`), whose faces are resampled together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dfad_bench.data.pools import effective_sources
from dfad_bench.gaze.backends import Distance, closed_form_2d
from dfad_bench.gaze.resample import (
    NO_SPREAD,
    Gaussians,
    drawn_gaussians,
    kept_variance,
    resampled_gaussians,
    source_sums,
    tail,
)
from dfad_bench.gaze.sources import LEAST_FLOOR_SOURCES, LEAST_SOURCES
from dfad_bench.metrics.frechet import covariance_part_2d, gaussian, mean_part

FLOOR_DRAWS = 1000
_Z95 = 1.959963984540054


@dataclass(frozen=True)
class FidStudy:
    """One generator's distance; all values in square radians, None where a side has fewer than two faces.

    `unbiased` is the distance minus its sampling bias (estimated by resampling sources), `debiased` the same where it
    is below zero, for means over generators; `low` and `high` its 95 % interval, None with fewer than
    `sources.LEAST_SOURCES` effective sources on a side and where the resamples have no spread; `floor` is the mean
    distance of two samples of real faces with as many sources and faces as the two sides have, `floor_high` the 95 %
    quantile of such distances.
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
    debiased_rad2: float | None = None
    sources_real: int = 0
    sources_fake: int = 0
    sources_effective: int = 0  # of equal size, on the side that has fewer
    interval_verdict: str = ""  # why there is no interval, "" where there is one or no distance


@dataclass(frozen=True)
class Side:
    """The compared faces of one side: gaze (n, 2) in radians, and the source (n,) of each."""

    angles: np.ndarray
    sources: np.ndarray

    @classmethod
    def of_single(cls, angles: np.ndarray, name: str) -> Side:
        """Faces that are a source each, named after their side."""
        return cls(angles, np.array([f"{name}:{place}" for place in range(len(angles))], dtype=str))

    @property
    def effective(self) -> int:
        """Effective sources."""
        return effective_sources(self.sources)

    @property
    def shape(self) -> tuple[int, int]:
        """Effective sources, and how many faces each of them has."""
        count = self.effective
        return count, max(1, round(len(self.angles) / max(count, 1)))

    def resampled(self, resamples: int, seed: int) -> Gaussians:
        """Gaussians of this side, its sources resampled."""
        return resampled_gaussians(self.angles, self.sources, resamples, seed)


def study_fid(
    real: Side, fake: Side, floor: tuple[float, float] | None, drawn: np.ndarray, *, distance: Distance = closed_form_2d
) -> FidStudy:
    """Distance of real from forged gaze.

    Args:
        real: n faces.
        fake: n faces.
        floor: as `RealSide.floor` gives it.
        drawn: (resamples,) distances of the two sides, resampled by source with one seed.
        distance: a backend.
    """
    n = len(fake.angles)
    sources = min(real.effective, fake.effective)
    found = FidStudy(
        n,
        sources_real=len(np.unique(real.sources)),
        sources_fake=len(np.unique(fake.sources)),
        sources_effective=sources,
    )
    if n < 2:
        return found
    (mean_real, cov_real), (mean_fake, cov_fake) = gaussian(real.angles), gaussian(fake.angles)
    fid = float(distance(mean_real, cov_real, mean_fake, cov_fake))
    debiased, ends = distance_interval(fid, drawn, sources)
    low, high = ends or (None, None)
    why = f"{sources} of {LEAST_SOURCES} sources" if sources < LEAST_SOURCES else "no spread"
    return replace(
        found,
        fid_rad2=fid,
        unbiased_rad2=max(debiased, 0.0),
        low_rad2=low,
        high_rad2=high,
        floor_rad2=floor[0] if floor else None,
        floor_high_rad2=floor[1] if floor else None,
        mean_part_rad2=float(mean_part(mean_real, mean_fake)),
        covariance_part_rad2=float(covariance_part_2d(cov_real, cov_fake)),
        mean_real_rad=tuple(mean_real.tolist()),
        mean_fake_rad=tuple(mean_fake.tolist()),
        cov_real_rad2=tuple(map(tuple, cov_real.tolist())),
        cov_fake_rad2=tuple(map(tuple, cov_fake.tolist())),
        debiased_rad2=debiased,
        interval_verdict="" if ends else why,
    )


def distance_interval(value: float, drawn: np.ndarray, sources: int) -> tuple[float, tuple[float, float] | None]:
    """A distance less its sampling bias, and its 95 % interval or None.

    Args:
        value: the distance, or a mean of several.
        drawn: (resamples,) the same of resampled sources.
        sources: effective sources of the side that has fewer.
    """
    excess = float(drawn.mean()) - value
    if sources < 2:
        return value - excess, None
    kept = kept_variance(sources)
    bias = excess / kept  # a resample's variance is too small, and so is the bias it shows
    share = tail(sources, kept)
    # a resample has the bias of the sample and its own excess
    low, high = (np.quantile(drawn, [share, 1 - share]) - excess - bias).clip(min=0).tolist()
    if sources < LEAST_SOURCES or high - low <= NO_SPREAD * max(1.0, value):
        return value - bias, None
    return value - bias, (low, high)


class RealSide:
    """The real faces of one scope: their floors and resamples, computed once for each number of faces and sources.

    Args:
        scope: name of the scope; part of the seed.
        faces: all of its faces.
        seed: seed of every draw.
        resamples: number of resamples.
        distance: a backend.
    """

    def __init__(
        self, scope: str, faces: Side, *, seed: int, resamples: int = 1000, distance: Distance = closed_form_2d
    ) -> None:
        self._scope, self._faces, self._distance = scope.encode(), faces, distance
        self._seed, self._resamples = seed, resamples
        self._sources = faces.effective
        self._floors: dict[tuple[tuple[int, int], ...], tuple[float, float]] = {}
        self._draws: dict[int, Gaussians] = {}

    def floor(self, *shapes: tuple[int, int]) -> tuple[float, float] | None:
        """Mean and 95 % quantile, square radians, of distances of real from real; None with too few real sources.

        Both samples are drawn from the real sources with replacement. These are few, so their variance is known only
        roughly and is too small by one degree of freedom: distances are multiplied by s / (s - 1), the quantile by
        the square of Student's over the normal one.

        Args:
            shapes: `Side.shape` of the two sides.
        """
        if self._sources < LEAST_FLOOR_SOURCES:
            return None
        if shapes not in self._floors:
            self._floors[shapes] = self._floor(shapes)
        return self._floors[shapes]

    def distances(self, chosen: Side, fake: Side) -> np.ndarray:
        """(resamples,) distances of the two sides, resampled by source; the draws of the `chosen` faces are kept."""
        n = len(chosen.angles)
        if n not in self._draws:
            self._draws[n] = chosen.resampled(self._resamples, self._seed)
        drawn: np.ndarray = self._distance(*self._draws[n], *fake.resampled(self._resamples, self._seed))
        return drawn

    def _floor(self, shapes: tuple[tuple[int, int], ...]) -> tuple[float, float]:
        from scipy.special import stdtrit

        random = np.random.default_rng([self._seed, 2, *(number for shape in shapes for number in shape), *self._scope])
        order = random.permutation(len(self._faces.angles))
        drawn = [drawn_gaussians(self._sums(order, faces), sources, FLOOR_DRAWS, random) for sources, faces in shapes]
        distances = self._distance(*drawn[0], *drawn[1]) * (self._sources / (self._sources - 1))
        widened = (float(stdtrit(self._sources - 1, 0.975)) / _Z95) ** 2
        return float(distances.mean()), float(np.quantile(distances, 0.95)) * widened

    def _sums(self, order: np.ndarray, most: int) -> np.ndarray:
        """`source_sums` of at most so many faces of each source: the first ones in that order."""
        sources = self._faces.sources[order]
        _, member = np.unique(sources, return_inverse=True)
        sorted_by = np.argsort(member, kind="stable")
        starts = np.searchsorted(member[sorted_by], np.arange(member.max() + 1))
        place = np.empty(len(order), dtype=np.int64)
        place[sorted_by] = np.arange(len(order)) - starts[member[sorted_by]]
        kept = order[place < most]
        angles = self._faces.angles - self._faces.angles.mean(axis=0)
        return source_sums(angles[kept], self._faces.sources[kept])[1]
