"""Agreement of estimators: do they rank the generators in the same order? (GazeCLIP Table V and Fig. 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from dfad_bench.gaze.families import rows_with_enough_faces

if TYPE_CHECKING:
    from dfad_bench.gaze.analysis import GazeReport
    from dfad_bench.gaze.rows import GeneratorGaze

FEWEST = 3  # generators that a rank correlation needs


@dataclass(frozen=True)
class RankAgreement:
    """Spearman's rank correlation of one measure between two estimators, over the generators both have."""

    first: str
    second: str
    measure: str  # "fid" or "cosine_2d"
    generators: int
    spearman: float | None  # None with fewer than three generators, or where one estimator ties them all


def rank_agreement(reports: Mapping[str, GazeReport]) -> tuple[RankAgreement, ...]:
    """For each pair of estimators: agreement of the ranks of FIDs, and of paired 2-D cosines.

    Args:
        reports: by estimator. Generators with too few faces are left out (`families.rows_with_enough_faces`).
    """
    return tuple(
        _agreement(reports, first, second, measure, value)
        for first, second in combinations(reports, 2)
        for measure, value in (("fid", _fid), ("cosine_2d", _cosine))
    )


def _agreement(
    reports: Mapping[str, GazeReport],
    first: str,
    second: str,
    measure: str,
    value: Callable[[GeneratorGaze], float | None],
) -> RankAgreement:
    sides = []
    for name in (first, second):
        found = {(row.dataset, row.generator): value(row) for row in rows_with_enough_faces(reports[name].rows)}
        sides.append({key: number for key, number in found.items() if number is not None})
    keys = sorted(sides[0].keys() & sides[1].keys())
    a, b = (np.array([side[key] for key in keys]) for side in sides)
    rho = None
    if len(keys) >= FEWEST and np.ptp(a) > 0 and np.ptp(b) > 0:
        from scipy.stats import spearmanr

        rho = float(spearmanr(a, b).statistic)
    return RankAgreement(first, second, measure, len(keys), rho)


def _fid(row: GeneratorGaze) -> float | None:
    return row.fid.fid_rad2


def _cosine(row: GeneratorGaze) -> float | None:
    return row.pairs.cosine_2d.value if row.pairs.cosine_2d else None
