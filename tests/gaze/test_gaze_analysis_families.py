from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import permutation_test, spearmanr

from dfad_bench.gaze import claims
from dfad_bench.gaze.analysis import GazeReport
from dfad_bench.gaze.claims import ALL, STRATIFIED, check_claims
from dfad_bench.gaze.compare import rank_agreement
from dfad_bench.gaze.families import group_generators, rows_with_enough_faces
from dfad_bench.gaze.fid import FidStudy
from dfad_bench.gaze.pairs import NO_TARGET, Mean, PairStudy
from dfad_bench.gaze.rows import GeneratorGaze


def generator(
    name: str, family: str, fid: float | None, *, forgery: str = "FS", n: int = 60, cosine: float | None = None
) -> GeneratorGaze:
    mean = None if cosine is None else Mean(cosine, cosine, cosine)
    pairs = PairStudy(0 if mean is None else n, verdict="" if mean else NO_TARGET, cosine_2d=mean, angle_rad=mean)
    study = FidStudy(n, fid_rad2=fid, unbiased_rad2=fid, debiased_rad2=fid, sources_effective=n)
    return GeneratorGaze("toy", name, forgery, family, "toy", n, 0, 0.0, 0.0, study, pairs)


def family_rows(gan: list[float], diffusion: list[float], forgery: str = "FS") -> list[GeneratorGaze]:
    sides = (("gan", gan), ("diffusion", diffusion))
    return [
        generator(f"{forgery}-{side}-{i}", side, fid, forgery=forgery) for side, f in sides for i, fid in enumerate(f)
    ]


def test_p_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        gan, diffusion = rng.exponential(1.2, 5), rng.exponential(1.0, 4)
        claim = check_claims(family_rows(list(gan), list(diffusion)))[0]
        expected = permutation_test(
            (gan, diffusion), lambda a, b: a.mean() - b.mean(), alternative="greater", n_resamples=np.inf
        )
        assert (claim.scope, claim.exact, claim.assignments) == (ALL, True, 126)
        assert claim.p == pytest.approx(expected.pvalue)
        assert claim.difference == pytest.approx(expected.statistic)


def test_over_all_dealings_p_takes_every_value_once() -> None:
    """What makes it a test of level alpha whatever the distances are."""
    fids = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    found = []
    for chosen in combinations(range(6), 3):
        rest = [fids[i] for i in range(6) if i not in chosen]
        found.append(check_claims(family_rows([fids[i] for i in chosen], rest))[0].p)
    np.testing.assert_allclose(sorted(found), np.arange(1, 21) / 20)


def test_drawn_p_is_near_the_exact_one_and_never_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = family_rows([3.0, 5.0, 6.0, 9.0, 4.0], [1.0, 4.5, 2.0, 3.5, 0.5])
    exact = check_claims(rows)[0]
    monkeypatch.setattr(claims, "MOST_ASSIGNMENTS", 10)
    drawn, again, other = (check_claims(rows, seed=seed)[0] for seed in (0, 0, 1))
    assert not drawn.exact
    assert drawn.p == again.p
    assert drawn.p != other.p
    assert drawn.p == pytest.approx(exact.p, abs=4 * np.sqrt(exact.p / claims.DRAWS))
    far = check_claims(family_rows(list(range(100, 106)), list(range(6))))[0]
    assert far.p >= 1 / (1 + claims.DRAWS)


def test_differences_between_forgery_types_do_not_count_within_types() -> None:
    """GANs only where distances are large anyway: the claim seems to hold over all, and not within types."""
    rows = family_rows([10.0, 10.2, 10.4, 10.6], [10.5], "FS") + family_rows([1.0], [1.1, 0.9, 1.3, 0.8], "EFS")
    tests = {test.scope: test for test in check_claims(rows)}
    assert list(tests) == [ALL, STRATIFIED, "within EFS", "within FS"]
    assert tests[ALL].p < 0.1
    within = tests[STRATIFIED]
    assert within.p > 0.4
    assert within.assignments == 25
    weights = np.array([0.8, 0.8])
    by_type = [tests["within FS"].difference, tests["within EFS"].difference]
    assert within.difference == pytest.approx(np.average(by_type, weights=weights))


def test_stratified_p_is_that_of_a_plain_double_loop() -> None:
    strata = {"EFS": ([3.0, 1.0], [2.0, 0.5]), "AM": ([5.0, 6.5], [6.0])}
    rows = [row for name, (gan, diffusion) in strata.items() for row in family_rows(gan, diffusion, name)]
    claim = next(claim for claim in check_claims(rows) if claim.scope == STRATIFIED)
    efs, am = [3.0, 1.0, 2.0, 0.5], [5.0, 6.5, 6.0]
    totals = [sum(a) + sum(b) for a in combinations(efs, 2) for b in combinations(am, 2)]
    assert claim.p == pytest.approx(np.mean(np.array(totals) >= 15.5))


