"""Generators grouped by forgery type and family: means over generators, with an interval over sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from dfad_bench.core.labels import Family, ForgeryType
from dfad_bench.gaze.fid import distance_interval
from dfad_bench.gaze.sources import ENOUGH_SOURCES

if TYPE_CHECKING:
    from dfad_bench.gaze.rows import ComparedGenerator, GeneratorGaze

Row = TypeVar("Row", bound="ComparedGenerator")
ENOUGH_FACES = 50  # a generator with fewer does not limit the number of faces of the others


@dataclass(frozen=True)
class GroupDistance:
    """Mean distance over the generators of one forgery type, one family, or both; "" means any."""

    forgery: str
    family: str
    generators: int
    value: float  # mean over generators, sampling bias subtracted
    lowest: float
    highest: float
    low: float | None = None  # 95 %, over other sources of these generators; not over other generators
    high: float | None = None
    sources: int | None = None  # of the forged faces, each counted once; None where they are not given


@dataclass(frozen=True)
class GroupGaze:
    """`GroupDistance` in square radians, and the pairs of the same generators."""

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


def rows_with_enough_faces(rows: Sequence[Row]) -> list[Row]:
    """The rows that enter means and tests: at least 50 faces, or half as many as the largest has if that is fewer.

    Likewise at least `ENOUGH_SOURCES` effective sources, or half of the most. The floor of the others is so high that
    their distance depends more on the number of faces and sources than on what is compared.
    """
    faces = min(ENOUGH_FACES, max((row.faces for row in rows), default=0) / 2)
    sources = min(ENOUGH_SOURCES, max((row.effective_sources for row in rows), default=0) / 2)
    known = [row for row in rows if row.distance is not None]
    return [row for row in known if row.faces >= faces and row.effective_sources >= sources]


def group_generators(
    rows: Sequence[GeneratorGaze], drawn: Mapping[tuple[str, str], Drawn] | None = None
) -> tuple[GroupGaze, ...]:
    """`group_distances` of gaze, and means over pairs."""
    return tuple(_with_pairs(group, found) for group, found in _groups_and_rows(rows, drawn or {}))


def group_distances(
    rows: Sequence[ComparedGenerator], drawn: Mapping[tuple[str, str], Drawn] | None = None
) -> tuple[GroupDistance, ...]:
    """Means by forgery type, by family, and by both where a type holds several families.

    Args:
        rows: rows of a study.
        drawn: what was resampled, by (dataset, generator); without it there are no intervals.
    """
    return tuple(group for group, _ in _groups_and_rows(rows, drawn or {}))


def _groups_and_rows(
    rows: Sequence[Row], drawn: Mapping[tuple[str, str], Drawn]
) -> Iterator[tuple[GroupDistance, list[Row]]]:
    rows = rows_with_enough_faces(rows)
    types = [kind.value for kind in ForgeryType if any(row.forgery == kind.value for row in rows)]
    families = [kind.value for kind in Family if any(row.family == kind.value for row in rows)]
    keys = [(forgery, "") for forgery in types] + [("", family) for family in families]
    for forgery in types:
        within = [family for family in families if any((r.forgery, r.family) == (forgery, family) for r in rows)]
        keys += [(forgery, family) for family in within] if len(within) > 1 else []
    for forgery, family in keys:
        found = [row for row in rows if forgery in ("", row.forgery) and family in ("", row.family)]
        yield _group(found, forgery, family, drawn), found


def _group(
    found: Sequence[ComparedGenerator], forgery: str, family: str, drawn: Mapping[tuple[str, str], Drawn]
) -> GroupDistance:
    distances = [debiased_distance(row) for row in found]
    low, high = _interval(found, drawn) or (None, None)
    named = [drawn[row.dataset, row.generator].sources for row in found if (row.dataset, row.generator) in drawn]
    return GroupDistance(
        forgery=forgery,
        family=family,
        generators=len(found),
        value=max(float(np.mean(distances)), 0.0),
        lowest=max(min(distances), 0.0),
        highest=max(max(distances), 0.0),
        low=low,
        high=high,
        sources=len(frozenset().union(*named)) if named else None,
    )


def _with_pairs(group: GroupDistance, found: Sequence[GeneratorGaze]) -> GroupGaze:
    paired = [row.pairs for row in found if row.pairs.cosine_2d is not None and row.pairs.angle_rad is not None]
    return GroupGaze(
        forgery=group.forgery,
        family=group.family,
        generators=group.generators,
        fid_rad2=group.value,
        lowest_rad2=group.lowest,
        highest_rad2=group.highest,
        with_pairs=len(paired),
        cosine_2d=float(np.mean([pairs.cosine_2d.value for pairs in paired if pairs.cosine_2d])) if paired else None,
        angle_rad=float(np.mean([pairs.angle_rad.value for pairs in paired if pairs.angle_rad])) if paired else None,
        low_rad2=group.low,
        high_rad2=group.high,
        sources=group.sources,
    )


def _interval(rows: Sequence[ComparedGenerator], drawn: Mapping[tuple[str, str], Drawn]) -> tuple[float, float] | None:
    """Of the mean distance, sources resampled for all generators at once."""
    distances = [drawn[key].distances for row in rows if (key := (row.dataset, row.generator)) in drawn]
    if len(distances) < len(rows) or not all(len(of) for of in distances):
        return None
    value = float(np.mean([row.distance for row in rows if row.distance is not None]))
    fewest = min(row.effective_sources for row in rows)
    return distance_interval(value, np.mean(distances, axis=0), fewest)[1]


def debiased_distance(row: ComparedGenerator) -> float:
    """The distance less its sampling bias, below zero where that is larger: a mean of values cut at zero is too high.

    The raw distance grows as the number of faces and sources falls, which would confound number and family.
    """
    assert row.debiased is not None  # rows without a distance are left out before
    return float(row.debiased)
