"""A mean over unseen groups as an estimate for other generators: what a record's own numbers say of it.

The interval beside a number of a record is over sources: other faces of these generators. The one here is over
generators: other generators of the kind the protocol holds, of which those in it are taken for a sample. It is made of
the numbers by generator that stand in the record, so that boards need no predictions, and old records have it, too.
Seen classes are held fixed. So are real faces of fewer than six collections, as in most protocols; from six on these
are drawn, too: each is one observation, where a mean is over real groups, or where each of its numbers is an area
against all of them (`metrics.over_real_sources`; scoring has left that spread with the number).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from statistics import fmean

from dfad_bench.core.labels import FAKE
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import MetricValue
from dfad_bench.core.record_ranges import BOUNDS, metric_unit
from dfad_bench.metrics.over_generators import (
    spread_over_families,
    spread_over_generators,
    too_few_generators,
)
from dfad_bench.metrics.spread import Spread, interval, over_seeds
from dfad_bench.report.ranks import seed_variance, spread_of
from dfad_bench.report.real_sources import spread_of_real_groups, stated_spread

VIDEOS = "-videos"
NO_PARTS = "not estimable over generators: no numbers by generator in the record"
NO_SPREAD = "not estimable over generators: all generators have the same value"
Key = tuple[str, str, str, str, float | None]  # task, metric, subset, averaging, threshold


@dataclass(frozen=True)
class OverGenerators:
    """A mean over unseen groups as an estimate for other generators.

    Attributes:
        generators: unseen generators in the mean.
        fixed: real groups in the mean, which are no generators.
        real_sources: collections of real faces: those groups, or what each generator's area is against.
        reals_drawn: they are drawn, as generators are; else they are held fixed.
        shared_counted: what generators share (faces of the same targets, the same real faces) is in the interval; not
            where a group, or the mean, has no interval over sources, since one source says nothing of others.
        families: of those generators, by the taxonomy.
        values: of each generator, by the key of its group.
        ci95: over generators; None with a `reason`.
        standard_error: over generators, with what they share (targets, real faces).
        df: its degrees of freedom.
        ci95_families: where those of one family count as one; None for too few families.
        reason: why there is no interval.
    """

    generators: int
    fixed: int
    families: int
    values: Mapping[str, float]
    ci95: tuple[float, float] | None = None
    standard_error: float | None = None
    df: float | None = None
    ci95_families: tuple[float, float] | None = None
    reason: str | None = None
    real_sources: int = 0
    reals_drawn: bool = False
    shared_counted: bool = True

    @property
    def spread(self) -> Spread | None:
        """Standard error and degrees of freedom."""
        return None if self.standard_error is None or self.df is None else Spread(self.standard_error, self.df)


def number_key(value: MetricValue) -> Key:
    """Which number of a record it is."""
    return value.task, value.metric, value.subset, value.averaging, value.params.get("threshold")


def over_generators(metrics: Sequence[MetricValue], protocol: Protocol) -> dict[Key, OverGenerators]:
    """Every mean over unseen groups of a record, by its key, as an estimate for other generators."""
    return mean_over_generators([metrics], protocol)


def mean_over_generators(
    runs: Sequence[Sequence[MetricValue]], protocol: Protocol, *, only: Sequence[tuple[str, str, str]] = ()
) -> dict[Key, OverGenerators]:
    """The same of means over the seeds of several runs.

    Args:
        runs: the numbers of each run, all of one protocol.
        protocol: says which groups are unseen generators.
        only: task, metric and subset of those wanted; default all.
    """
    by_key = [{number_key(value): value for value in metrics} for metrics in runs]
    families = generator_families(protocol)
    found = {}
    for key, first in by_key[0].items():
        if first.averaging != "macro" or first.value is None or (only and key[:3] not in only):
            continue
        drawn = {name: families[name] for name in first.members if name in families}
        values = [numbers[key] for numbers in by_key if key in numbers]
        if drawn and len(values) == len(runs) and all(value.value is not None for value in values):
            found[key] = _estimate(values, by_key, drawn)
    return found


def generator_families(protocol: Protocol) -> dict[str, str]:
    """The family of each unseen generator, by the key of its group; real groups are none."""
    taxa = {group.key: group.taxon for group in protocol.unseen}
    return {key: str(taxon.family) for key, taxon in taxa.items() if taxon.detection_label == FAKE}


def _estimate(
    means: Sequence[MetricValue], by_key: Sequence[Mapping[Key, MetricValue]], drawn: Mapping[str, str]
) -> OverGenerators:
    first = means[0]
    parts = {name: _parts_of(first, by_key, name) for name in drawn}
    reals = [some for name in first.members if name not in parts and (some := _parts_of(first, by_key, name))]
    groups = len(parts) + len(reals)
    over_reals = spread_of_real_groups([_mean_part(some) for some in reals], groups) if reals else stated_spread(means)
    made = OverGenerators(
        generators=len(drawn),
        fixed=len(reals),
        families=len(set(drawn.values())),
        values={name: fmean(_known_values(some)) for name, some in parts.items() if _all_known(some)},
        real_sources=len(reals) or len(first.params.get("reals", ())),
        reals_drawn=over_reals is not None,
    )
    if reason := NO_PARTS if len(made.values) < len(drawn) else too_few_generators(len(drawn)):
        return replace(made, reason=reason)
    each, own = list(made.values.values()), [_mean_spread(parts[name]) for name in made.values]
    over_sources = _mean_spread(means)
    of = spread_over_generators(each, own, over_sources, fixed=made.fixed, over_reals=over_reals)
    if of is None:
        return replace(made, reason=NO_SPREAD)
    made = replace(made, shared_counted=over_sources is not None and None not in own)
    seeds = _between_seeds([value.value for value in means])
    of = over_seeds([(of.error**2, of.df)], seeds) or of
    value, limits = fmean(_known_values(means)), BOUNDS.get(metric_unit(first.metric, first.unit) or "", (-inf, inf))
    by_family = spread_over_families(each, list(drawn.values()), fixed=made.fixed)
    if by_family is not None:
        ways = [by_family] if over_reals is None else [by_family, over_reals]
        by_family = over_seeds([(one.error**2, one.df) for one in ways], seeds)
    of_families = None if by_family is None else interval(value, by_family, limits)
    between = interval(value, of, limits)
    return replace(made, ci95=between, standard_error=of.error, df=of.df, ci95_families=of_families)


def _mean_part(values: Sequence[MetricValue]) -> tuple[float | None, Spread | None]:
    """The mean over seeds of the number of one group, and its spread over sources."""
    return (fmean(_known_values(values)) if _all_known(values) else None), _mean_spread(values)


def _parts_of(mean: MetricValue, by_key: Sequence[Mapping[Key, MetricValue]], group: str) -> list[MetricValue]:
    """The numbers of one group beside a mean, one of each run; empty where a run has none."""
    suffix = VIDEOS if mean.subset.endswith(VIDEOS) else ""
    threshold = mean.params.get("threshold")
    for name in (f"{group}{suffix}", f"seen-vs-{group}{suffix}"):
        key = (mean.task, mean.metric, name, "none", threshold)
        some = [numbers[key] for numbers in by_key if key in numbers]
        if len(some) == len(by_key):
            return some
    return []


def _all_known(values: Sequence[MetricValue]) -> bool:
    return bool(values) and len(_known_values(values)) == len(values)


def _known_values(values: Sequence[MetricValue]) -> list[float]:
    return [value.value for value in values if value.value is not None]


def _mean_spread(values: Sequence[MetricValue]) -> Spread | None:
    """Over sources of a mean over seeds: that of one seed, which is never smaller, since seeds share their faces."""
    known = [one for one in map(spread_of, values) if one is not None]
    if not known or len(known) < len(values):
        return None
    return Spread(fmean(one.error**2 for one in known) ** 0.5, min(one.df for one in known))


def _between_seeds(values: Sequence[float | None]) -> list[tuple[float, float]]:
    found = seed_variance(values)
    return [(found[0] / len(values), float(found[1]))] if found is not None and found[0] > 0 else []
