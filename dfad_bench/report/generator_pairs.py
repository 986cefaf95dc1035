"""Is one run better than another on other generators of the kind the protocol holds?

The tests of `report.compare` are over sources: they say which run is better on other faces of these generators, and
name a winner where a single one of three unseen generators decides. Here an unseen generator is one observation, with
its difference of both runs: their mean gets an interval and a test over generators (`metrics.over_generators`), Holm's
correction over these tests by themselves; the probability that A is better on the next generator, as measured there, is
reported and not tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from dfad_bench.core.protocol import Protocol
from dfad_bench.metrics import METRICS
from dfad_bench.metrics.over_generators import next_generator, spread_over_generators, too_few_generators
from dfad_bench.metrics.over_real_sources import spread_over_real_sources
from dfad_bench.metrics.paired import holm
from dfad_bench.metrics.spread import Spread, difference_interval, difference_p, over_seeds, spread
from dfad_bench.report.over_generators import NO_PARTS, NO_SPREAD, VIDEOS, generator_families
from dfad_bench.report.paired_numbers import LEVEL, Place
from dfad_bench.report.real_sources import real_sources_line, spread_of_real_groups
from dfad_bench.report.scored_faces import Number
from dfad_bench.report.table import Column, Table

Pair = tuple[Number, Number]
TIE = 1e-9  # differences up to it are ties: sums of the same faces in another order


@dataclass(frozen=True)
class ComparedOverGenerators:
    """A mean over unseen groups of both runs, with the generators as units. `differences` are A minus B.

    `wins`, `ties`, `losses` of A among the generators; `next_better`: the probability that A is better on the next
    one; `better` is "a" or "b" where Holm's p is below 0.05 and the interval lacks 0; `fixed`: real groups in the mean;
    `real_sources`: collections of real faces, those groups or what each area is against; `reals_drawn`: they are drawn
    as generators are, else held fixed; `reason`: why there is no test.
    """

    task: str
    metric: str
    subset: str
    threshold: float | None
    generators: int
    fixed: int
    difference: float
    differences: Mapping[str, float]
    ci95: tuple[float, float] | None = None
    p: float | None = None
    p_holm: float | None = None
    better: Literal["a", "b"] | None = None
    wins: int = 0
    ties: int = 0
    losses: int = 0
    next_better: float | None = None
    reason: str | None = None
    real_sources: int = 0
    reals_drawn: bool = False


def compared_over_generators(
    mean: Pair, numbers: Mapping[Place, Pair], protocol: Protocol
) -> ComparedOverGenerators | None:
    """One mean over groups of both runs; None for a number that is none over unseen generators.

    Args:
        mean: the number of A and of B.
        numbers: every number of both, by its place.
        protocol: says which groups are unseen generators.
    """
    value = mean[0].value
    drawn = generator_families(protocol)
    members = [name for name in value.members if name in drawn]
    if value.averaging != "macro" or not members or value.value is None or mean[1].value.value is None:
        return None
    parts = {name: pair for name in value.members if (pair := _part(value, numbers, name)) is not None}
    mine = {name: parts[name] for name in members if name in parts}
    differences = {name: _difference(pair) for name, pair in mine.items()}
    known = {name: found for name, found in differences.items() if found is not None}
    reals = [parts[name] for name in parts if name not in mine]
    over_reals = _over_reals(mean, reals, len(parts))
    made = ComparedOverGenerators(
        value.task, value.metric, value.subset, value.params.get("threshold"), len(members), len(reals),
        value.value - mean[1].value.value, known,
        real_sources=len(reals) or len(value.params.get("reals", ())), reals_drawn=over_reals is not None,
    )  # fmt: skip
    made = replace(made, **_wins(known, METRICS[value.metric].higher_is_better))
    if reason := NO_PARTS if len(known) < len(members) else too_few_generators(len(members)):
        return replace(made, reason=reason)
    of = _spread(mean, list(mine.values()), list(known.values()), made.fixed, over_reals)
    if of is None:
        return replace(made, reason=NO_SPREAD)
    limits = mean[0].limits
    between, p = difference_interval(made.difference, of, limits), difference_p(made.difference, of, limits)
    return replace(made, ci95=between, p=p)


def corrected_over_generators(rows: Sequence[ComparedOverGenerators]) -> tuple[ComparedOverGenerators, ...]:
    """Holm's p-values over these tests, and which run they show to be better on other generators."""
    made = []
    for row, p in zip(rows, holm([row.p for row in rows]), strict=True):
        shown = p is not None and p < LEVEL and row.ci95 is not None and not row.ci95[0] <= 0 <= row.ci95[1]
        a_wins = (row.difference > 0) == METRICS[row.metric].higher_is_better
        better: Literal["a", "b"] | None = ("a" if a_wins else "b") if shown else None
        made.append(replace(row, p_holm=p, better=better))
    return tuple(made)


def _part(mean: Any, numbers: Mapping[Place, Pair], group: str) -> Pair | None:
    suffix = VIDEOS if mean.subset.endswith(VIDEOS) else ""
    names = (f"{group}{suffix}", f"seen-vs-{group}{suffix}")
    places = [(mean.task, mean.metric, name, "none", mean.params.get("threshold")) for name in names]
    return next((numbers[place] for place in places if place in numbers), None)


