"""Choosing samples by a hash of their id, and resampling sources; everything is determined by a seed.

A source is what is independent of the others: a video, an identity, a target. Its faces are drawn together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import isqrt

import numpy as np

from dfad_bench.data.pools import effective_sources

NO_SPREAD = 1e-12  # values that differ by less are the same
_BLOCK = 512  # sources weighted at once: 4 MB for a thousand resamples
_CELLS = 100_000  # cells of the count matrix held at once: less than a megabyte fits into the cache
Gaussians = tuple[np.ndarray, np.ndarray]  # means (..., d) and covariances (..., d, d)


def choose(sample_ids: Sequence[str], count: int, seed: int) -> np.ndarray:
    """Positions of `count` samples, sorted; the same samples for any order of the rows.

    >>> ids = [f"s{i}" for i in range(100)]
    >>> picked = {ids[i] for i in choose(ids, 5, seed=0)}
    >>> picked == {ids[::-1][i] for i in choose(ids[::-1], 5, seed=0)}
    True
    """
    if count >= len(sample_ids):
        return np.arange(len(sample_ids))
    ranks = [hashlib.sha256(f"{seed}:{name}".encode()).digest() for name in sample_ids]
    return np.sort(np.array(sorted(range(len(ranks)), key=ranks.__getitem__)[:count]))


def tail(sources: int, variance_kept: float) -> float:
    """The share below the lower end of an expanded percentile interval at 95 %.

    Plain percentiles are too narrow, since a resample's variance is too small by `variance_kept` and since they take
    the normal for the t distribution (Hesterberg, What Teachers Should Know About the Bootstrap, The American
    Statistician 2015, section 5.3).
    """
    from scipy.special import ndtr, stdtrit

    return float(ndtr(-stdtrit(sources - 1, 0.975) / np.sqrt(variance_kept)))


def kept_variance(sources: int) -> float:
    """Variance of a mean under `resampled_gaussians` over the true one: (s - 1) / (s + 1), exact for equal sources."""
    return (sources - 1) / (sources + 1)


def resampled_gaussians(vectors: np.ndarray, sources: np.ndarray, resamples: int, seed: int) -> Gaussians:
    """Means (resamples, d) and covariances (resamples, d, d) of (n, d) vectors, their sources weighted at random.

    Rubin's Bayesian bootstrap (The Annals of Statistics 9, 1981) over sources: weights are exponential and follow from
    the seed and the source's name. So real and forged faces of one source, and the generators that share it, are
    resampled together, and a generator's numbers do not depend on which others are studied.
    """
    centre = vectors.mean(axis=0)  # second moments about the mean lose fewer digits
    names, sums = source_sums(vectors - centre, sources)
    drawn = np.zeros((resamples, sums.shape[1]))
    for start in range(0, len(names), _BLOCK):
        block = names[start : start + _BLOCK]
        weights = np.stack([_weights(str(name), resamples, seed) for name in block])
        drawn += weights.T @ sums[start : start + _BLOCK]
    means, covs = _gaussians(drawn * (len(vectors) / drawn[:, :1]))
    return means + centre, covs


def drawn_gaussians(sums: np.ndarray, size: int, draws: int, generator: np.random.Generator) -> Gaussians:
    """Gaussians of `size` sources drawn with replacement from (s, m) sums of `source_sums`, `draws` times."""
    found = np.empty((draws, sums.shape[1]))
    step = max(1, min(draws, _CELLS // len(sums)))
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        counts = generator.multinomial(size, np.full(len(sums), 1 / len(sums)), size=rows)
        found[start : start + rows] = counts.astype(float) @ sums
    return _gaussians(found)


def source_sums(vectors: np.ndarray, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Names (s,) of the sources, and for each the sums (s, m) of moments over its rows.

    These are 1, every coordinate, and every product of two: 1, x, y, x^2, xy and y^2 in two dimensions.
    """
    names, member = np.unique(sources, return_inverse=True)
    columns = vectors.T
    first, second = np.triu_indices(len(columns))
    products = (columns[i] * columns[j] for i, j in zip(first, second, strict=True))
    terms = (np.ones(len(vectors)), *columns, *products)
    return names, np.stack([np.bincount(member, weights=term, minlength=len(names)) for term in terms], axis=1)


def _weights(name: str, count: int, seed: int) -> np.ndarray:
    key = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little"))).standard_exponential(count)


def mean_interval(
    values: np.ndarray, first: np.ndarray, second: np.ndarray, least: int, bounds: tuple[float, float]
) -> tuple[float, float] | None:
    """95 % interval of the mean of (n,) values, each of a pair of sources; None where it cannot be known.

    Values that share a source, on either side, are not independent: their products count in the variance (the
    dyadic sum of Aronow, Samii and Assenova, Political Analysis 23, 2015). Student's t has one degree of freedom less
    than there are effective sources; as cosines and angles are skewed, it is transformed by their skewness (Hall, On
    the Removal of Skewness by Transformation, Journal of the Royal Statistical Society B 54, 1992).

    Args:
        values: (n,).
        first: (n,) source of each value.
        second: (n,) its other source; may be the same one.
        least: effective sources an interval needs.
        bounds: the least and the greatest possible value; no interval leaves them.
    """
    from scipy.special import stdtrit

    n, count = len(values), pair_sources(first, second)
    if count < max(least, 2) or np.ptp(values) <= NO_SPREAD * max(1.0, float(np.abs(values).max())):
        return None  # values that do not vary would give an interval without width, as if the mean were certain
    mean = float(values.mean())
    residuals = values - mean
    names = np.unique(np.concatenate([first, second]), return_inverse=True)[1]
    one, other = names[:n], names[n:]
    differ = one != other
    nodes = np.bincount(one, residuals, names.max() + 1) + np.bincount(
        other[differ], residuals[differ], names.max() + 1
    )
    _, edge = np.unique(np.sort(np.stack([one, other], axis=1), axis=1)[differ], axis=0, return_inverse=True)
    edges = np.bincount(edge.ravel(), residuals[differ]) if differ.any() else np.zeros(1)
    sides = [np.bincount(side, residuals) for side in (one, other)]
    total = max((nodes**2).sum() - (edges**2).sum(), *((side**2).sum() for side in sides))
    error = float(np.sqrt(total * count / (count - 1)) / n)
    fewer = min(sides, key=len)
    skew = float((fewer**3).sum() / max((fewer**2).sum(), 1e-300) ** 1.5) * count / (count - 1)
    ends = [mean - error * _unskewed(sign * float(stdtrit(count - 1, 0.975)), skew) for sign in (1, -1)]
    return max(ends[0], bounds[0]), min(ends[1], bounds[1])


def _unskewed(t: float, skew: float) -> float:
    """Hall's inverse transformation of a quantile; `skew` is the skewness over the root of the number of sources."""
    if abs(skew) < 1e-6:
        return t
    return float(3 / skew * (np.cbrt(1 + skew * (t - skew / 6)) - 1))


def pair_sources(first: np.ndarray, second: np.ndarray) -> int:
    """Effective sources of pairs: of the side that has fewer."""
    return min(effective_sources(first), effective_sources(second))


def _gaussians(sums: np.ndarray) -> Gaussians:
    """Gaussians of (draws, m) sums of moments, m = 1 + d + d (d + 1) / 2."""
    d = (isqrt(8 * sums.shape[1] + 1) - 3) // 2
    n = sums[:, :1]
    mean = sums[:, 1 : 1 + d] / n
    free = np.maximum(n - 1, 1e-9)  # a draw of one row has no spread: its moments are zero
    first, second = np.triu_indices(d)
    products = (sums[:, 1 + d :] - n * (mean[:, first] * mean[:, second])) / free
    variances = products[:, first == second].clip(min=0)
    # where a resample repeats a few faces only, rounding errors must not make the matrix indefinite
    bound = np.sqrt(variances[:, first] * variances[:, second])
    covariance = np.empty((len(sums), d, d))
    covariance[:, first, second] = covariance[:, second, first] = products.clip(-bound, bound)
    diagonal = np.arange(d)
    covariance[:, diagonal, diagonal] = variances
    return mean, covariance
