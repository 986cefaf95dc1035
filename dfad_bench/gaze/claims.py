"""Claims of papers about families of generators, tested over generators: a table of claims, and the test.

The unit of such a claim is the generator, not the face, so the test deals families anew to the generators. It is
two-sided, and its p-values are Holm's over all claims and scopes: none is called right or wrong on a difference that
chance gives as often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.core.labels import ForgeryType
from dfad_bench.gaze.families import debiased_distance, rows_with_enough_faces
from dfad_bench.metrics.paired import holm

if TYPE_CHECKING:
    from dfad_bench.gaze.rows import ComparedGenerator, GeneratorGaze

SIGNIFICANT = 0.05
MOST_HEADS = 0.5  # of the faces of a generator may have the direction of the head for a gaze, in a claim on gaze
MOST_ASSIGNMENTS = 100_000  # up to this number all are enumerated, above it they are sampled
DRAWS = 9_999
ALL = "all generators"
STRATIFIED = "within forgery types"
_EQUAL = 1e-12  # relative to the sum of the distances
_ALIKE = "distances do not differ"


@dataclass(frozen=True)
class Claim:
    """One family is nearer to real faces than another, by some distance of each generator (of gaze: square radians).

    Args:
        name: in records.
        paper: where it is printed.
        nearer: family with the lower distance: diffusion or gan, which `ClaimTest` counts.
        farther: the other one.
        distance: of a generator that is studied.
        admits: whether a generator's distance measures what the claim is about.
    """

    name: str
    paper: str
    nearer: str
    farther: str
    distance: Callable[[ComparedGenerator], float] = debiased_distance
    admits: Callable[[Any], bool] = lambda row: True


@dataclass(frozen=True)
class ClaimTest:
    """Permutation test of a claim over some generators.

    `difference` is farther minus nearer family (GAN minus diffusion for gaze), above 0 if as claimed (over several
    forgery types: the mean of their differences, weighted by information). `assignments` is the number of distinct
    ways to assign the two families to the generators. `p` and `smallest_p`, the least it can be, are one-sided;
    the verdict follows from `p_holm`, which is two-sided.
    """

    scope: str
    diffusion: int  # generators
    gan: int
    verdict: str
    difference: float | None = None
    p: float | None = None
    smallest_p: float | None = None
    assignments: int = 0
    exact: bool = True
    claim: str = ""
    p_two_sided: float | None = None
    smallest_p_two_sided: float | None = None
    p_holm: float | None = None  # over the scopes and claims that have generators enough
    left_out: tuple[str, ...] = ()  # generators of either family that the claim does not admit


def gaze_is_eyes(row: GeneratorGaze) -> bool:
    """Whether most of a generator's gaze is that of eyes; unknown without flags, and then taken for it."""
    return row.head_only is None or row.head_only <= MOST_HEADS


CLAIMS = (Claim("gaze-fid", "GazeCLIP, Fig. 1", "diffusion", "gan", admits=gaze_is_eyes),)


@dataclass(frozen=True)
class _Unit:
    """One generator: mean over the datasets that have it."""

    forgery: str
    family: str
    distance: float


def check_claims(
    rows: Sequence[ComparedGenerator], *, claims: Sequence[Claim] = CLAIMS, seed: int = 0
) -> tuple[ClaimTest, ...]:
    """Every claim over all generators, within each forgery type that has both families, and within types together.

    Args:
        rows: rows of a study; those with few faces or sources are left out (`families.rows_with_enough_faces`).
        claims: what is tested; all of them are one family of Holm's correction.
        seed: of the assignments that are drawn where there are too many.
    """
    tests = [test for claim in claims for test in _scopes(claim, rows_with_enough_faces(rows), seed)]
    possible = [test.p_two_sided if _may_decide(test) else None for test in tests]
    return tuple(_judged(test, p) for test, p in zip(tests, holm(possible), strict=True))


def _scopes(claim: Claim, rows: Sequence[ComparedGenerator], seed: int) -> list[ClaimTest]:
    admitted = [row for row in rows if claim.admits(row)]
    either = (claim.nearer, claim.farther)
    left = sorted({row.generator for row in rows if row.family in either} - {row.generator for row in admitted})
    units = list(_units(claim, admitted))
    strata = {kind.value: [unit for unit in units if unit.forgery == kind.value] for kind in ForgeryType}
    both = {name: of for name, of in strata.items() if {unit.family for unit in of} == set(either)}
    tests = [_permutation_test(claim, ALL, [units], seed)]
    if len(both) > 1:
        tests.append(_permutation_test(claim, STRATIFIED, list(both.values()), seed))
    if len({unit.forgery for unit in units}) > 1:
        tests += [_permutation_test(claim, f"within {name}", [of_type], seed) for name, of_type in both.items()]
    return [replace(test, left_out=tuple(left)) for test in tests]


