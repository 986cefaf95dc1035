"""Is a paper's claim about training true of these runs? Pairs of runs that differ in one setting, tested together.

For each number the difference of each model's two sides is taken on the same faces, and its mean over the models. Its
standard error counts sources (a paired bootstrap, shared by all models) and training: with two seeds or more on every
side the variance between seeds, else, with three models or more, the variance between models. With less, what training
leaves to chance is unknown, and nothing is tested. The test is two-sided, and p is Holm's over all rows of the table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, variance
from typing import Any

import numpy as np

from dfad_bench.core.errors import ConfigError, cut, listed, quoted
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.run_folder import runs_in
from dfad_bench.metrics.paired import holm, least_p
from dfad_bench.metrics.spread import Spread, difference_interval, difference_p, over_seeds, spread
from dfad_bench.report.claims_of_papers import RunClaim
from dfad_bench.report.compare import RESAMPLES, ReadRun, numbers_by_place, read_run, refuse_unlike
from dfad_bench.report.paired_numbers import LEVEL, Place, Sources, mean_number
from dfad_bench.report.run_record import protocol_of
from dfad_bench.report.run_settings import differing_settings, setting_of, settings_without
from dfad_bench.report.scored_faces import Number

Sides = tuple[dict[Place, list[Number]], dict[Place, list[Number]]]
ALL = "all models"
LEAST_MODELS = 3  # whose variance stands for that of training, where there are no seeds
AS_CLAIMED, OPPOSITE, UNDECIDED = "as claimed", "opposite of what is claimed", "undecided"


@dataclass(frozen=True)
class ClaimRow:
    """One number of one model, or the mean over all of them.

    `difference` is what the claim says is better minus the other; `seeds` how many the sides have, fewest first.
    `counts` says what the interval and the test are over; `reason` why there is no test.
    """

    scope: str
    task: str
    metric: str
    subset: str
    averaging: str
    threshold: float | None
    models: int
    seeds: tuple[int, int]
    better: float | None
    worse: float | None
    difference: float | None
    counts: str = ""
    ci95: tuple[float, float] | None = None
    p: float | None = None
    p_holm: float | None = None
    verdict: str = ""
    reason: str | None = None


@dataclass(frozen=True)
class ClaimResult:
    """A claim tested on runs: rows, runs left out and why, and how many faces and sources there are."""

    claim: str
    paper: str
    protocol: str
    faces: int
    sources: int
    rows: tuple[ClaimRow, ...]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Pair:
    """The runs of one model with the same settings but the claim's."""

    name: str
    sides: dict[str, list[ReadRun]] = field(default_factory=dict)


def check_run_claim(
    claim: RunClaim, folders: Sequence[Path], *, resamples: int = RESAMPLES, seed: int = 0
) -> ClaimResult:
    """Test a claim on finished runs of one protocol and the same test faces.

    Args:
        claim: of `claims_of_papers.CLAIMS`.
        folders: of runs, or of runs of several seeds; those of either side in any order.
        resamples: of the paired bootstrap.
        seed: of the paired bootstrap.

    Raises:
        ConfigError: not finished runs, runs that cannot be compared, one given twice, or no pair among them.
        IntegrityError: predictions are not those of their record.
    """
    runs = [read_run(run) for folder in folders for run in runs_in(Path(folder))]
    for other in runs[1:]:
        refuse_unlike(runs[0], other)
    pairs, left_out = _paired(claim, runs)
    protocol = protocol_of({"protocol": {"config": runs[0].record.protocol.config}}, str(runs[0].folder))
    frame = runs[0].frame
    made = [_numbers(pair, claim, protocol, resamples, seed) for pair in pairs]
    judged = judge_numbers(claim, [pair.name for pair in pairs], made, Sources(frame))
    notes = [] if frame["source_key"].nunique() == len(frame) else ["Faces of one source count as one."]
    sources = int(frame["source_key"].nunique())
    return ClaimResult(
        claim.name, claim.paper, protocol.name, len(frame), sources, judged, tuple(left_out), tuple(notes)
    )


def judge_numbers(
    claim: RunClaim, names: Sequence[str], made: Sequence[Sides], sources_of: Sources
) -> tuple[ClaimRow, ...]:
    """The rows of a claim from numbers of runs.

    Args:
        claim: what is tested.
        names: of the models.
        made: of each model, its numbers by place with what is claimed to be better, and without: one a seed.
        sources_of: how many sources a number has.
    """
    rows = list(_rows(claim, names, made, sources_of))
    corrected = holm([row.p for row in rows])
    return tuple(_judged(row, p) for row, p in zip(rows, corrected, strict=True))


def _paired(claim: RunClaim, runs: Sequence[ReadRun]) -> tuple[list[_Pair], list[str]]:
    """Models with runs on both sides, and a line for each that has not."""
    pairs: dict[str, _Pair] = {}
    unlike: Counter[str] = Counter()
    for run in runs:
        value = setting_of(run.record, claim.setting)
        name = cut(run.record.model.display or run.record.model.name)
        if value not in (claim.better, claim.worse):
            unlike[f"{name}: {claim.setting} is {quoted(value)}, neither {claim.better} nor {claim.worse}"] += 1
            continue
        pair = pairs.setdefault(settings_without(run.record, claim.setting), _Pair(name))
        side = pair.sides.setdefault(value, [])
        if run.record.run.seed in {other.record.run.seed for other in side}:
            raise ConfigError(
                f"{run.folder}: a second run of {name}, {claim.setting} {value}, seed {run.record.run.seed}"
            )
        side.append(run)
    whole = [pair for pair in pairs.values() if len(pair.sides) == 2]
    lone = [pair for pair in pairs.values() if len(pair.sides) < 2]
    lines = unlike + Counter(_why_lone(claim, pair, list(pairs.values())) for pair in lone)
    left_out = [line if count == 1 else f"{line} ({count} times)" for line, count in lines.items()]
    if not whole:
        raise ConfigError(
            f"no two runs differ in {claim.setting} alone ({claim.better} against {claim.worse});"
            f" {listed(left_out, 3, '; ')}"
        )
    return whole, left_out


