"""An exact test for where a spread cannot be estimated: labels dealt anew to the sources, all ways counted.

A variance of zero says that these few faces do not vary, not that the difference is certain. How often labels dealt
at random give a difference as large needs no variance.
"""

from __future__ import annotations

from math import comb
from typing import NamedTuple

import numpy as np

MOST_ASSIGNMENTS = 100_000  # up to this number all are counted, above it they are drawn
DRAWS = 9_999
_CELLS = 4_000_000  # random numbers drawn at once
_EQUAL = 1e-9  # relative to the observed difference


class Permutation(NamedTuple):
    """A two-sided p-value, the assignments of labels it was counted over, and whether these are all there are."""

    p: float
    assignments: int
    exact: bool


def permutation_test(
    labels: np.ndarray,
    scores_a: np.ndarray,
    scores_b: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    seed: int = 0,
) -> Permutation | None:
    """Permutation test of two areas under the ROC curve on the same rows: labels dealt anew, scores as they are.

    If neither model's scores tell the classes apart, each way of dealing the labels is equally likely; p is the share
    of those in which the areas differ as much as they do. A source keeps its rows together: labels are dealt to sources
    of one class, and in a source of both classes they are swapped or not. Up to `MOST_ASSIGNMENTS` ways are counted
    one by one, otherwise `DRAWS` are drawn and p is at least 1 / (DRAWS + 1) (Phipson and Smyth, 2010).

    Args:
        labels: (n,) 1 or 0.
        scores_a: (n,) scores of model A; ties count a half.
        scores_b: the same of B.
        clusters: (n,) source of each row; default every row its own.
        seed: of the draws.

    Returns:
        None where a class has no rows.

    >>> p, assignments, _ = permutation_test(np.array([1, 1, 0, 0]), np.array([4, 3, 2, 1]), np.zeros(4))
    >>> round(p, 3), assignments  # perfect against constant: two of six ways
    (0.333, 6)
    """
    positive = np.asarray(labels) == 1
    if not positive.any() or positive.all():
        return None
    gains = _midranks(scores_a) - _midranks(scores_b)  # the areas' difference is a sum of these over positives
    names = np.arange(len(positive)) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    sums = np.stack([np.bincount(names[side], gains[side], names.max() + 1) for side in (positive, ~positive)])
    sizes = np.stack([np.bincount(names[side], minlength=names.max() + 1) for side in (positive, ~positive)])
    mixed = (sizes > 0).all(axis=0)
    pure_sums, pure_sizes = sums[:, ~mixed].sum(axis=0), sizes[:, ~mixed].sum(axis=0)
    chosen = int((sizes[0, ~mixed] > 0).sum())
    ways = comb(len(pure_sums), chosen) * 2 ** int(mixed.sum())
    random = None if ways <= MOST_ASSIGNMENTS else np.random.default_rng(seed)
    total, count = _deal_sources(pure_sums, pure_sizes, chosen, random)
    total, count = _swapped(total, count, sums[:, mixed], sizes[:, mixed], random)
    n = len(positive)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.abs(total) / (count * (n - count))
    observed = abs(gains[positive].sum()) / (positive.sum() * (~positive).sum())
    reached = int((found >= observed * (1 - _EQUAL)).sum())  # no row of a class: NaN, and not reached
    if random is None:
        return Permutation(reached / ways, ways, True)
    return Permutation((1 + reached) / (1 + DRAWS), DRAWS, False)


def _deal_sources(
    sums: np.ndarray, sizes: np.ndarray, chosen: int, random: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """Sum of gains and number of positive rows, where `chosen` of the sources of one class are the positive ones."""
    if 2 * chosen > len(sums):  # fewer combinations on the way where the smaller class is chosen
        total, count = _deal_sources(sums, sizes, len(sums) - chosen, random)
        return sums.sum() - total, sizes.sum() - count
    if random is not None:
        return _drawn(sums, sizes, chosen, random)
    totals, counts = {0: np.zeros(1)}, {0: np.zeros(1, dtype=np.int64)}  # by number of positive sources so far
    for gain, size in zip(sums, sizes, strict=True):
        for k in sorted(totals, reverse=True):
            if k < chosen:
                totals[k + 1] = np.concatenate([totals.get(k + 1, np.zeros(0)), totals[k] + gain])
                counts[k + 1] = np.concatenate([counts.get(k + 1, np.zeros(0, dtype=np.int64)), counts[k] + size])
    return totals[chosen], counts[chosen]


def _drawn(
    sums: np.ndarray, sizes: np.ndarray, chosen: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The same for `DRAWS` random choices."""
    totals, counts = [], []
    step = max(1, _CELLS // max(len(sums), 1))
    for begin in range(0, DRAWS, step):
        keys = random.random((min(step, DRAWS - begin), len(sums)))
        positive_sources = (
            np.argpartition(keys, chosen - 1, axis=1)[:, :chosen] if chosen else np.zeros((len(keys), 0), int)
        )
        totals.append(sums[positive_sources].sum(axis=1))
        counts.append(sizes[positive_sources].sum(axis=1))
    return np.concatenate(totals), np.concatenate(counts)


def _swapped(
    total: np.ndarray, count: np.ndarray, sums: np.ndarray, sizes: np.ndarray, random: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """The same with the labels of each source of both classes, `sums` and `sizes` (2, sources), swapped or not."""
    for (own, other), (own_rows, other_rows) in zip(sums.T, sizes.T, strict=True):
        if random is None:
            total = np.concatenate([total + own, total + other])
            count = np.concatenate([count + own_rows, count + other_rows])
        else:
            kept = random.random(DRAWS) < 0.5
            total = total + np.where(kept, own, other)
            count = count + np.where(kept, own_rows, other_rows)
    return total, count


def _midranks(scores: np.ndarray) -> np.ndarray:
    """Rank of each score from 1, ties sharing the mean of theirs."""
    _, place, counts = np.unique(np.asarray(scores, dtype=float), return_inverse=True, return_counts=True)
    ranks: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks
