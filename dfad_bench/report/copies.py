"""Several records of one run, or of one seed of one model: which of them stands for it, and what is said of the others.

The copy of which most was checked here stands for the run; the first path, or what a copy says of itself, decides
nothing. Where that leaves several that differ, or none that was checked, none is ranked; only where several were
predicted again was the run trained more than once, and the least of them counts. Several seeds of a row that have the
same numbers are one run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dfad_bench.core.files import content_hash
from dfad_bench.core.record import ResultRecord
from dfad_bench.report.board_checks import Check
from dfad_bench.report.record_diff import TOLERANCE, metric_name
from dfad_bench.report.run_record import settings_but_seed

_NAMED = 4  # records of a conflict
ROUNDING = 0.005  # of a share: two trainings with the same settings and seed on other machines
ONE_CHECKPOINT = 1e-4  # of every number: one set of weights under several seeds, or with noise that changes no answer
Checks = Mapping[str, Check]  # by `record_id`


@dataclass(frozen=True)
class Runs:
    """One record for each run; `unsettled` are those of which copies differ and none is better checked."""

    records: list[ResultRecord] = field(default_factory=list)
    unsettled: set[str] = field(default_factory=set)  # record_id
    notes: list[str] = field(default_factory=list)


def one_of_each(records: Sequence[ResultRecord], checks: Checks) -> Runs:
    """One record for each run on the same faces and rules, and for each seed of a row.

    Copies to the letter and evaluations of a run on its own faces count once. Records that another version of the
    toolkit made, and partial ones, are rows of their own.
    """
    found = Runs()
    distinct = {record.record_id: record for record in records}.values()
    runs = _settle_groups(_grouped(distinct, _run_key), checks, found)
    seeds = _settle_groups(
        _grouped(runs, lambda record: content_hash([row_key(record), seed_of(record)])), checks, found
    )
    seeds = _once_a_checkpoint(seeds, checks, found)
    return replace(found, records=seeds, notes=[*found.notes, *_other_versions(seeds)])


def row_key(record: ResultRecord) -> str:
    """Runs with the same key differ in the seed only and are one row; a record that hides its settings is alone."""
    settings: Any = settings_but_seed(record) or record.run.config_sha256
    elsewhere = (record.protocol.sha256, record.manifest.content_sha256, *([True] if record.imported else []))
    model = (record.model.name, record.model.registry_sha256)
    return content_hash([*model, settings, record.status, record.toolkit.version, *elsewhere])


def seed_of(record: ResultRecord) -> list[int | None]:
    """The seed of a run, and those of the runs whose weights it started from."""
    seeds: list[int | None] = [record.run.seed]
    init = record.model.init
    while isinstance(init, dict) and init.get("kind") == "run":
        seeds.append(init.get("seed", -1))
        init = init.get("init", {})
    return seeds


def agree(a: ResultRecord, b: ResultRecord, tolerance: float) -> bool:
    """Whether two records state the same numbers, within a tolerance or one face.

    A number that one of them leaves open (null) is not the same as one that is given.
    """
    ours, theirs = ({metric_name(v): v for v in r.metrics} for r in (a, b))
    pairs = [(ours[name].value, theirs[name].value, ours[name].n) for name in ours.keys() & theirs.keys()]
    given = [(one, other, n) for one, other, n in pairs if one is not None or other is not None]
    return bool(given) and all(
        one is not None and other is not None and abs(one - other) <= _allowed(n, tolerance) for one, other, n in given
    )


def _allowed(faces: int, tolerance: float) -> float:
    return max(tolerance, 1 / max(faces, 1)) if tolerance else TOLERANCE


def _run_key(record: ResultRecord) -> str:
    about = (record.protocol.sha256, record.manifest.content_sha256, record.toolkit.version, record.status)
    return content_hash([record.run.config_sha256, *about])


def _grouped(records: Iterable[ResultRecord], key: Callable[[ResultRecord], str]) -> list[list[ResultRecord]]:
    groups: dict[str, list[ResultRecord]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return list(groups.values())


def _settle_groups(groups: Sequence[list[ResultRecord]], checks: Checks, found: Runs) -> list[ResultRecord]:
    """One record of each group, and notes where they differ."""
    return [_settle_group(members, checks, found) if len(members) > 1 else members[0] for members in groups]


def _settle_group(members: Sequence[ResultRecord], checks: Checks, found: Runs) -> ResultRecord:
    def check(record: ResultRecord) -> Check:
        return checks.get(record.record_id, Check())

    best = max(map(check, members), key=lambda one: one.rank)
    top = [record for record in members if check(record).rank == best.rank]
    chosen, least = min(top, key=_own_then_least), min(top, key=_oscr)
    if all(agree(chosen, other, 0.0) for other in members):
        return chosen
    who = f"{chosen.model.display or chosen.model.name}, seed {chosen.run.seed_text}"
    places = ", ".join(
        f"{check(record).place or record.record_id[:8]} ({check(record)})" for record in members[:_NAMED]
    )
    more = f" and {len(members) - _NAMED} more" if len(members) > _NAMED else ""
    finding = f"{who}: {len(members)} records with other numbers: {places}{more}"
    shown = f"shown is {check(chosen).place or chosen.record_id[:8]}"
    alike = all(agree(chosen, other, ROUNDING) for other in top)
    if alike and (best.checked or len(top) == len(members)):
        found.notes.append(f"{finding}; {shown}.")
        return chosen
    if best.level == "repredicted":
        found.notes.append(
            f"{finding}; several are predicted again here, so it was trained more than once: the least counts."
        )
        return least
    found.unsettled.add(least.record_id)
    found.notes.append(
        f"{finding}; not ranked: `dfad verify-record --repredict` finds which of them the checkpoint makes."
    )
    return least


def _once_a_checkpoint(records: Sequence[ResultRecord], checks: Checks, found: Runs) -> list[ResultRecord]:
    """The records without those that state another seed for the numbers of one that is kept: they are no further run.

    Copies of one checkpoint would pass for seeds that do not vary, with the narrow interval of such a mean.
    """
    kept: list[ResultRecord] = []
    for members in _grouped(records, row_key):
        best_first = sorted(members, key=lambda one: (-checks.get(one.record_id, Check()).rank, one.run.seed or 0))
        numbers = [{metric_name(value): value.value for value in record.metrics} for record in best_first]
        distinct: list[ResultRecord] = []
        kept_numbers: list[Mapping[str, float | None]] = []
        for record, mine in zip(best_first, numbers, strict=True):
            alike = record.model.task != "trivial"
            pairs = zip(distinct, kept_numbers, strict=True)
            same = [one for one, theirs in pairs if alike and _one_checkpoint(theirs, mine)]
            if not same:
                distinct.append(record)
                kept_numbers.append(mine)
                continue
            who, shown = record.model.display or record.model.name, same[0].run.seed_text
            found.notes.append(
                f"{who}: seed {record.run.seed_text} has the numbers of seed {shown}: one run, counted once."
            )
        kept += [record for record in members if record in distinct]
    return kept


def one_checkpoint(a: ResultRecord, b: ResultRecord) -> bool:
    """Whether all numbers of two records are the same but for noise: one set of weights."""
    ours, theirs = ({metric_name(value): value.value for value in record.metrics} for record in (a, b))
    return _one_checkpoint(ours, theirs)


def _one_checkpoint(ours: Mapping[str, float | None], theirs: Mapping[str, float | None]) -> bool:
    """Whether all numbers of two records, by name, are the same but for noise."""
    pairs = [(ours[name], theirs[name]) for name in ours.keys() & theirs.keys()]
    given = [(one, other) for one, other in pairs if one is not None or other is not None]
    return bool(given) and all(
        one is not None and other is not None and abs(one - other) <= ONE_CHECKPOINT for one, other in given
    )


def _own_then_least(record: ResultRecord) -> tuple[bool, float]:
    """The record of the run itself, which names its training faces, before an evaluation of it; then the least."""
    return "train" not in record.manifest.splits, _oscr(record)


def _oscr(record: ResultRecord) -> float:
    value = record.metric("oscr", "seen-vs-unseen")
    return 2.0 if value is None or value.value is None else value.value


def _other_versions(records: Sequence[ResultRecord]) -> list[str]:
    """A line for each model of which several versions of the toolkit or of its code are rows of their own."""
    lines = []
    for name in dict.fromkeys(record.model.name for record in records):
        mine = [record for record in records if record.model.name == name]
        shown = mine[0].model.display or name
        if len(versions := sorted({record.toolkit.version for record in mine})) > 1:
            lines.append(f"{shown}: records of dfad_bench {', '.join(versions)} are rows of their own, never averaged.")
        if len({record.model.registry_sha256 for record in mine}) > 1:
            lines.append(f"{shown}: records of several versions of its code are rows of their own, never averaged.")
    return lines
