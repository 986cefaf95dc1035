from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2, norm, t

from dfad_bench.metrics import detection, paired

seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.integers(1, 60))
def test_mcnemar_of_few_is_the_binomial_test_of_the_discordant(seed: int, rows: int) -> None:
    a, b = np.random.default_rng(seed).random((2, rows)) < 0.6
    found = paired.mcnemar(a, b)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    assert (found.only_a, found.only_b, found.exact) == (only_a, only_b, True)
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert found.p == pytest.approx(expected, abs=1e-12)


def test_mcnemar_of_many_is_chi_squared() -> None:
    a, b = np.repeat([True, False, True], [120, 80, 300]), np.repeat([False, True, True], [120, 80, 300])
    found = paired.mcnemar(a, b)
    assert not found.exact
    assert found.p == pytest.approx(chi2.sf((120 - 80) ** 2 / 200, 1))


@given(seeds)
def test_clustered_mcnemar_counts_out_every_sign(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clusters = rng.integers(0, 7, 30)
    a, b = rng.random((2, 30)) < 0.5
    sums = np.array([(a.astype(int) - b)[clusters == k].sum() for k in range(7)])
    totals = [abs(np.dot(signs, sums)) for signs in product((-1, 1), repeat=7)]
    expected = np.mean([total >= abs(sums.sum()) for total in totals])
    assert paired.mcnemar(a, b, clusters).p == pytest.approx(expected)


def test_copies_of_faces_do_not_make_a_difference_surer() -> None:
    a, b = np.array([1, 1, 1, 1, 0] * 4, bool), np.array([0, 0, 1, 1, 1] * 4, bool)
    once = paired.mcnemar(a, b)
    copied = paired.mcnemar(np.repeat(a, 10), np.repeat(b, 10), np.repeat(np.arange(20), 10))
    assert copied.p == pytest.approx(once.p)
    assert paired.mcnemar(np.repeat(a, 10), np.repeat(b, 10)).p < once.p  # what forgetting sources would claim


def brute_force(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """DeLong, DeLong and Clarke-Pearson 1988, equations as printed, by a double loop over pairs."""
    ups, downs = scores[:, labels == 1], scores[:, labels == 0]
    m, n = ups.shape[1], downs.shape[1]
    psi = np.array(
        [[[(x > y) + 0.5 * (x == y) for y in down] for x in up] for up, down in zip(ups, downs, strict=True)]
    )
    areas, v10, v01 = psi.mean(axis=(1, 2)), psi.mean(axis=2), psi.mean(axis=1)
    s10 = (v10 - areas[:, None]) @ (v10 - areas[:, None]).T / (m - 1)
    s01 = (v01 - areas[:, None]) @ (v01 - areas[:, None]).T / (n - 1)
    return areas, s10 / m + s01 / n


@given(seeds, st.integers(2, 12), st.integers(2, 12))
def test_delong_equals_the_printed_equations(seed: int, ups: int, downs: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([1, 0], [ups, downs]))
    scores = (rng.random((2, ups + downs)) + 0.3 * labels).round(1)
    areas, covariance = brute_force(labels, scores)
    found = paired.auc_covariance(labels, scores)
    assert found is not None
    np.testing.assert_allclose(found[0], areas, atol=1e-12)
    np.testing.assert_allclose(found[1], covariance, atol=1e-12)
    test = paired.delong(labels, scores[0], scores[1])
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    if test is not None and variance > 1e-20:
        assert test.p == pytest.approx(2 * norm.sf(abs(areas[0] - areas[1]) / np.sqrt(variance)))
        assert test.auc_a == pytest.approx(detection.auc(labels, scores[0]))


def test_delong_with_every_row_its_own_source_is_the_plain_one() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 60), rng.random((2, 60))
    assert paired.delong(labels, *scores, np.arange(60)) == pytest.approx(paired.delong(labels, *scores))


def test_delong_of_copied_faces_is_as_sure_as_of_the_originals() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([1, 0], 30)
    scores = rng.random((2, 60)) + 0.3 * labels
    once, copied = (
        paired.delong(labels, *scores),
        paired.delong(np.repeat(labels, 6), *np.repeat(scores, 6, axis=1), np.repeat(np.arange(60), 6)),
    )
    assert copied.standard_error == pytest.approx(once.standard_error, rel=1e-9)
    assert copied.p >= once.p  # Student's t instead of the normal


def test_p_values_are_uniform_where_models_are_equally_good() -> None:
    """Clustered rows, no difference: 5 % of the tests are below 0.05, about; without sources far more."""
    rng, naive, minded, shares = np.random.default_rng(2), [], [], []
    labels, sources = np.repeat([1, 0], 120), np.repeat(np.arange(40), 6)
    for _ in range(400):
        shared = rng.normal(size=(2, 40))[:, sources]
        scores = 0.8 * labels + shared + 0.5 * rng.normal(size=(2, 240))
        naive.append(paired.delong(labels, *scores).p)
        minded.append(paired.delong(labels, *scores, sources).p)
        right = (scores > 0.4) == labels
        shares.append(paired.mcnemar(*right, sources).p)
    assert 0.02 < np.mean(np.array(minded) < 0.05) < 0.085
    assert 0.015 < np.mean(np.array(shares) < 0.05) < 0.085
    assert np.mean(np.array(naive) < 0.05) > 0.2


def test_degenerate_areas() -> None:
    labels, perfect = np.array([1, 1, 0, 0]), np.array([0.9, 0.8, 0.2, 0.1])
    assert paired.delong(labels, perfect, perfect).p == 1.0
    assert paired.delong(labels, perfect, np.full(4, 0.5)).p == 2 / 6  # no spread at all, and not the same
    assert paired.delong(np.ones(4, int), perfect, perfect) is None
    assert paired.delong(np.array([1, 0, 0, 0]), perfect, perfect) is None
    with pytest.raises(ValueError, match="do not fit 3 labels"):
        paired.auc_covariance(np.array([1, 0, 1]), np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"two \(n,\) arrays"):
        paired.mcnemar(np.ones(3), np.ones(2))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_equals_its_definition(p_values: list[float]) -> None:
    adjusted = paired.holm(p_values)
    for level in (0.01, 0.05, 0.3):  # step down: reject while p_(k) <= level / (m - k + 1)
        rejected = set()
        for k, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
            if p_values[place] * (len(p_values) - k) > level:
                break
            rejected.add(place)
        assert {i for i, p in enumerate(adjusted) if p <= level} == rejected
    assert max(adjusted) <= 1


def test_areas_without_spread_are_told_by_their_values() -> None:
    labels, scores = np.repeat([0, 1], 5), np.arange(10.0)
    exact = ("permutation exact", 252)  # ways to deal five labels to ten faces; two of them are as far apart
    assert paired.delong(labels, scores, -scores) == (1.0, 0.0, 0.0, 2 / 252, *exact)
    assert paired.delong(labels, -scores, scores) == (0.0, 1.0, 0.0, 2 / 252, *exact)
    assert paired.delong(labels, scores, 2 * scores)[:4] == (1.0, 1.0, 0.0, 1.0)


@pytest.mark.parametrize("shapes", [((2, 3), (2, 3)), ((3,), (4,)), ((), ())])
def test_mcnemar_takes_two_arrays_of_one_length(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"two \(n,\) arrays"):
        paired.mcnemar(np.ones(shapes[0]), np.ones(shapes[1]))


@pytest.mark.parametrize("seed", range(3))
def test_covariance_of_clustered_areas_equals_obuchowskis_sums(seed: int) -> None:
    """Biometrics 53, 1997, equations by plain loops; clusters hold rows of both classes."""
    rng = np.random.default_rng(seed)
    labels, clusters = rng.integers(0, 2, 40), rng.integers(0, 9, 40)
    scores = rng.random((2, 40)).round(1)
    areas, covariance = paired.auc_covariance(labels, scores, clusters)
    ups, downs = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    m, n = len(ups), len(downs)
    x = np.zeros((2, 9))  # summed components of positives less the area, by cluster
    y = np.zeros((2, 9))
    for k in range(2):
        win = [[(scores[k, i] > scores[k, j]) + 0.5 * (scores[k, i] == scores[k, j]) for j in downs] for i in ups]
        assert areas[k] == pytest.approx(np.mean(win))
        for place, i in enumerate(ups):
            x[k, clusters[i]] += np.mean(win[place]) - areas[k]
        for place, j in enumerate(downs):
            y[k, clusters[j]] += np.mean([row[place] for row in win]) - areas[k]
    with_up, with_down = len(set(clusters[ups])), len(set(clusters[downs]))
    every = len(set(clusters))
    for a in range(2):
        for b in range(2):
            s10 = with_up / (with_up - 1) * sum(x[a] * x[b]) / m**2
            s01 = with_down / (with_down - 1) * sum(y[a] * y[b]) / n**2
            s11 = every / (every - 1) * (sum(x[a] * y[b]) + sum(x[b] * y[a])) / (m * n)
            assert covariance[a, b] == pytest.approx(s10 + s01 + s11)


@pytest.mark.parametrize("ups", [6, 12])
def test_areas_of_few_sources_are_compared_with_students_t(ups: int) -> None:
    """One degree of freedom less than there are sources of the rarer class."""
    rng = np.random.default_rng(3)
    labels = np.repeat([1, 0], [2 * ups, 40])
    sources = np.concatenate([np.arange(2 * ups) // 2, 100 + np.arange(40) // 2])
    scores = rng.random((2, len(labels))) + 0.2 * labels
    found = paired.delong(labels, *scores, sources)
    statistic = abs(found.auc_a - found.auc_b) / found.standard_error
    assert found.p == pytest.approx(2 * t.sf(statistic, min(ups, 20) - 1))


def test_signs_are_counted_out_up_to_a_hundred_sources() -> None:
    for discordant, exact in ((paired.EXACT_UP_TO, True), (paired.EXACT_UP_TO + 1, False)):
        assert paired.mcnemar(np.ones(discordant), np.zeros(discordant)).exact is exact