def _units(claim: Claim, rows: Sequence[ComparedGenerator]) -> Iterator[_Unit]:
    either = (claim.nearer, claim.farther)
    names = dict.fromkeys((r.generator, r.forgery, r.family) for r in rows if r.family in either)
    for generator, forgery, family in sorted(names):
        of_name = [r for r in rows if (r.generator, r.forgery, r.family) == (generator, forgery, family)]
        yield _Unit(forgery, family, float(np.mean([claim.distance(row) for row in of_name])))


def _permutation_test(claim: Claim, scope: str, strata: list[list[_Unit]], seed: int) -> ClaimTest:
    """Permute the families within each stratum, and compare the total of the farther family's distances."""
    values = [np.array([unit.distance for unit in stratum]) for stratum in strata]
    of_farther = [np.array([unit.family == claim.farther for unit in stratum], dtype=bool) for stratum in strata]
    many = sum(int(mask.sum()) for mask in of_farther)
    counts: dict[str, Any] = {claim.nearer: sum(map(len, values)) - many, claim.farther: many}
    if not all(counts.values()):
        absent = " and no ".join(name for name, count in counts.items() if not count)
        return ClaimTest(scope, **counts, verdict=f"no {absent} generator with enough faces", claim=claim.name)
    assignments = prod(comb(len(mask), int(mask.sum())) for mask in of_farther)
    exact = assignments <= MOST_ASSIGNMENTS
    observed = sum(float(of[mask].sum()) for of, mask in zip(values, of_farther, strict=True))
    expected = sum(float(of.mean()) * int(mask.sum()) for of, mask in zip(values, of_farther, strict=True))
    totals = (
        _all_totals(values, of_farther)
        if exact
        else _drawn_totals(values, of_farther, np.random.default_rng([seed, 6]))
    )
    room = _EQUAL * max(sum(float(np.abs(of).sum()) for of in values), 1e-300)
    above = int((totals >= observed - room).sum())
    beyond = int((np.abs(totals - expected) >= abs(observed - expected) - room).sum())
    # with as many of either family in each stratum, every assignment has a mirror image as far out
    sides = 2 if exact and all(2 * int(mask.sum()) == len(mask) for mask in of_farther) else 1
    drawn = 0 if exact else 1  # the observed assignment counts among the drawn ones
    all_totals = len(totals) + drawn
    alike = all(float(np.ptp(of)) <= _EQUAL * max(float(np.abs(of).max()), 1e-300) for of in values)
    return ClaimTest(
        scope, **counts, verdict=_ALIKE if alike else "", difference=_difference(values, of_farther),
        p=(above + drawn) / all_totals,
        smallest_p=1 / all_totals, assignments=assignments, exact=exact, claim=claim.name,
        p_two_sided=(beyond + drawn) / all_totals, smallest_p_two_sided=sides / all_totals,
    )  # fmt: skip


def _may_decide(test: ClaimTest) -> bool:
    """Whether some assignment could be significant; the others are no tests, and do not count in the correction."""
    return test.smallest_p_two_sided is not None and test.smallest_p_two_sided <= SIGNIFICANT


def _judged(test: ClaimTest, p_holm: float | None) -> ClaimTest:
    if test.p is None or test.difference is None or test.verdict == _ALIKE:
        return test
    if p_holm is None:
        return replace(test, verdict="too few generators to tell")
    decided = "as claimed" if test.difference > 0 else "not as claimed"
    return replace(test, p_holm=p_holm, verdict=decided if p_holm <= SIGNIFICANT else "undecided")


def _difference(values: list[np.ndarray], of_farther: list[np.ndarray]) -> float:
    """Mean of the farther less mean of the nearer family, strata weighted by g d / (g + d).

    With these weights the sum over strata is the total of the farther family's distances plus a constant, so ordering
    permutations by that total orders them by this difference.
    """
    differences = [float(of[mask].mean() - of[~mask].mean()) for of, mask in zip(values, of_farther, strict=True)]
    weights = [int(mask.sum()) * int((~mask).sum()) / len(mask) for mask in of_farther]
    return float(np.average(differences, weights=weights))


def _all_totals(values: list[np.ndarray], of_farther: list[np.ndarray]) -> np.ndarray:
    totals = np.zeros(1)
    for of, mask in zip(values, of_farther, strict=True):
        sums = np.array([of[list(chosen)].sum() for chosen in combinations(range(len(of)), int(mask.sum()))])
        totals = (totals[:, None] + sums).ravel()
    return totals


def _drawn_totals(values: list[np.ndarray], of_farther: list[np.ndarray], random: np.random.Generator) -> np.ndarray:
    totals = np.zeros(DRAWS)
    for of, mask in zip(values, of_farther, strict=True):
        shuffled = random.permuted(np.tile(of, (DRAWS, 1)), axis=1)
        totals += shuffled[:, : int(mask.sum())].sum(axis=1)
    return totals
