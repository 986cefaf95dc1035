"""FID of gaze: the Frechet distance of two Gaussians over (pitch, yaw), with its interval, parts and floor.

All but `FidStudy` takes vectors of any kind and dimension; other studies (`dfad_bench.parsing`) measure by it, too.

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
class Measured:
    """One generator's distance from real faces, in squares of the vectors' unit; None with fewer than two faces a side.

    `unbiased` is the distance minus its sampling bias (estimated by resampling sources), `debiased` the same where it
    is below zero, for means over generators; `low` and `high` its 95 % interval, None with fewer effective sources on
    a side than are needed and where the resamples have no spread; `floor` is the mean distance of two samples of real
    faces with as many sources and faces as the two sides have, `floor_high` the 95 % quantile of such distances.
    """

    n: int  # faces on each side
    value: float | None = None
    unbiased: float | None = None
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    floor_high: float | None = None
    mean_part: float | None = None  # what equal covariances would leave of the distance
    debiased: float | None = None
    sources_real: int = 0
    sources_fake: int = 0
    sources_effective: int = 0  # of equal size, on the side that has fewer
    interval_verdict: str = ""  # why there is no interval, "" where there is one or no distance


@dataclass(frozen=True)
class FidStudy:
    """One generator's distance of gaze (fields of `Measured`, square radians), with its parts and the Gaussians."""

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
    """The compared faces of one side: vectors (n, d), gaze in radians say, and the source (n,) of each."""

    vectors: np.ndarray
    sources: np.ndarray

    @classmethod
    def of_single(cls, vectors: np.ndarray, name: str) -> Side:
        """Faces that are a source each, named after their side."""
        return cls(vectors, np.array([f"{name}:{place}" for place in range(len(vectors))], dtype=str))

    @property
    def effective(self) -> int:
        """Effective sources."""
        return effective_sources(self.sources)

    @property
    def shape(self) -> tuple[int, int]:
        """Effective sources, and how many faces each of them has."""
        count = self.effective
        return count, max(1, round(len(self.vectors) / max(count, 1)))

    def resampled(self, resamples: int, seed: int) -> Gaussians:
        """Gaussians of this side, its sources resampled."""
        return resampled_gaussians(self.vectors, self.sources, resamples, seed)


def study_fid(
    real: Side, fake: Side, floor: tuple[float, float] | None, drawn: np.ndarray, *, distance: Distance = closed_form_2d
) -> FidStudy:
    """Distance of real from forged gaze; arguments as of `measure_distance`, vectors (n, 2) in radians."""
    found = measure_distance(real, fake, floor, drawn, distance=distance)
    shared = {name: getattr(found, name) for name in ("n", "sources_real", "sources_fake", "sources_effective")}
    if found.value is None:
        return FidStudy(**shared)
    (mean_real, cov_real), (mean_fake, cov_fake) = gaussian(real.vectors), gaussian(fake.vectors)
    return FidStudy(
        **shared,
        fid_rad2=found.value,
        unbiased_rad2=found.unbiased,
        low_rad2=found.low,
        high_rad2=found.high,
        floor_rad2=found.floor,
        floor_high_rad2=found.floor_high,
        mean_part_rad2=found.mean_part,
        covariance_part_rad2=float(covariance_part_2d(cov_real, cov_fake)),
        mean_real_rad=tuple(mean_real.tolist()),
        mean_fake_rad=tuple(mean_fake.tolist()),
        cov_real_rad2=tuple(map(tuple, cov_real.tolist())),
        cov_fake_rad2=tuple(map(tuple, cov_fake.tolist())),
        debiased_rad2=found.debiased,
        interval_verdict=found.interval_verdict,
    )


def measure_distance(
    real: Side, fake: Side, floor: tuple[float, float] | None, drawn: np.ndarray, *, distance: Distance
) -> Measured:
    """Distance of real from forged faces.

    Args:
        real: n faces.
        fake: n faces.
        floor: as `RealSide.floor` gives it.
        drawn: (resamples,) distances of the two sides, resampled by source with one seed; none: neither bias nor
            interval is known, and the distance stands for the debiased one.
        distance: a backend.
    """
    n = len(fake.vectors)
    sources = min(real.effective, fake.effective)
    found = Measured(
        n,
        sources_real=len(np.unique(real.sources)),
        sources_fake=len(np.unique(fake.sources)),
        sources_effective=sources,
    )
    if n < 2:
        return found
    (mean_real, cov_real), (mean_fake, cov_fake) = gaussian(real.vectors), gaussian(fake.vectors)
    value = float(distance(mean_real, cov_real, mean_fake, cov_fake))
    found = replace(found, value=value, mean_part=float(mean_part(mean_real, mean_fake)))
    if not len(drawn):
        return replace(found, debiased=value, interval_verdict="not resampled")
    debiased, ends = distance_interval(value, drawn, sources)
    low, high = ends or (None, None)
    why = f"{sources} of {LEAST_SOURCES} sources" if sources < LEAST_SOURCES else "no spread"
    return replace(
        found,
        unbiased=max(debiased, 0.0),
        low=low,
        high=high,
        floor=floor[0] if floor else None,
        floor_high=floor[1] if floor else None,
        debiased=debiased,
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
        """Mean and 95 % quantile of distances of real from real; None with too few real sources, or no resamples.

        Both samples are drawn from the real sources with replacement. These are few, so their variance is known only
        roughly and is too small by one degree of freedom: distances are multiplied by s / (s - 1), the quantile by
        the square of Student's over the normal one.

        Args:
            shapes: `Side.shape` of the two sides.
        """
        if self._sources < LEAST_FLOOR_SOURCES or not self._resamples:
            return None
        if shapes not in self._floors:
            self._floors[shapes] = self._floor(shapes)
        return self._floors[shapes]

    def distances(self, chosen: Side, fake: Side) -> np.ndarray:
        """(resamples,) distances of the two sides, resampled by source; the draws of the `chosen` faces are kept."""
        n = len(chosen.vectors)
        if not self._resamples:
            return np.zeros(0)
        if n not in self._draws:
            self._draws[n] = chosen.resampled(self._resamples, self._seed)
        drawn: np.ndarray = self._distance(*self._draws[n], *fake.resampled(self._resamples, self._seed))
        return drawn

    def _floor(self, shapes: tuple[tuple[int, int], ...]) -> tuple[float, float]:
        from scipy.special import stdtrit

        random = np.random.default_rng([self._seed, 2, *(number for shape in shapes for number in shape), *self._scope])
        order = random.permutation(len(self._faces.vectors))
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
        vectors = self._faces.vectors - self._faces.vectors.mean(axis=0)
        return source_sums(vectors[kept], self._faces.sources[kept])[1]