def _why_lone(claim: RunClaim, pair: _Pair, others: Sequence[_Pair]) -> str:
    (value, runs), *_ = pair.sides.items()
    text = f"{pair.name}, {claim.setting} {value}: no run on the other side"
    model = runs[0].record.model.name
    for value_there, there in (side for other in others for side in other.sides.items()):
        if value_there != value and there[0].record.model.name == model:
            differ = differing_settings(runs[0].record, there[0].record, claim.setting)
            return f"{text} ({value_there} is there, with other {listed(differ, 4)})"
    return text


def _numbers(pair: _Pair, claim: RunClaim, protocol: Protocol, resamples: int, seed: int) -> Sides:
    """The claim's numbers by place, of each seed, of both sides."""

    def of(value: str) -> dict[Place, list[Number]]:
        found: dict[Place, list[Number]] = {}
        for run in pair.sides[value]:
            for place, number in numbers_by_place(run, protocol, resamples, seed).items():
                if place[:4] in claim.numbers and place[4] in (None, protocol.attribution.headline):
                    found.setdefault(place, []).append(number)
        return found

    return of(claim.better), of(claim.worse)


def _rows(
    claim: RunClaim,
    names: Sequence[str],
    made: Sequence[Sides],
    sources_of: Sources,
) -> Iterator[ClaimRow]:
    places = sorted(made[0][0], key=lambda place: claim.numbers.index(place[:4]))
    scopes = [(ALL, list(range(len(names))))] if len(names) > 1 else []
    scopes += [(name, [index]) for index, name in enumerate(names)]
    for scope, members in scopes:
        for place in places:
            sides = [tuple(made[index][side][place] for side in (0, 1)) for index in members]
            yield _row(scope, place, sides, sources_of)


def _row(scope: str, place: Place, pairs: Sequence[tuple[list[Number], ...]], sources_of: Sources) -> ClaimRow:
    """The mean difference over some models, each with its numbers of several seeds on both sides."""
    means = [tuple(mean_number(side) if len(side) > 1 else side[0] for side in pair) for pair in pairs]
    counts = [len(side) for pair in pairs for side in pair]
    facts: dict[str, Any] = dict(zip(("task", "metric", "subset", "averaging", "threshold"), place, strict=True))
    facts |= {"scope": scope, "models": len(pairs), "seeds": (min(counts), max(counts))}
    values = [[side.value.value for side in pair] for pair in means]
    known = [(a, b) for a, b in values if a is not None and b is not None]
    if len(known) < len(values):
        reason = next(side.value.null_reason for pair in means for side in pair if side.value.value is None)
        return ClaimRow(**facts, better=None, worse=None, difference=None, reason=reason or "not defined")
    better, worse = fmean(a for a, _ in known), fmean(b for _, b in known)
    row = ClaimRow(**facts, better=better, worse=worse, difference=better - worse)
    of, over, why = _spread(means, [a - b for a, b in known], min(counts))
    if of is None:
        return replace(row, reason=why)
    first = means[0][0]
    p = max(difference_p(better - worse, of, first.limits), least_p(sources_of(first.value)))
    few = next((side.too_few_of_difference for pair in means for side in pair if side.too_few_of_difference), None)
    interval = difference_interval(better - worse, of, first.limits) if few is None else None
    return replace(row, counts=over, ci95=interval, p=p)


def _spread(
    means: Sequence[tuple[Number, ...]], differences: Sequence[float], seeds: int
) -> tuple[Spread | None, str, str | None]:
    """The standard error of the mean difference, what it is over, or why it is not known."""
    sides = [side for pair in means for side in pair]
    first, count = sides[0], len(means)
    if reason := next((side.too_few for side in sides if side.too_few), None):
        return None, "", f"too few sources ({reason.removeprefix('no interval: ')})"
    if first.bootstrap is None or any(side.draws is None for side in sides):
        return None, "", "nothing to resample"
    if seeds > 1:
        over = "sources, seeds"
        training = [(part / count**2, df) for side in sides for part, df in side.of_seeds]
    elif count >= LEAST_MODELS:
        over, training = "sources, models", [(variance(differences) / count, count - 1)]
    else:
        return None, "", f"too few: one seed a side, and fewer than {LEAST_MODELS} models"
    drawn = np.mean([a.draws() - b.draws() for a, b in means if a.draws and b.draws], axis=0)
    of_sources = spread(drawn, first.bootstrap())
    parts = [(of_sources.error**2, of_sources.df)] if of_sources is not None else []
    of = over_seeds(parts, training)
    return of, over, None if of is not None else "no spread: all runs and resamples agree"


def _judged(row: ClaimRow, p_holm: float | None) -> ClaimRow:
    if row.p is None or p_holm is None or row.difference is None:
        return replace(row, verdict=f"not testable: {row.reason}")
    decided = AS_CLAIMED if row.difference > 0 else OPPOSITE
    return replace(row, p_holm=p_holm, verdict=decided if p_holm < LEVEL else UNDECIDED)
