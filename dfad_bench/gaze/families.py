"""Generators grouped by forgery type and family: means over generators, with an interval over sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dfad_bench.core.labels import Family, ForgeryType
from dfad_bench.gaze.fid import distance_interval
from dfad_bench.gaze.sources import ENOUGH_SOURCES

if TYPE_CHECKING:
    from dfad_bench.gaze.rows import GeneratorGaze

ENOUGH_FACES = 50  # a generator with fewer does not limit the number of faces of the others


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
    low_rad2: float | None = None  # 95 %, over other sources of these generators; not over other generators
    high_rad2: float | None = None
    sources: int | None = None  # of the forged faces, each counted once; None where they are not given


@dataclass(frozen=True)
class Drawn:
    """A generator's resampled distances (resamples,), and the sources of its compared forged faces.

    Resamples of one seed weight a source alike for every generator, so that their mean is one of resampled sources.
    """

    distances: np.ndarray
    sources: frozenset[str]


def rows_with_enough_faces(rows: Sequence[GeneratorGaze]) -> list[GeneratorGaze]:
    """The rows that enter means and tests: at least 50 faces, or half as many as the largest has if that is fewer.

    Likewise at least `ENOUGH_SOURCES` effective sources, or half of the most. The floor of the others is so high that
    their distance depends more on the number of faces and sources than on gaze.
    """
    faces = min(ENOUGH_FACES, max((row.fid.n for row in rows), default=0) / 2)
    sources = min(ENOUGH_SOURCES, max((row.fid.sources_effective for row in rows), default=0) / 2)
    known = [row for row in rows if row.fid.fid_rad2 is not None]
    return [row for row in known if row.fid.n >= faces and row.fid.sources_effective >= sources]


def group_generators(
    rows: Sequence[GeneratorGaze], drawn: Mapping[tuple[str, str], Drawn] | None = None
) -> tuple[GroupGaze, ...]:
    """Means by forgery type, by family, and by both where a type holds several families.

    Args:
        rows: rows of a study.
        drawn: what was resampled, by (dataset, generator); without it there are no intervals.
    """
    rows = rows_with_enough_faces(rows)
    types = [kind.value for kind in ForgeryType if any(row.forgery == kind.value for row in rows)]
    families = [kind.value for kind in Family if any(row.family == kind.value for row in rows)]
    keys = [(forgery, "") for forgery in types] + [("", family) for family in families]
    for forgery in types:
        within = [family for family in families if any((r.forgery, r.family) == (forgery, family) for r in rows)]
        keys += [(forgery, family) for family in within] if len(within) > 1 else []
    return tuple(_group(rows, forgery, family, drawn or {}) for forgery, family in keys)


def _group(
    rows: Sequence[GeneratorGaze], forgery: str, family: str, drawn: Mapping[tuple[str, str], Drawn]
) -> GroupGaze:
    found = [row for row in rows if forgery in ("", row.forgery) and family in ("", row.family)]
    fids = [debiased_distance(row) for row in found]
    low, high = _interval(found, drawn) or (None, None)
    named = [drawn[row.dataset, row.generator].sources for row in found if (row.dataset, row.generator) in drawn]
    paired = [row.pairs for row in found if row.pairs.cosine_2d is not None and row.pairs.angle_rad is not None]
    return GroupGaze(
        forgery=forgery,
        family=family,
        generators=len(found),
        fid_rad2=max(float(np.mean(fids)), 0.0),
        lowest_rad2=max(min(fids), 0.0),
        highest_rad2=max(max(fids), 0.0),
        with_pairs=len(paired),
        cosine_2d=float(np.mean([pairs.cosine_2d.value for pairs in paired if pairs.cosine_2d])) if paired else None,
        angle_rad=float(np.mean([pairs.angle_rad.value for pairs in paired if pairs.angle_rad])) if paired else None,
        low_rad2=low,
        high_rad2=high,
        sources=len(frozenset().union(*named)) if named else None,
    )


def _interval(rows: Sequence[GeneratorGaze], drawn: Mapping[tuple[str, str], Drawn]) -> tuple[float, float] | None:
    """Of the mean distance, sources resampled for all generators at once."""
    distances = [drawn[key].distances for row in rows if (key := (row.dataset, row.generator)) in drawn]
    if len(distances) < len(rows):
        return None
    value = float(np.mean([row.fid.fid_rad2 for row in rows]))
    fewest = min(row.fid.sources_effective for row in rows)
    return distance_interval(value, np.mean(distances, axis=0), fewest)[1]


def debiased_distance(row: GeneratorGaze) -> float:
    """The distance less its sampling bias, below zero where that is larger: a mean of values cut at zero is too high.

    The raw distance grows as the number of faces and sources falls, which would confound number and family.
    """
    assert row.fid.debiased_rad2 is not None  # rows without a distance are left out before
    return float(row.fid.debiased_rad2)