def _difference(pair: Pair) -> float | None:
    a, b = (number.value.value for number in pair)
    return None if a is None or b is None else a - b


def _wins(differences: Mapping[str, float], higher_is_better: bool) -> dict[str, Any]:
    sign = 1 if higher_is_better else -1
    signed = [sign * one for one in differences.values()]
    found: dict[str, Any] = {
        "wins": sum(one > TIE for one in signed), "ties": sum(abs(one) <= TIE for one in signed),
        "losses": sum(one < -TIE for one in signed),
    }  # fmt: skip
    ahead = next_generator(signed)
    return found | {"next_better": None if ahead is None else ahead.probability}


def _spread(
    mean: Pair, parts: Sequence[Pair], differences: Sequence[float], fixed: int, over_reals: Spread | None
) -> Spread | None:
    """Over generators, with what they share of sources, over collections of real faces, and over several seeds."""
    of = spread_over_generators(
        differences, [_over_sources(pair) for pair in parts], _over_sources(mean), fixed=fixed, over_reals=over_reals
    )  # fmt: skip
    if of is None:
        return None
    return over_seeds([(of.error**2, of.df)], [*mean[0].of_seeds, *mean[1].of_seeds])


def _over_reals(mean: Pair, reals: Sequence[Pair], groups: int) -> Spread | None:
    """The spread of the difference over collections of real faces; None where these are held fixed."""
    if reals:
        return spread_of_real_groups([(_difference(pair), _over_sources(pair)) for pair in reals], groups)
    a, b = mean[0].placed, mean[1].placed
    if a is None or b is None:
        return None
    return spread_over_real_sources(a._replace(values=a.values - b.values))


def _over_sources(pair: Pair) -> Spread | None:
    a, b = pair
    if a.draws is None or b.draws is None or a.bootstrap is None:
        return None
    return spread(a.draws() - b.draws(), a.bootstrap()) or Spread(0.0, 1.0)


def generator_verdicts(rows: Sequence[ComparedOverGenerators], title: str) -> Table:
    """A row for each mean over unseen groups: interval, test, wins and the next generator."""
    columns = (
        Column("number", "Number", "text"),
        Column("difference", "A - B", "by_unit"),
        Column("low", "95 % from", "by_unit"),
        Column("high", "to", "by_unit"),
        Column("generators", "Generators", "count"),
        Column("record", "A wins-ties-losses", "text"),
        Column("next_better", "P(A better on the next)", "percent", 1),
        Column("p", "p", "p_value", 4),
        Column("p_holm", "p (Holm)", "p_value", 4),
        Column("verdict", "Better on other generators", "text"),
    )
    return Table(title, columns, [_row(row) for row in rows], tuple(_notes(rows)))


def generator_wins(rows: Sequence[ComparedOverGenerators], title: str) -> Table:
    """A row for each unseen generator: the difference of every number, and how many of them A wins."""
    names = [_name(row) for row in rows]
    columns = [Column("generator", "Generator", "text"), Column("won", "A wins", "text")]
    columns += [Column(name, name, "percent") for name in names]
    made = []
    for generator in dict.fromkeys(key for row in rows for key in row.differences):
        found = {name: row.differences.get(generator) for name, row in zip(names, rows, strict=True)}
        wins = [
            _wins({"": value}, METRICS[row.metric].higher_is_better)["wins"]
            for value, row in zip(found.values(), rows, strict=True)
            if value is not None
        ]
        made.append({"generator": generator, "won": f"{sum(wins)} of {len(wins)}", **found})
    return Table(title, tuple(columns), made, ("A - B on each unseen generator, in points.",))


def _row(value: ComparedOverGenerators) -> dict[str, Any]:
    low, high = value.ci95 or (None, None)
    verdict = {"a": "A", "b": "B", None: "not shown"}[value.better]
    return {
        **vars(value), "unit": METRICS[value.metric].unit, "number": f"{value.task} {_name(value)}", "low": low,
        "high": high, "record": f"{value.wins}-{value.ties}-{value.losses}", "verdict": value.reason or verdict,
    }  # fmt: skip


def _name(value: ComparedOverGenerators) -> str:
    at = "" if value.threshold is None else f" @{value.threshold:g}"
    return f"{value.metric}{at}, {value.subset}"


def _notes(rows: Sequence[ComparedOverGenerators]) -> Iterator[str]:
    tests = sum(row.p is not None for row in rows)
    yield (
        "Better on other generators of this kind: a generator is one observation, those of the protocol are taken for a"
        f" sample; p below {LEVEL:g} after Holm's correction over these {tests} tests. "
    )
    yield real_sources_line({_name(row): row for row in rows if row.ci95 is not None})
    if fixed := max((row.fixed for row in rows), default=0):
        yield f"{fixed} real groups in a mean over unseen groups count no win."
    yield "P(A better on the next): of the measured difference on one more generator; a description, not a test."
