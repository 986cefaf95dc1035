"""Generators grouped by forgery type and family, and the paper's claim that diffusion is nearer to real than GAN.

GazeCLIP (Fig. 1, Introduction) concludes from its figure that the FID of diffusion-made gaze is lower than that of
GAN-made gaze. The unit of that claim is the generator, not the face, so the test permutes families over generators.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.core.labels import Family, ForgeryType

if TYPE_CHECKING:
    from dfad_bench.gaze.rows import GeneratorGaze

ENOUGH_FACES = 50  # a generator with fewer does not limit the number of faces of the others
SIGNIFICANT = 0.05
MOST_ASSIGNMENTS = 100_000  # up to this number all are enumerated, above it they are sampled
DRAWS = 9_999
ALL = "all generators"
STRATIFIED = "within forgery types"


@dataclass(frozen=True)
class GroupGaze:
    """Mean over the generators of one forgery type, one family, or both; "" means any."""

    forgery: str
    family: str
    generators: int
    fid_rad2: float  # mean over generators, sampling bias subtracted
    lowest_rad2: float
    highest_rad2: float
    with_pairs: int  # generators with a paired cosine
    cosine_2d: float | None  # mean over these
    angle_rad: float | None


@dataclass(frozen=True)
class ClaimTest:
    """One-sided permutation test of "the FID of diffusion is lower than that of GAN"; the unit is the generator.

    `difference_rad2` is GAN minus diffusion, above 0 if as claimed (over several forgery types: the mean of their
    differences, weighted by information). `assignments` is the number of distinct ways to assign the two families to
    the generators: p cannot be below `smallest_p`.
    """

    scope: str
    diffusion: int  # generators
    gan: int
    verdict: str
    difference_rad2: float | None = None
    p: float | None = None
    smallest_p: float | None = None
    assignments: int = 0
    exact: bool = True


_ALIKE = 1e-12  # of the largest distance: rounding


@dataclass(frozen=True)
class _Unit:
    """One generator: mean over the datasets that have it."""

    forgery: str
    family: str
    fid_rad2: float


def rows_with_enough_faces(rows: Sequence[GeneratorGaze]) -> list[GeneratorGaze]:
    """The rows that enter means and tests: at least 50 faces, or half as many as the largest has if that is fewer.

    The floor of the others is so high that their distance depends more on the number of faces than on gaze.
    """
    enough = min(ENOUGH_FACES, max((row.fid.n for row in rows), default=0) / 2)
    return [row for row in rows if row.fid.fid_rad2 is not None and row.fid.n >= enough]


def group_generators(rows: Sequence[GeneratorGaze]) -> tuple[GroupGaze, ...]:
    """Means by forgery type, by family, and by both where a type holds several families."""
    rows = rows_with_enough_faces(rows)
    types = [kind.value for kind in ForgeryType if any(row.forgery == kind.value for row in rows)]
    families = [kind.value for kind in Family if any(row.family == kind.value for row in rows)]
    keys = [(forgery, "") for forgery in types] + [("", family) for family in families]
    for forgery in types:
        within = [family for family in families if any((r.forgery, r.family) == (forgery, family) for r in rows)]
        keys += [(forgery, family) for family in within] if len(within) > 1 else []
    return tuple(_group(rows, forgery, family) for forgery, family in keys)


def _group(rows: Iterable[GeneratorGaze], forgery: str, family: str) -> GroupGaze:
    found = [row for row in rows if forgery in ("", row.forgery) and family in ("", row.family)]
    fids = [_distance(row) for row in found]
    paired = [row.pairs for row in found if row.pairs.cosine_2d is not None and row.pairs.angle_rad is not None]
    return GroupGaze(
        forgery=forgery,
        family=family,
        generators=len(found),
        fid_rad2=float(np.mean(fids)),
        lowest_rad2=min(fids),
        highest_rad2=max(fids),
        with_pairs=len(paired),
        cosine_2d=float(np.mean([pairs.cosine_2d.value for pairs in paired if pairs.cosine_2d])) if paired else None,
        angle_rad=float(np.mean([pairs.angle_rad.value for pairs in paired if pairs.angle_rad])) if paired else None,
    )


def _distance(row: GeneratorGaze) -> float:
    # the raw distance grows as the number of faces falls, which would confound number and family
    assert row.fid.unbiased_rad2 is not None  # rows without a distance are left out before
    return float(row.fid.unbiased_rad2)


def check_claim(rows: Sequence[GeneratorGaze], *, seed: int = 0) -> tuple[ClaimTest, ...]:
    """The claim over all generators, within each forgery type that has both families, and within types together."""
    units = list(_units(rows_with_enough_faces(rows)))
    types = [kind.value for kind in ForgeryType]
    strata = {name: [unit for unit in units if unit.forgery == name] for name in types}
    both = {name: of for name, of in strata.items() if {unit.family for unit in of} == {"gan", "diffusion"}}
    tests = [_permutation_test(ALL, [units], seed)]
    if len(both) > 1:
        tests.append(_permutation_test(STRATIFIED, list(both.values()), seed))
    if len({unit.forgery for unit in units}) > 1:
        tests += [_permutation_test(f"within {name}", [of_type], seed) for name, of_type in both.items()]
    return tuple(tests)


def _units(rows: Sequence[GeneratorGaze]) -> Iterator[_Unit]:
    names = dict.fromkeys((r.generator, r.forgery, r.family) for r in rows if r.family in ("gan", "diffusion"))
    for generator, forgery, family in sorted(names):
        of_name = [r for r in rows if (r.generator, r.forgery, r.family) == (generator, forgery, family)]
        yield _Unit(forgery, family, float(np.mean([_distance(row) for row in of_name])))


def _permutation_test(scope: str, strata: list[list[_Unit]], seed: int) -> ClaimTest:
    """Permute the families within each stratum; p is the share of permutations with a GAN total at least as high."""
    values = [np.array([unit.fid_rad2 for unit in stratum]) for stratum in strata]
    gan = [np.array([unit.family == "gan" for unit in stratum], dtype=bool) for stratum in strata]
    many = sum(int(mask.sum()) for mask in gan)
    counts: dict[str, Any] = {"diffusion": sum(map(len, values)) - many, "gan": many}
    if not all(counts.values()):
        absent = " and no ".join(name for name, count in counts.items() if not count)
        return ClaimTest(scope, **counts, verdict=f"no {absent} generator with enough faces")
    assignments = prod(comb(len(mask), int(mask.sum())) for mask in gan)
    exact = assignments <= MOST_ASSIGNMENTS
    observed = sum(float(of[mask].sum()) for of, mask in zip(values, gan, strict=True))
    totals = _all_totals(values, gan) if exact else _drawn_totals(values, gan, np.random.default_rng([seed, 6]))
    reached = int((totals >= observed - 1e-12 * max(sum(map(float, map(np.sum, values))), 1e-300)).sum())
    p = reached / assignments if exact else (1 + reached) / (1 + len(totals))
    smallest = 1 / assignments if exact else 1 / (1 + len(totals))
    difference = _difference(values, gan)
    alike = all(float(np.ptp(of)) <= _ALIKE * max(float(np.abs(of).max()), 1e-300) for of in values)
    verdict = "distances do not differ" if alike else _verdict(p, smallest, difference)
    return ClaimTest(scope, **counts, verdict=verdict, difference_rad2=difference, p=p,
                     smallest_p=smallest, assignments=assignments, exact=exact)  # fmt: skip


def _difference(values: list[np.ndarray], gan: list[np.ndarray]) -> float:
    """Mean of GAN minus mean of diffusion, strata weighted by g d / (g + d).

    With these weights the sum over strata is the total of the GAN distances plus a constant, so ordering permutations
    by that total orders them by this difference.
    """
    differences = [float(of[mask].mean() - of[~mask].mean()) for of, mask in zip(values, gan, strict=True)]
    weights = [int(mask.sum()) * int((~mask).sum()) / len(mask) for mask in gan]
    return float(np.average(differences, weights=weights))


def _verdict(p: float, smallest: float, difference: float) -> str:
    if smallest > SIGNIFICANT:
        return "too few generators to tell"
    if p <= SIGNIFICANT:
        return "as claimed"
    return "undecided" if difference > 0 else "not as claimed"


def _all_totals(values: list[np.ndarray], gan: list[np.ndarray]) -> np.ndarray:
    totals = np.zeros(1)
    for of, mask in zip(values, gan, strict=True):
        sums = np.array([of[list(chosen)].sum() for chosen in combinations(range(len(of)), int(mask.sum()))])
        totals = (totals[:, None] + sums).ravel()
    return totals


def _drawn_totals(values: list[np.ndarray], gan: list[np.ndarray], random: np.random.Generator) -> np.ndarray:
    totals = np.zeros(DRAWS)
    for of, mask in zip(values, gan, strict=True):
        shuffled = random.permuted(np.tile(of, (DRAWS, 1)), axis=1)
        totals += shuffled[:, : int(mask.sum())].sum(axis=1)
    return totals
