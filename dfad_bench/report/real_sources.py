"""Collections of real faces as observations: what scoring leaves of them with a number, and what is read of it.

A record of a mean over generators of areas against real faces of six collections or more says under `params.over_reals`
how far that mean holds for other collections: their number, the standard error, its degrees of freedom. Records made
before lack it, and hold them fixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite, sqrt
from statistics import fmean
from typing import Any, Protocol, TypeGuard

import numpy as np

from dfad_bench.core.errors import listed
from dfad_bench.core.record import MetricValue
from dfad_bench.metrics.over_real_sources import LEAST_REAL_SOURCES, RealPlacements, spread_over_real_sources
from dfad_bench.metrics.spread import Spread

OVER_REALS = "over_reals"  # of `MetricValue.params`


def stated_params(of: RealPlacements) -> dict[str, Any]:
    """What is stated of the collections that a mean over generators is against; nothing for too few."""
    found = spread_over_real_sources(of)
    if found is None:
        return {}
    return {OVER_REALS: {"sources": len(np.unique(of.collections)), "standard_error": found.error, "df": found.df}}


def without_real_sources(value: MetricValue) -> MetricValue:
    """The same number without what is stated of collections."""
    return replace(value, params={key: of for key, of in value.params.items() if key != OVER_REALS})


def stated_spread(values: Sequence[MetricValue]) -> Spread | None:
    """The spread over collections of a mean over seeds, which share them; None where a record does not state it.

    That of one seed, as over sources. Records are written by anybody: what is no spread counts as not stated.
    """
    found = [_spread(value.params.get(OVER_REALS)) for value in values]
    known = [one for one in found if one is not None]
    if not known or len(known) < len(values):
        return None
    return Spread(sqrt(fmean(one.error**2 for one in known)), min(one.df for one in known))


def _spread(stated: Any) -> Spread | None:
    if not isinstance(stated, Mapping):
        return None
    error, df = stated.get("standard_error"), stated.get("df")
    if not (_is_number(error) and _is_number(df)):
        return None
    return Spread(float(error), float(df)) if error >= 0 and df >= LEAST_REAL_SOURCES - 1 else None


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def spread_of_real_groups(reals: Sequence[tuple[float | None, Spread | None]], groups: int) -> Spread | None:
    """The spread over real groups of a mean in which each has its own number, as generators have.

    Without the noise of their own faces, which the spread over sources of the mean has.

    Args:
        reals: the number of each, and its spread over sources.
        groups: in the mean, generators among them.

    Returns:
        None for fewer than `LEAST_REAL_SOURCES`, or where a number is not known.
    """
    values = [value for value, _ in reals if value is not None]
    count = len(values)
    if count < max(LEAST_REAL_SOURCES, len(reals)):
        return None
    own = sum(of.error**2 for _, of in reals if of is not None)
    variance = max(float(np.var(values, ddof=1)) * count - own, 0.0) / groups**2
    return Spread(sqrt(variance), count - 1.0)


class OverRealSources(Protocol):
    """An estimate for other generators that says what it did with collections of real faces."""

    @property
    def real_sources(self) -> int:
        """How many there are."""

    @property
    def reals_drawn(self) -> bool:
        """They are drawn, as generators are; else they are held fixed."""


def real_sources_line(found: Mapping[str, OverRealSources]) -> str:
    """What intervals over generators, by what they are called, did with collections of real faces.

    >>> from types import SimpleNamespace
    >>> real_sources_line({"AUC": SimpleNamespace(real_sources=7, reals_drawn=True)})
    'Seen classes are held fixed. Sources of real faces: 7, drawn as generators are (AUC).'
    """
    lines: dict[str, list[str]] = {}
    for name, one in found.items():
        did = "drawn as generators are" if one.reals_drawn else f"held fixed (fewer than {LEAST_REAL_SOURCES})"
        did = "held fixed" if one.real_sources >= LEAST_REAL_SOURCES and not one.reals_drawn else did
        if one.real_sources:
            lines.setdefault(f"{one.real_sources}, {did}", []).append(name)
    told = [f"{what} ({listed(list(dict.fromkeys(names)), 4)})" for what, names in lines.items()]
    return "Seen classes are held fixed." + (f" Sources of real faces: {'; '.join(told)}." if told else "")
