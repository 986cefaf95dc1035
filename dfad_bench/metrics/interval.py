"""Intervals at 95 %: how much a number may vary with the faces.

Shares of one group get Wilson's interval, everything else the percentile bootstrap over clusters: faces of one
`source_key` are drawn together, in whatever groups they are. Clusters are drawn within each group, so that group
sizes stay as the protocol has them; groups that share sources (forgeries of the same targets) are drawn from together.
A bootstrap gives its draws, too: those of two models on the same faces and seed are paired.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

_Z95 = 1.959963984540054
_CHUNK_CELLS = 4_000_000  # weights drawn at once: about 32 MB
_BLOCK_CELLS = 1_000_000  # of those, ranked at once: a dozen arrays of 8 MB
_KEPT_CELLS = 40_000_000  # draws up to so many weights are kept for the next statistic: 80 MB
RANKINGS = ("auc", "oscr", "ap", "eer", "fpr95", "fpr95_openood")


def wilson(successes: float, n: float, z: float = _Z95) -> tuple[float, float] | None:
    """Wilson's score interval of a share; None for n = 0. Counts may be effective ones, and then no integers.

    `z`: the quantile, of another distribution than the normal one where the number of rows is an estimate.

    >>> low, high = wilson(625, 1250)
    >>> round((high - low) / 2, 3)
    0.028
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n}")
    if n == 0:
        return None
    share, z2 = successes / n, z**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # at the ends the formula gives 0 and 1 but for rounding
    return (0.0 if successes == 0 else float(middle - half)), (1.0 if successes == n else float(middle + half))


def clustered_wilson(hits: np.ndarray, clusters: np.ndarray) -> tuple[float, float] | None:
    """Wilson's interval with the effective number of rows: n over the design effect of the clusters.

    The design effect is the variance of the share over clusters divided by that of independent rows (Kish, Survey
    Sampling, 1965), never below 1. Where all rows are hits, or none is, it cannot be estimated, and each cluster
    counts as one row. Without clusters of several rows this is `wilson`.

    Args:
        hits: (n,) bool.
        clusters: (n,) cluster of each row.

    >>> clustered_wilson(np.array([True, False]), np.array([0, 1])) == wilson(1, 2)
    True
    """
    hits = np.asarray(hits, dtype=float)
    names, member = np.unique(np.asarray(clusters), return_inverse=True)
    n, k = len(hits), len(names)
    if k == n:
        return wilson(hits.sum(), n)
    share = hits.mean()
    if k == 1 or share in (0.0, 1.0):
        return wilson(share * k, k)
    residuals = np.bincount(member, weights=hits - share)
    variance = k / (k - 1) * (residuals**2).sum() / n**2
    effect = max(1.0, variance / (share * (1 - share) / n))
    return wilson(share * n / effect, n / effect)


def stratified_wilson(
    hits: np.ndarray, strata: np.ndarray, clusters: np.ndarray, *, macro: bool
) -> tuple[float, float] | None:
    """The mean over strata of the bounds of `clustered_wilson`, as if all strata erred the same way: wide.

    For shares whose bootstrap has no spread because each stratum is all hits or all misses; None without rows.

    Args:
        hits: (n,) bool.
        strata: (n,) group of each row.
        clusters: (n,) cluster of each row.
        macro: strata count alike, instead of by their rows.

    >>> both = stratified_wilson(np.ones(2), np.array([0, 1]), np.array([0, 1]), macro=True)
    >>> both == wilson(1, 1)
    True
    """
    found, rows = [], []
    for stratum in np.unique(strata):
        mine = strata == stratum
        between = clustered_wilson(hits[mine], clusters[mine])
        assert between is not None  # the stratum has a row
        found.append(between)
        rows.append(mine.sum())
    if not found:
        return None
    low, high = np.average(found, axis=0, weights=None if macro else rows)
    return float(low), float(high)


def bounds(draws: np.ndarray) -> tuple[float, float] | None:
    """The middle 95 % of bootstrap draws; NaN draws are left out, None where all are NaN."""
    known = draws[~np.isnan(draws)]
    if not len(known):
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


