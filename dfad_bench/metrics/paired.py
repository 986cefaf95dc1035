"""Is one model better than another on the same faces? Paired tests, and Holm's correction over several of them.

Faces of one source are not independent. With `clusters`, both tests work on sums over sources; where every face has
a source of its own they are McNemar's and DeLong's tests as published.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import accumulate
from math import erfc, sqrt
from typing import Literal, NamedTuple

import numpy as np

from dfad_bench.metrics.permutation import permutation_test

EXACT_UP_TO = 100  # discordant sources; beyond, the normal approximation
_LEAST = sys.float_info.min  # a smaller p-value would be stored as 0, which none is
_NO_SPREAD = 1e-12


class McNemar(NamedTuple):
    """Rows only A has right, rows only B has right, the two-sided p-value, and whether it is exact."""

    only_a: int
    only_b: int
    p: float
    exact: bool


def mcnemar(right_a: np.ndarray, right_b: np.ndarray, clusters: np.ndarray | None = None) -> McNemar:
    """McNemar's test of two models' shares of right rows (Psychometrika 12, 1947).

    The sums over clusters of (A right) - (B right) have either sign with equal chance if the models are equally
    good. Up to `EXACT_UP_TO` sums that are not 0 every combination of signs is counted; without clusters that is the
    binomial test of the discordant rows. Beyond, (sum)^2 / (sum of squares) is compared with chi-squared with one
    degree of freedom (McNemar without clusters; Obuchowski, Statistics in Medicine 17, 1998, with them).

    Args:
        right_a: (n,) bool, A has the row right.
        right_b: the same of B.
        clusters: (n,) source of each row.

    >>> mcnemar(np.array([1, 1, 1, 1, 1, 0]), np.array([0, 0, 0, 0, 0, 0])).p
    0.0625
    """
    a, b = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"two (n,) arrays are needed, got {a.shape} and {b.shape}")
    sums = a.astype(int) - b.astype(int)
    if clusters is not None:
        _, member = np.unique(np.asarray(clusters), return_inverse=True)
        sums = np.bincount(member, weights=sums).round().astype(int)
    sums = sums[sums != 0]
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    if len(sums) <= EXACT_UP_TO:
        return McNemar(only_a, only_b, _sign_flips(sums), True)
    return McNemar(only_a, only_b, max(erfc(abs(sums.sum()) / sqrt(2 * (sums**2).sum())), _LEAST), False)


class DeLong(NamedTuple):
    """Two areas under the curve, the standard error of their difference, the two-sided p-value, and what gave it.

    `assignments`: of labels, over which a permutation test counted.
    """

    auc_a: float
    auc_b: float
    standard_error: float
    p: float
    test: Literal["delong", "permutation exact", "permutation"] = "delong"
    assignments: int | None = None


def delong(
    labels: np.ndarray, scores_a: np.ndarray, scores_b: np.ndarray, clusters: np.ndarray | None = None
) -> DeLong | None:
    """DeLong's test of two areas under the ROC curve on the same rows (Biometrics 44, 1988).

    With `clusters` the covariance is Obuchowski's (Biometrics 53, 1997), and where some hold several rows the
    difference is compared with Student's t with one degree of freedom less than there are clusters of the rarer class,
    since the spread of few sources is not well known. Where the variance is zero and the areas differ, as of a perfect
    and a constant model, it says nothing about chance, and p is that of `permutation_test`. None where one class has
    fewer than two rows or clusters.

    Args:
        labels: (n,) 1 or 0.
        scores_a: (n,) scores of model A; ties count a half.
        scores_b: the same of B.
        clusters: (n,) source of each row.
    """
    found = auc_covariance(labels, np.stack([scores_a, scores_b]), clusters)
    if found is None:
        return None
    areas, covariance = found
    variance = max(float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]), 0.0)
    difference, error = float(areas[0] - areas[1]), sqrt(variance)
    if error < _NO_SPREAD:
        return _without_spread(labels, scores_a, scores_b, clusters, areas)
    counted = 0 if clusters is None else len(np.unique(np.asarray(clusters)))
    if counted in (0, len(scores_a)):
        p = max(erfc(abs(difference) / error / sqrt(2)), _LEAST)
        return DeLong(float(areas[0]), float(areas[1]), error, p)
    from scipy.special import stdtr  # scipy.stats takes a second or more to import

    p = max(float(2 * stdtr(fewest_of_a_class(labels, clusters) - 1, -abs(difference) / error)), _LEAST)
    return DeLong(float(areas[0]), float(areas[1]), error, p)


def _without_spread(
    labels: np.ndarray, scores_a: np.ndarray, scores_b: np.ndarray, clusters: np.ndarray | None, areas: np.ndarray
) -> DeLong:
    """DeLong's result where the variance of the difference is zero."""
    a, b = map(float, areas)
    if abs(a - b) < _NO_SPREAD:  # the same ranking, or two perfect ones
        return DeLong(a, b, 0.0, 1.0)
    found = permutation_test(labels, scores_a, scores_b, clusters)
    assert found is not None  # both classes have two rows
    return DeLong(a, b, 0.0, found.p, "permutation exact" if found.exact else "permutation", found.assignments)


