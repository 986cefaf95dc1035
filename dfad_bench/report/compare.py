"""Is one run better than another? Paired tests on the same test faces, corrected for the number of tests.

- Shares of right faces (pooled accuracy, one group): McNemar's test on sources, exact where few differ.
- Areas under a ROC curve: DeLong's test, with the covariance of faces that share a source; a permutation test where
  their difference has no variance, as of a perfect and a constant model.
- All else (means over groups, balanced accuracy, OSCR, average precision, ...): the difference over its standard
  error, from a paired bootstrap over sources, by Student's t (`metrics.spread`).

The test is always of the difference that is printed: a mean over groups is not tested by counting faces, which would
let the largest group decide. Every difference has its interval from that bootstrap. A number without spread has no
p-value, and says so: a few faces that all agree are no certainty. p-values are Holm's over the whole table, so that
looking at more numbers does not show more differences by chance. Means over several seeds count the spread between
seeds, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dfad_bench.core.errors import ConfigError, listed
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ResultRecord, read_record
from dfad_bench.core.run_folder import RunFolder, not_a_run, runs_in
from dfad_bench.metrics import METRICS
from dfad_bench.report.generator_pairs import (
    ComparedOverGenerators,
    compared_over_generators,
    corrected_over_generators,
    generator_verdicts,
    generator_wins,
)
from dfad_bench.report.headline import Key, headline_keys, metric_notes, scored_metrics, unknown_metrics
from dfad_bench.report.paired_numbers import LEVEL, Compared, Place, Sources, compared, corrected, mean_number, place_of
from dfad_bench.report.run_record import protocol_of, read_predictions, trained_elsewhere
from dfad_bench.report.score import numbers
from dfad_bench.report.scored_faces import Number
from dfad_bench.report.table import Column, Table

RESAMPLES = 2000
_LABELS = ("group", "source_key", "attribution_label", "detection_label")
_ALSO_MAIN = {("detection", "auc", "seen", "micro")}


@dataclass(frozen=True)
class Comparison:
    """Two runs on the same faces: names, numbers, and notes for the reader.

    Where a side has runs of several seeds, `rows` compare means over seeds and `of_seeds` each seed. `rows` test over
    sources: who is better on other faces of these generators; `over_generators`: on other generators.
    """

    a: str
    b: str
    protocol: str
    faces: int
    sources: int
    rows: tuple[Compared, ...]
    notes: tuple[str, ...]
    of_seeds: tuple[Comparison, ...] = ()
    over_generators: tuple[ComparedOverGenerators, ...] = ()

    def __str__(self) -> str:
        """The tables that `dfad compare` prints."""
        return "\n".join(table.render("rich") for table in comparison_tables(self))


def compare_runs(
    run_a: Path, run_b: Path, *, everything: bool = False, resamples: int = RESAMPLES, seed: int = 0
) -> Comparison:
    """Test the numbers of two finished runs against each other.

    Of folders with runs of several seeds the means over seeds are compared, over faces and over seeds; `of_seeds` holds
    the comparison of each seed with the same seed of the other, or with the other's only run.

    Args:
        run_a: a run folder with `record.json` and predictions, or one with runs of several seeds.
        run_b: another, of the same protocol, manifests and test faces.
        everything: compare every number, groups and near/far sets included, instead of the main ones.
        resamples: of the paired bootstrap.
        seed: of the paired bootstrap.

    Raises:
        ConfigError: not a finished run, or runs that cannot be compared; says in what they differ.
        IntegrityError: predictions are not those of their record.
    """
    sides = [[read_run(run) for run in runs_in(Path(folder))] for folder in (run_a, run_b)]
    first = sides[0][0]
    for other in (*sides[0][1:], *sides[1]):
        refuse_unlike(first, other)
    protocol = protocol_of({"protocol": {"config": first.record.protocol.config}}, str(run_a))
    a, b = ([_Scored(run, numbers_by_place(run, protocol, resamples, seed)) for run in side] for side in sides)
    rules = _Rules(protocol, everything, resamples)
    if len(a) == len(b) == 1:
        return _comparison(a, b, rules)
    pairs = [(one, other) for one in a for other in b if 1 in (len(a), len(b)) or one.seed == other.seed]
    of_seeds = tuple(_comparison([one], [other], rules) for one, other in pairs)
    return _comparison(a, b, rules, of_seeds)


@dataclass(frozen=True)
class ReadRun:
    """A run, its record, and its predictions in the order of face names."""

    folder: Path
    record: ResultRecord
    frame: pd.DataFrame


@dataclass(frozen=True)
class _Scored:
    """A run and its numbers."""

    run: ReadRun
    numbers: Mapping[Place, Number]

    @property
    def seed(self) -> int | None:
        return self.run.record.run.seed


@dataclass(frozen=True)
class _Rules:
    """What is compared, and how often is drawn."""

    protocol: Protocol
    everything: bool
    resamples: int


def numbers_by_place(run: ReadRun, protocol: Protocol, resamples: int, seed: int) -> dict[Place, Number]:
    """Every number of a run, before its interval is drawn."""
    _, found = numbers(run.frame, protocol, heads=run.record.model.heads, resamples=resamples, seed=seed)
    return {place_of(number.value): number for number in found}


def _comparison(
    a: Sequence[_Scored], b: Sequence[_Scored], rules: _Rules, of_seeds: tuple[Comparison, ...] = ()
) -> Comparison:
    """Two runs, or the means of several on either side."""
    frame, sources_of = a[0].run.frame, Sources(a[0].run.frame)
    pairs = {key: _pair_of_means(a, b, key) for key in a[0].numbers}
    keys = [key for key in pairs if rules.everything or _is_main(key, a[0].numbers[key])]
    rows = corrected([compared(*pairs[key], sources_of(pairs[key][0].value)) for key in keys])
    over = [compared_over_generators(pairs[key], pairs, rules.protocol) for key in keys]
    notes = _notes([side.run.record for side in a], [side.run.record for side in b], rows, frame)
    sources = int(frame["source_key"].nunique())
    over_all = corrected_over_generators([one for one in over if one is not None])
    return Comparison(
        _name(a), _name(b), rules.protocol.name, len(frame), sources, tuple(rows), tuple(notes), of_seeds, over_all
    )


def _pair_of_means(a: Sequence[_Scored], b: Sequence[_Scored], key: Place) -> tuple[Number, Number]:
    sides = [[scored.numbers[key] for scored in side] for side in (a, b)]
    if len(a) == len(b) == 1:
        return sides[0][0], sides[1][0]
    return mean_number(sides[0]), mean_number(sides[1])


def comparison_tables(found: Comparison) -> list[Table]:
    """The tables of a comparison: over faces, over generators, and who wins on which generator."""
    if not found.over_generators:
        return [comparison_table(found)]
    runs = f"A: {found.a}   B: {found.b}"
    return [
        comparison_table(found),
        generator_verdicts(found.over_generators, f"On other generators   {runs}"),
        generator_wins(found.over_generators, f"By generator   {runs}"),
    ]


def comparison_table(found: Comparison) -> Table:
    """The table of a comparison over faces."""
    columns = (
        Column("number", "Number", "text"),
        Column("a", "A", "by_unit"),
        Column("b", "B", "by_unit"),
        Column("difference", "A - B", "by_unit"),
        Column("low", "95 % from", "by_unit"),
        Column("high", "to", "by_unit"),
        Column("test", "Test", "text"),
        Column("p", "p", "p_value", 4),
        Column("p_holm", "p (Holm)", "p_value", 4),
        Column("verdict", "Better on other faces", "text"),
    )
    rows = [_row(value) for value in found.rows]
    title = f"A: {found.a}   B: {found.b}   ({found.protocol}, {found.faces:,} faces)"
    return Table(title, columns, rows, found.notes)


def _row(value: Compared) -> dict[str, Any]:
    at = "" if value.threshold is None else f" @{value.threshold:g}"
    low, high = value.ci95 or (None, None)
    verdict = {"a": "A", "b": "B", None: "not shown"}[value.better]
    unit = METRICS[value.metric].unit
    name = value.metric if unit == "share" else f"{value.metric} [{unit}]"
    test = value.test and value.test + (f" ({value.assignments:,})" if value.assignments else "")
    return {
        **vars(value), "unit": unit, "test": test,
        "number": f"{value.task} {name}{at}, {value.subset} ({value.averaging})",
        "low": low, "high": high, "verdict": value.null_reason or verdict,
    }  # fmt: skip


def read_run(run: Path) -> ReadRun:
    """A finished run.

    Raises:
        ConfigError: not one.
        IntegrityError: predictions are not those of their record.
    """
    path = RunFolder(run).record
    if not path.is_file():
        raise ConfigError(not_a_run(run, path.name))
    record = read_record(path)
    frame = read_predictions(run, {"path": record.predictions.path, "sha256": record.predictions.sha256})
    return ReadRun(run, record, frame.sort_values("sample_id", kind="stable", ignore_index=True))


def refuse_unlike(first: ReadRun, second: ReadRun) -> None:
    """Refuse runs whose numbers do not compare.

    Raises:
        ConfigError: other protocols, manifests, test faces or labels.
    """
    a, b, frame_a, frame_b = first.record, second.record, first.frame, second.frame
    where = f"{first.folder} and {second.folder} cannot be compared"
    if a.protocol.sha256 != b.protocol.sha256:
        names = [f"{r.protocol.name} version {r.protocol.version} ({r.protocol.sha256[:8]})" for r in (a, b)]
        raise ConfigError(f"{where}: other protocols, {names[0]} and {names[1]}; train both under one")
    if a.manifest.content_sha256 != b.manifest.content_sha256:
        hashes = [r.manifest.content_sha256[:8] for r in (a, b)]
        raise ConfigError(f"{where}: other manifests, {hashes[0]} and {hashes[1]}; use the same for both")
    ids = [set(frame["sample_id"]) for frame in (frame_a, frame_b)]
    if ids[0] != ids[1]:
        only = [len(ids[0] - ids[1]), len(ids[1] - ids[0])]
        raise ConfigError(f"{where}: other test faces ({only[0]} only in the first, {only[1]} only in the second)")
    if not all(frame_a[name].equals(frame_b[name].astype(frame_a[name].dtype)) for name in _LABELS):
        raise ConfigError(f"{where}: the same faces have other groups, sources or labels")


def _is_main(place: Place, number: Number) -> bool:
    """Whether a number is compared unasked; of processed real faces only where there are some."""
    return place[:4] in _main_numbers() and (METRICS[place[1]].on != "processed" or number.value.value is not None)


def _main_numbers() -> set[Key]:
    """What is compared unless everything is asked for, at every threshold: the headlines that the table says."""
    headlines = [headline_keys(name) for name in scored_metrics() if METRICS[name].main]
    return {*_ALSO_MAIN, *(key for keys in headlines for key in keys)}


def _notes(
    of_a: Sequence[ResultRecord],
    of_b: Sequence[ResultRecord],
    rows: list[Compared],
    frame: pd.DataFrame,
) -> Iterator[str]:
    tests = sum(row.p is not None for row in rows)
    yield (
        f"Better on other faces, of these generators: p below {LEVEL:g} after Holm's correction over the {tests} tests"
        " of this table."
    )
    yield from metric_notes(dict.fromkeys(row.metric for row in rows))
    for why, alike in _by_reason(rows).items():
        yield f"{alike} of {len(rows)} differences have {why}."
    if any(row.assignments for row in rows):
        yield "Permutation: labels dealt anew to the sources, over as many ways as stand behind it, scores as they are."
    yield from _notes_on_faces(frame)
    for name, records in (("A", of_a), ("B", of_b)):
        yield from dict.fromkeys(line for record in records for line in _notes_on_run(name, record, len(records) > 1))
    if len(of_a) == len(of_b) == 1:
        yield "One run each: the spread over seeds is not part of these tests."
        return
    seeds = [sorted((record.run.seed_text for record in records), key=_in_order) for records in (of_a, of_b)]
    single_seed = [name for name, some in zip("AB", seeds, strict=True) if len(some) == 1]
    yield "Means over seeds: intervals and tests count the spread over faces and over seeds (Satterthwaite)."
    yield from (
        f"{name} has one seed: its spread over seeds is not known, and not in these tests." for name in single_seed
    )
    if 1 not in map(len, seeds) and seeds[0] != seeds[1]:
        shown = [", ".join(some) for some in seeds]
        yield f"A has seeds {shown[0]}, B {shown[1]}; only seeds of both are compared one by one."


def _in_order(seed: str) -> tuple[int, str]:
    """Numbers by their size."""
    return len(seed), seed


def _by_reason(rows: Sequence[Compared]) -> dict[str, int]:
    """Why differences have no interval, and how many."""
    reasons = [row.ci_reason for row in rows if row.ci_reason is not None and row.difference is not None]
    return {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}


def _notes_on_faces(frame: pd.DataFrame) -> Iterator[str]:
    faces, sources = len(frame), frame["source_key"].nunique()
    if sources < faces:
        yield f"{faces:,} faces come from {sources:,} sources: all tests and intervals treat a source as one."


def _notes_on_run(name: str, record: ResultRecord, several: bool) -> Iterator[str]:
    yield from (f"{name} states {line}." for line in unknown_metrics(record.metrics))
    name = f"{name}, seed {record.run.seed_text}," if several else name
    if record.status != "complete":
        yield f"{name} is {record.status} ({record.run.stopped or 'unfinished'})."
    if (elsewhere := trained_elsewhere(record)) is not None:
        yield f"{name} was {elsewhere}."
    if record.protocol.deviations:
        yield f"{name} departs from the protocol: {listed(record.protocol.deviations, 3, '; ')}."


def _name(side: Sequence[_Scored]) -> str:
    record = side[0].run.record
    seeds = ", ".join(scored.run.record.run.seed_text for scored in side)
    return f"{record.model.display or record.model.name}, " + (
        f"seed {seeds}" if len(side) == 1 else f"mean of seeds {seeds}"
    )