@pytest.mark.parametrize(
    ("gan", "diffusion", "verdict"),
    [
        ([9.0, 8.0, 7.0, 6.0], [1.0, 2.0, 3.0], "as claimed"),
        ([1.0, 2.0, 3.0], [9.0, 8.0, 7.0, 6.0], "not as claimed"),
        ([1.0, 9.0, 3.0, 4.0], [2.0, 5.0, 3.5, 3.0], "undecided"),
        ([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0], "distances do not differ"),  # all below their sampling bias
        ([0.1 + 0.2, 0.3, 0.3], [0.3, 0.3, 0.3], "distances do not differ"),
        ([9.0, 8.0], [1.0, 2.0], "too few generators to tell"),
        ([], [1.0, 2.0], "no gan generator with enough faces"),
        ([1.0], [], "no diffusion generator with enough faces"),
    ],
)
def test_verdicts(gan: list[float], diffusion: list[float], verdict: str) -> None:
    (claim,) = check_claims(family_rows(gan, diffusion))
    assert (claim.verdict, claim.gan, claim.diffusion) == (verdict, len(gan), len(diffusion))
    assert (claim.p is None) == verdict.startswith("no ")
    if claim.p is not None:
        assert claim.smallest_p <= claim.p <= 1


def test_ties_count_against_the_claim() -> None:
    (claim,) = check_claims(family_rows([0.1 + 0.2, 0.3, 0.3], [0.3, 0.3, 0.3]))
    assert claim.p == 1


def test_a_generator_of_two_datasets_is_one() -> None:
    rows = family_rows([3.0, 5.0], [1.0])
    twice = [
        *rows,
        GeneratorGaze(
            **{
                **vars(rows[0]),
                "dataset": "other",
                "fid": FidStudy(60, 7.0, 7.0, debiased_rad2=7.0, sources_effective=60),
            }
        ),
    ]
    (claim,) = check_claims(twice)
    assert claim.gan == 2
    assert claim.difference == pytest.approx((5.0 + 5.0) / 2 - 1.0)


def test_groups_are_plain_means_of_generators_with_enough_faces() -> None:
    rows = [
        generator("a", "gan", 4.0, cosine=0.8),
        generator("b", "diffusion", 2.0, cosine=0.4),
        generator("c", "gan", 1.0, forgery="EFS"),
        generator("tiny", "gan", 99.0, n=5),
        generator("none", "gan", None, n=0),
    ]
    assert [row.generator for row in rows_with_enough_faces(rows)] == ["a", "b", "c"]
    found = {(group.forgery, group.family): group for group in group_generators(rows)}
    assert list(found) == [("EFS", ""), ("FS", ""), ("", "gan"), ("", "diffusion"), ("FS", "gan"), ("FS", "diffusion")]
    gan = found["", "gan"]
    assert (gan.generators, gan.fid_rad2, gan.lowest_rad2, gan.highest_rad2) == (2, 2.5, 1.0, 4.0)
    assert (gan.with_pairs, gan.cosine_2d) == (1, 0.8)
    assert found["FS", ""].cosine_2d == pytest.approx(0.6)
    assert found["EFS", ""].cosine_2d is None
    assert group_generators([]) == ()


def test_where_all_are_small_half_the_largest_is_enough() -> None:
    rows = [generator("a", "gan", 4.0, n=12), generator("b", "diffusion", 2.0, n=6), generator("c", "gan", 9.0, n=5)]
    assert [row.generator for row in rows_with_enough_faces(rows)] == ["a", "b"]


def report_of(fids: dict[str, float | None], cosines: dict[str, float] | None = None) -> GazeReport:
    rows = tuple(generator(name, "gan", fid, cosine=(cosines or {}).get(name)) for name, fid in fids.items())
    return GazeReport(rows, PairStudy(0), (), {})


def test_rank_agreement_is_spearmans_over_what_both_have() -> None:
    first = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 9.0, "e": None}
    second = {"a": 5.0, "b": 20.0, "c": 7.0, "d": 30.0, "e": 1.0}
    fid, cosine = rank_agreement({"one": report_of(first), "two": report_of(second)})
    assert (fid.first, fid.second, fid.measure, fid.generators) == ("one", "two", "fid", 4)
    assert fid.spearman == pytest.approx(spearmanr([1, 2, 3, 9], [5, 20, 7, 30]).statistic)
    assert (cosine.measure, cosine.generators, cosine.spearman) == ("cosine_2d", 0, None)


def test_rank_agreement_of_three_estimators_and_where_it_is_undefined() -> None:
    up, down = {"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 3.0, "b": 2.0, "c": 1.0}
    flat = dict.fromkeys("abc", 1.0)
    found = rank_agreement({"up": report_of(up), "down": report_of(down), "flat": report_of(flat)})
    assert [f.spearman for f in found if f.measure == "fid"] == [pytest.approx(-1), None, None]
    two = rank_agreement({"up": report_of({"a": 1.0, "b": 2.0}), "down": report_of({"a": 2.0, "b": 1.0})})
    assert (two[0].generators, two[0].spearman) == (2, None)