class ClusterBootstrap:
    """Resamples clusters within strata, with replacement; every statistic sees the same draws for one seed.

    A cluster in several strata is drawn for all of them at once: were it drawn anew in each, the strata would seem
    independent, and intervals too narrow. Strata that share clusters, directly or through others, are one pool to
    draw from.

    Methods named `..._draws` return one value a resample, NaN where it misses a class.

    Args:
        strata: (n,) group of each row.
        clusters: (n,) cluster of each row, e.g. its `source_key`.
        resamples: number of bootstrap samples.
        seed: seed of the draws.
    """

    def __init__(self, strata: np.ndarray, clusters: np.ndarray, *, resamples: int = 1000, seed: int = 0) -> None:
        strata, clusters = np.asarray(strata), np.asarray(clusters)
        if strata.shape != clusters.shape or strata.ndim != 1:
            raise ValueError(f"strata and clusters must be (n,), got {strata.shape} and {clusters.shape}")
        self.resamples, self.seed, self.rows = resamples, seed, len(strata)
        self.strata, self.stratum = np.unique(strata, return_inverse=True)
        every, names = np.unique(clusters, return_inverse=True)
        pair = _pools(self.stratum, names).astype(np.int64) * len(every) + names
        distinct, self.cluster = np.unique(pair, return_inverse=True)  # ordered by pool
        self._sizes = np.bincount(distinct // len(every))  # clusters in each pool
        self._kept_draws: list[np.ndarray] = []

    @property
    def pool_sizes(self) -> np.ndarray:
        """How many clusters each pool has (pools,)."""
        return self._sizes

    def pool_weights(self, pools: np.ndarray) -> list[np.ndarray]:
        """How often each cluster of some pools was drawn, an array (resamples, clusters) for each pool."""
        ends = np.cumsum(self._sizes)
        parts = [slice(ends[pool] - self._sizes[pool], ends[pool]) for pool in pools]
        chunks = [[weights[:, part] for part in parts] for weights in self._weights()]
        return [np.concatenate(chunk) for chunk in zip(*chunks, strict=True)]

    def macro_share(self, hits: np.ndarray) -> tuple[float, float] | None:
        """Interval of the mean over strata of the share of `hits` (n,)."""
        return bounds(self.macro_share_draws(hits))

    def ratios(self, hits: np.ndarray, among: np.ndarray) -> tuple[float, float] | None:
        """Interval of `ratios_draws`."""
        return bounds(self.ratios_draws(hits, among))

    def auc(self, labels: np.ndarray, scores: np.ndarray) -> tuple[float, float] | None:
        """Interval of the area under the ROC curve of `labels` (n,) 1 or 0."""
        return bounds(self.ranking_draws(np.asarray(labels) == 1, scores, only=("auc",))["auc"])

    def macro_share_draws(self, hits: np.ndarray) -> np.ndarray:
        """Mean over strata of the share of `hits` (n,)."""
        own = self.stratum[:, None] == np.arange(len(self.strata))  # (n, strata)
        return self.ratios_draws(own * np.asarray(hits, dtype=float)[:, None], own)

    def ratios_draws(self, hits: np.ndarray, among: np.ndarray) -> np.ndarray:
        """Mean over columns of `hits` (n, k) summed over `among` (n, k) summed.

        One column of ones is plain accuracy; a column for fakes and one for reals is balanced accuracy.
        """
        right = np.stack([self._sums(column) for column in np.asarray(hits).T], axis=1)
        total = np.stack([self._sums(column) for column in np.asarray(among).T], axis=1)
        values = []
        for weights in self._weights():
            with np.errstate(invalid="ignore", divide="ignore"):  # a resample may miss a class
                values.append(((weights @ right) / (weights @ total)).mean(axis=1))
        return np.concatenate(values)

    def ece_draws(self, labels: np.ndarray, p_fake: np.ndarray, *, bins: int = 15) -> np.ndarray:
        """`detection.ece` of each resample."""
        place = np.minimum((np.asarray(p_fake) * bins).astype(int), bins - 1)
        gaps = np.asarray(p_fake, dtype=float) - (np.asarray(labels) == 1)
        parts = np.stack([self._sums(np.where(place == k, gaps, 0.0)) for k in range(bins)], axis=1)
        total = self._sums(np.ones(self.rows))
        return np.concatenate([np.abs(w @ parts).sum(axis=1) / (w @ total) for w in self._weights()])

    def ranking_draws(
        self,
        positive: np.ndarray,
        scores: np.ndarray,
        *,
        right: np.ndarray | None = None,
        among: np.ndarray | None = None,
        only: Collection[str] = RANKINGS,
    ) -> dict[str, np.ndarray]:
        """`RANKINGS` of each resample, from one sort of the scores.

        Args:
            positive: (n,) bool: forged faces, or seen ones.
            scores: (n,) higher for positives.
            right: (n,) bool: positives that are named rightly, for OSCR; default all.
            among: (n,) bool: rows to rank; default all.
            only: those of `RANKINGS` that are wanted.
        """
        order = np.argsort(-np.asarray(scores, dtype=float), kind="stable")
        order = order if among is None else order[np.asarray(among, bool)[order]]
        ranked = np.asarray(scores)[order]
        starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
        positive, named = np.asarray(positive, bool), np.asarray(positive if right is None else right, bool)
        masks = [mask[order] for mask in (positive, positive & named, ~positive)]
        member = self.cluster[order]
        found: dict[str, list[np.ndarray]] = {name: [] for name in only}
        step = max(1, _BLOCK_CELLS // max(len(order), 1))
        for weights in self._weights():
            for begin in range(0, len(weights), step):
                w = weights[begin : begin + step, member]  # (b, n)
                parts = [w * mask for mask in masks]
                if len(starts) < len(order):
                    parts = [np.add.reduceat(part, starts, axis=1) for part in parts]
                for name, values in _ranking(parts[0], parts[1], parts[2], only).items():
                    found[name].append(values)
        return {name: np.concatenate(values) for name, values in found.items()}

    def samples(self) -> Iterator[np.ndarray]:
        """The row numbers (m,) of each resample, ascending; a row of a cluster drawn twice stands there twice."""
        numbers = np.arange(self.rows)
        for weights in self._weights():
            for drawn in weights:
                yield np.repeat(numbers, drawn[self.cluster].astype(np.int64))

    def _sums(self, column: np.ndarray) -> np.ndarray:
        return np.bincount(self.cluster, weights=column, minlength=int(self._sizes.sum()))

    def _weights(self) -> Iterator[np.ndarray]:
        """(b, clusters) how often each cluster was drawn; chunks add up to `resamples`."""
        if self._kept_draws:
            yield from (drawn.astype(float) for drawn in self._kept_draws)
            return
        rng, fresh = np.random.default_rng(self.seed), []
        chunk = max(1, min(self.resamples, _CHUNK_CELLS // max(self.rows, 1)))
        keep = self.resamples * int(self._sizes.sum()) <= _KEPT_CELLS
        for begin in range(0, self.resamples, chunk):
            count = min(chunk, self.resamples - begin)
            drawn = [rng.multinomial(size, np.full(size, 1 / size), size=count) for size in self._sizes]
            weights = np.concatenate(drawn, axis=1)
            if keep:
                fresh.append(weights.astype(np.uint16))
            yield weights.astype(float)
        self._kept_draws = fresh


def _pools(stratum: np.ndarray, names: np.ndarray) -> np.ndarray:
    """The pool (n,) of each row: strata that share a cluster are one, numbered in the order of their first stratum."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    strata, clusters = len(np.bincount(stratum)), len(np.bincount(names))
    links = coo_matrix((np.ones(len(names), bool), (stratum, strata + names)), shape=(strata + clusters,) * 2)
    _, labels = connected_components(links)  # weakly, so that a link joins both
    _, first, pool = np.unique(labels[:strata], return_index=True, return_inverse=True)
    pools: np.ndarray = np.argsort(np.argsort(first))[pool][stratum]
    return pools


def _ranking(up: np.ndarray, good: np.ndarray, down: np.ndarray, only: Collection[str]) -> dict[str, np.ndarray]:
    """Statistics of (b, d) weights of positives, rightly named positives and negatives at descending scores."""
    alarms = np.cumsum(down, axis=1)
    all_up, all_down = up.sum(axis=1), alarms[:, -1]
    found = {}
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample may miss a class: NaN
        if {"auc", "oscr"} & set(only):
            below = all_down[:, None] - alarms + down / 2
            for name, weights in (("auc", up), ("oscr", good)):
                found[name] = np.einsum("bd,bd->b", weights, below) / (all_up * all_down)
        if {"ap", "eer", "fpr95"} & set(only):
            found |= _curves(up, np.cumsum(up, axis=1), alarms, all_up, all_down)
        if "fpr95_openood" in only:
            found["fpr95_openood"] = _rejected_positives(up, down, all_up, all_down)
    return {name: found[name] for name in only}


def _curves(
    up: np.ndarray, hits: np.ndarray, alarms: np.ndarray, all_up: np.ndarray, all_down: np.ndarray
) -> dict[str, np.ndarray]:
    """What needs the whole curve: average precision, equal error rate, alarms at 95 % of hits."""
    rows, first = np.arange(len(up)), np.zeros((len(up), 1))
    precision = np.where(hits > 0, hits / (hits + alarms), 0.0)
    tpr = np.concatenate([first, hits / all_up[:, None]], axis=1)
    fpr = np.concatenate([first, alarms / all_down[:, None]], axis=1)
    gap = tpr + fpr - 1
    at = np.maximum(np.argmax(gap >= 0, axis=1), 1)
    step = -gap[rows, at - 1] / (gap[rows, at] - gap[rows, at - 1])
    accepted = np.argmax(hits * 100 >= 95 * all_up[:, None], axis=1)
    return {
        "ap": np.where(all_up > 0, np.einsum("bd,bd->b", up, precision) / all_up, np.nan),
        "eer": fpr[rows, at - 1] + step * (fpr[rows, at] - fpr[rows, at - 1]),
        "fpr95": np.where(all_up > 0, alarms[rows, accepted] / all_down, np.nan),
    }


def _rejected_positives(up: np.ndarray, down: np.ndarray, all_up: np.ndarray, all_down: np.ndarray) -> np.ndarray:
    """Share of positives at or below the lowest score at or below which 95 % of the negatives lie."""
    rejected, lost = np.cumsum(down[:, ::-1], axis=1), np.cumsum(up[:, ::-1], axis=1)  # from the lowest score on
    enough = np.argmax(rejected * 100 >= 95 * all_down[:, None], axis=1)
    return np.where(all_down > 0, lost[np.arange(len(up)), enough] / all_up, np.nan)