def fewest_of_a_class(labels: np.ndarray, clusters: np.ndarray | None = None) -> int:
    """How many clusters the class of fewer of them has: labels (n,) 1 or 0, clusters (n,), default every row its own.

    >>> fewest_of_a_class(np.array([1, 1, 1, 0, 0]), np.array([0, 0, 1, 2, 3]))
    2
    """
    positive = np.asarray(labels) == 1
    names = np.arange(len(positive)) if clusters is None else np.asarray(clusters)
    return min(len(np.unique(names[side])) for side in (positive, ~positive))


def auc_covariance(
    labels: np.ndarray, scores: np.ndarray, clusters: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray] | None:
    """Areas under the ROC curve (r,) of several scores on the same rows, and their covariance (r, r).

    None where a class has fewer than two rows (or clusters), whose spread is not defined.

    Args:
        labels: (n,) 1 or 0.
        scores: (r, n).
        clusters: (n,) source of each row; default every row its own.
    """
    positive, scores = np.asarray(labels) == 1, np.atleast_2d(np.asarray(scores, dtype=float))
    if scores.shape[1:] != positive.shape:
        raise ValueError(f"scores {scores.shape} do not fit {len(positive)} labels")
    m, n = int(positive.sum()), int((~positive).sum())
    names = np.arange(len(positive)) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    groups = [len(np.unique(names[side])) for side in (positive, ~positive)]
    if min(groups) < 2:
        return None
    above, below = _components(positive, scores)  # (r, m), (r, n)
    areas = above.mean(axis=1)
    count = int(names.max()) + 1
    x = np.stack([np.bincount(names[positive], row, count) for row in above - areas[:, None]])
    y = np.stack([np.bincount(names[~positive], row, count) for row in below - areas[:, None]])
    total = len(np.unique(names))
    s10 = groups[0] / (groups[0] - 1) * (x @ x.T) / m**2
    s01 = groups[1] / (groups[1] - 1) * (y @ y.T) / n**2
    s11 = total / (total - 1) * (x @ y.T) / (m * n)
    return areas, s10 + s01 + s11 + s11.T


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction (1979): each p-value adjusted for the number of tests in the family.

    None (no test was possible) stays None and does not count.

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    raised = (min(1.0, p * (len(known) - rank)) for rank, (p, _) in enumerate(known))
    adjusted = dict(zip((place for _, place in known), accumulate(raised, max), strict=True))
    return [adjusted.get(place) for place in range(len(p_values))]


def least_p(sources: int) -> float:
    """The least that exchanging two models source by source could show: p of a test is never below it.

    >>> least_p(3)
    0.25
    """
    return float(min(1.0, 2.0 ** (1 - sources)))


def _sign_flips(sums: np.ndarray) -> float:
    """P(|sum with random signs| >= |sum|), by counting every combination of signs."""
    reach = int(np.abs(sums).sum())
    chances = np.zeros(2 * reach + 1)  # of the sum, from -reach to reach
    chances[reach] = 1.0
    for size in np.abs(sums):
        chances = (np.roll(chances, size) + np.roll(chances, -size)) / 2  # never wraps: reach is the sum of sizes
    totals = np.arange(-reach, reach + 1)
    return float(min(1.0, chances[np.abs(totals) >= abs(int(sums.sum()))].sum()))


def _components(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of negatives below each positive (r, m), and of positives above each negative (r, n); ties a half."""
    above, below = [], []
    for row in scores:
        ups, downs = np.sort(row[positive]), np.sort(row[~positive])
        left, right = (np.searchsorted(downs, row[positive], side) for side in ("left", "right"))
        above.append((left + right) / 2 / len(downs))
        left, right = (np.searchsorted(ups, row[~positive], side) for side in ("left", "right"))
        below.append(1 - (left + right) / 2 / len(ups))
    return np.stack(above), np.stack(below)
