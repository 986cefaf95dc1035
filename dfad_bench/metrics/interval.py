"""How sure is a number? Intervals at 95 %.

Shares of one group get Wilson's interval; everything else the percentile bootstrap over clusters (faces of one
`source_key` stand or fall together), drawn within each group so that group sizes stay as the protocol has them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_Z95 = 1.959963984540054
_CHUNK_CELLS = 4_000_000  # weights drawn at once: about 32 MB


def wilson(successes: int, n: int) -> tuple[float, float] | None:
    """Wilson's score interval of a share; None for n = 0.

    >>> low, high = wilson(625, 1250)
    >>> round((high - low) / 2, 3)
    0.028
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n}")
    if n == 0:
        return None
    share, z2 = successes / n, _Z95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # at the ends the formula gives 0 and 1 but for rounding
    return (0.0 if successes == 0 else float(middle - half)), (1.0 if successes == n else float(middle + half))


class ClusterBootstrap:
    """Resamples clusters within strata, with replacement; every statistic sees the same draws for one seed.

    Args:
        strata: (n,) group of each row.
        clusters: (n,) cluster of each row, e.g. its `source_key`; the same name in two strata is two clusters.
        resamples: number of bootstrap samples.
        seed: seed of the draws.
    """

    def __init__(self, strata: np.ndarray, clusters: np.ndarray, *, resamples: int = 1000, seed: int = 0) -> None:
        strata, clusters = np.asarray(strata), np.asarray(clusters)
        if strata.shape != clusters.shape or strata.ndim != 1:
            raise ValueError(f"strata and clusters must be (n,), got {strata.shape} and {clusters.shape}")
        self.resamples, self.seed, self.rows = resamples, seed, len(strata)
        self.strata, self.stratum = np.unique(strata, return_inverse=True)
        _, names = np.unique(clusters, return_inverse=True)
        pair = self.stratum.astype(np.int64) * (names.max(initial=0) + 1) + names
        distinct, self.cluster = np.unique(pair, return_inverse=True)  # ordered by stratum
        owners = distinct // (names.max(initial=0) + 1)
        self._sizes = np.bincount(owners, minlength=len(self.strata))  # clusters in each stratum

    def macro_share(self, hits: np.ndarray) -> tuple[float, float]:
        """Interval of the mean over strata of the share of `hits` (n,)."""
        right, total = self._sums(np.asarray(hits, dtype=float)), self._sums(np.ones(self.rows))
        starts = np.cumsum(self._sizes) - self._sizes
        values = []
        for weights in self._weights():
            a = np.add.reduceat(weights * right, starts, axis=1)
            b = np.add.reduceat(weights * total, starts, axis=1)
            values.append((a / b).mean(axis=1))
        return self._percentiles(values)

    def ratios(self, hits: np.ndarray, among: np.ndarray) -> tuple[float, float]:
        """Interval of the mean over columns of `hits` (n, k) summed over `among` (n, k) summed.

        One column of ones is plain accuracy; a column for fakes and one for reals is balanced accuracy.
        """
        right = np.stack([self._sums(column) for column in np.asarray(hits, dtype=float).T], axis=1)
        total = np.stack([self._sums(column) for column in np.asarray(among, dtype=float).T], axis=1)
        values = []
        for weights in self._weights():
            with np.errstate(invalid="ignore", divide="ignore"):  # a resample may miss a class: NaN, left out below
                values.append(((weights @ right) / (weights @ total)).mean(axis=1))
        return self._percentiles(values)

    def auc(self, labels: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
        """Interval of the area under the ROC curve; scores are sorted once, ties count a half."""
        order = np.argsort(scores, kind="stable")
        ranked = np.asarray(scores)[order]
        starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
        positive = (np.asarray(labels) == 1)[order]
        member = self.cluster[order]
        values = []
        for weights in self._weights():
            w = weights[:, member]  # (b, n)
            up = np.add.reduceat(w * positive, starts, axis=1)
            down = np.add.reduceat(w * ~positive, starts, axis=1)
            below = np.cumsum(down, axis=1) - down
            with np.errstate(invalid="ignore", divide="ignore"):
                values.append((up * (below + down / 2)).sum(axis=1) / (up.sum(axis=1) * down.sum(axis=1)))
        return self._percentiles(values)

    def _sums(self, column: np.ndarray) -> np.ndarray:
        return np.bincount(self.cluster, weights=column, minlength=int(self._sizes.sum()))

    def _weights(self) -> Iterator[np.ndarray]:
        """(b, clusters) how often each cluster was drawn; chunks add up to `resamples`."""
        rng = np.random.default_rng(self.seed)
        chunk = max(1, min(self.resamples, _CHUNK_CELLS // max(self.rows, 1)))
        for begin in range(0, self.resamples, chunk):
            count = min(chunk, self.resamples - begin)
            drawn = [rng.multinomial(size, np.full(size, 1 / size), size=count) for size in self._sizes]
            yield np.concatenate(drawn, axis=1).astype(float)

    @staticmethod
    def _percentiles(values: list[np.ndarray]) -> tuple[float, float]:
        low, high = np.nanpercentile(np.concatenate(values), [2.5, 97.5])
        return float(low), float(high)
