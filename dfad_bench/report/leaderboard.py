"""Records, trivial rows and reported rows to one table; what cannot be compared is never ranked together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dfad_bench.core.errors import DFADError, listed
from dfad_bench.core.files import content_hash
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ResultRecord, read_record
from dfad_bench.core.resources import shipped
from dfad_bench.core.run_folder import PACKED_RECORD, RECORD
from dfad_bench.core.shipped_files import protocol_provenance
from dfad_bench.report.board_checks import Check
from dfad_bench.report.board_columns import board_columns, default_columns, known_columns
from dfad_bench.report.board_order import marked_board, sorted_board
from dfad_bench.report.board_ranks import ONE_SEED, interval_notes, rank_rows
from dfad_bench.report.board_rows import distinguishing_settings, measured_row, reported_row, trivial_rows
from dfad_bench.report.copies import Checks, Runs, one_of_each, row_key
from dfad_bench.report.generator_ranks import generator_notes, generator_numbers, rank_over_generators
from dfad_bench.report.headline import metric_notes, unknown_metrics
from dfad_bench.report.references import shown_references
from dfad_bench.report.reported import ReportedScore
from dfad_bench.report.row_facts import (
    CHECK_NOTE,
    IMPORTED_NOTE,
    PRETRAINED,
    ShippedHash,
    edited,
    row_facts,
    row_note,
)
from dfad_bench.report.run_record import history, protocol_of, trained_elsewhere
from dfad_bench.report.table import Table
from dfad_bench.report.trivial import planned_scores, training_counts, trivial_notes, trivial_scores_of

_SYNTHETIC = "Synthetic faces show that the chain works; they say nothing about real generators."
_NOTES = (
    "Seen ACC: right generator, no threshold. Unseen ACC: confidence below the threshold, mean over groups; a model"
    " whose confidence is always low reaches 100. 95 % faces: its interval over faces (by source), and seeds where"
    " there are several; none where there are too few sources.",
    "AUROC and OSCR: seen against unseen by confidence. Detection: unseen forged faces against the protocol's real"
    " ones, pooled; balanced ACC and AUC do not reward saying fake always. AUC seen: test faces of seen groups.",
    "Ranked by OSCR, then AUC; partial runs and constant models are not ranked. # 1-3: places the 95 % interval of OSCR"
    " (of AUC where no row has OSCR) allows, taken as independent between models; `dfad compare` tests two of them on"
    " the same faces.",
    f"{ONE_SEED} one seed, not comparable over seeds: its place among models of several seeds borrows the largest"
    " variance between seeds of this section; where no model has several, places hold for these seeds only.",
)


def find_records(folders: Iterable[Path], *, with_shipped: bool = True) -> tuple[list[ResultRecord], list[str]]:
    """Records under folders and the shipped ones, and what could not be read and why."""
    records, problems = read_records(record_paths(folders, with_shipped=with_shipped))
    return list(records.values()), problems


def record_paths(folders: Iterable[Path], *, with_shipped: bool = True) -> list[Path]:
    """Every record under folders, of runs and of entries, and the shipped ones."""
    every = [*map(Path, folders), *([shipped_records()] if with_shipped else [])]
    return [path for folder in every for name in (RECORD, PACKED_RECORD) for path in sorted(folder.rglob(name))]


def shipped_records() -> Path:
    """The folder of the shipped entries."""
    return shipped("leaderboards") / "records"


def read_records(paths: Iterable[Path]) -> tuple[dict[Path, ResultRecord], list[str]]:
    """Records by path, and what could not be read and why."""
    records, problems = {}, []
    for path in paths:
        try:
            records[path] = read_record(path)
        except DFADError as error:
            problems.append(f"left out: {error}")
    return records, problems


def board(
    protocol: Protocol,
    records: Sequence[ResultRecord],
    reported: Sequence[ReportedScore] = (),
    *,
    per_group: bool = False,
    by_group: bool = False,
    problems: Sequence[str] = (),
    columns: Sequence[str] = (),
    sort: str = "",
    every_seed: bool = False,
    checks: Checks | None = None,
    shipped_hash: ShippedHash | None = None,
) -> Table:
    """The leaderboard of a protocol.

    Records are shown in one section for each (protocol hash, manifest hash, training elsewhere): rows of different
    sections were measured or trained on different faces or by different rules. Each section starts with the trivial
    rows on the same faces. Runs that differ in the seed only are one row; rows of one model are distinguished by the
    settings in which they differ. Of several records of one run the one of which most was checked stands for it (see
    `copies`); a record whose numbers do not follow from its predictions is never ranked.

    Args:
        protocol: named in the title; its groups give the trivial rows where nothing was measured yet.
        records: records of other protocols are ignored.
        reported: what papers printed; shown beneath, never ranked.
        per_group: columns for each unseen group and the facts of a row (CSV); rows always carry them (JSON).
        by_group: columns for each unseen group.
        problems: more notes.
        columns: names of the number columns, of `board_columns.known_columns`, instead of the default ones.
        sort: number column by which rows are ordered, better values first; places stay those of OSCR.
        every_seed: a row for each seed, in place of means over seeds.
        checks: what was checked here of each record, by `record_id`; others are claims.
        shipped_hash: version and hash of a shipped dataset or crop profile, to tell edited ones.

    Raises:
        UnknownNameError: no such column.
    """
    mine, strange = _of_protocol(records, protocol.name)
    runs = one_of_each(mine, checks or {})
    measured = _measured_blocks(runs, records, _FromElsewhere(checks or {}, shipped_hash), every_seed)
    blocks = measured or [_planned_block(protocol)]
    notes = [*metric_notes(columns), *([_SYNTHETIC] if protocol.synthetic else [])]
    shown = [value for value in reported if value.threshold in (None, *protocol.attribution.thresholds)]
    printed = [_reported_block(shown, protocol.attribution.headline)] if shown else []
    notes += [f"{CHECK_NOTE} {PRETRAINED}"] if measured else []
    notes += [IMPORTED_NOTE] if any(record.imported is not None for record in runs.records) else []
    notes += [note for block in blocks for note in block.notes] + runs.notes
    if len(measured) > 1:
        notes.append(f"{len(measured)} sections differ in faces, rules or training: do not compare across them.")
    notes += [note for block in printed for note in block.notes] + _deviations(mine)
    notes += _other_seeds(protocol, [row for block in measured for row in block.rows])
    notes += [f"{line}." for line in unknown_metrics(value for record in mine for value in record.metrics)]
    unasked = set(known_columns()) - set(default_columns(protocol)) - set(columns)
    rows: list[Mapping[str, Any]] = []
    headings: dict[int, str] = {}
    for block in (*blocks, *printed):
        headings[len(rows)] = block.heading
        rows += [{k: v for k, v in row.items() if k not in unasked} | _status_cell(row) for row in block.rows]
    asked: dict[str, Any] = {"per_group": per_group, "by_group": by_group, "chosen": columns}
    shown_columns = board_columns(protocol, printed=bool(shown), costs=_costs(shown), **asked)
    title = f"{protocol.title} ({protocol.name})"
    table = Table(title, shown_columns, rows, (*_NOTES, *notes, *strange, *problems), headings)
    return marked_board(sorted_board(table, sort) if sort else table)


def _costs(shown: Sequence[ReportedScore]) -> set[str]:
    return {key for value in shown for key in value.costs}


def _of_protocol(records: Sequence[ResultRecord], name: str) -> tuple[list[ResultRecord], list[str]]:
    """The records of a protocol, and a line for each whose rules are not those of the hash that it states."""
    found, strange, known = [], [], set()
    for record in (record for record in records if record.protocol.name == name):
        where = (
            f"record {record.record_id[:8]} of {record.model.display or record.model.name}, seed {record.run.seed_text}"
        )
        rules = {"config": record.protocol.config, "sha256": record.protocol.sha256}
        try:
            if (digest := content_hash(rules)) not in known:  # rows of one board mostly have the same rules
                protocol_of({"protocol": rules}, where)
                known.add(digest)
        except DFADError as error:  # edited, or of a folder that is not included now
            strange.append(f"left out: {error}")
        else:
            found.append(record)
    return found, strange


class _FromElsewhere(NamedTuple):
    """What is known of records from elsewhere."""

    checks: Checks
    shipped_hash: ShippedHash | None


class _Block(NamedTuple):
    """Rows of a board under one heading, and the notes about them."""

    heading: str
    rows: Sequence[Mapping[str, Any]]
    notes: Sequence[str]


def _measured_blocks(
    runs: Runs, records: Sequence[ResultRecord], about: _FromElsewhere, every_seed: bool
) -> list[_Block]:
    """A block for each set of faces, rules and training; then those trained elsewhere, then imported."""
    sections: dict[tuple[str, str, str, bool], list[ResultRecord]] = {}
    for record in runs.records:
        rules, elsewhere = record.protocol.sha256, trained_elsewhere(record) or ""
        key = (rules, record.manifest.content_sha256, elsewhere, record.imported is not None)
        sections.setdefault(key, []).append(record)
    blocks = []
    for (_, faces, elsewhere, imported), members in sorted(
        sections.items(), key=lambda item: (item[0][3], bool(item[0][2]))
    ):
        heading = f"Faces {faces[:8]}, trained elsewhere" if elsewhere else f"Measured on faces {faces[:8]}"
        heading = f"Imported predictions, faces {faces[:8]}" if imported else heading
        version, counts = members[0].protocol.version, members[0].manifest.splits
        sizes = ", ".join(f"{split.rows:,} {name}" for name, split in counts.items())
        note = f"Faces {faces[:8]}: {members[0].manifest.name}, {sizes}; protocol version {version}"
        rows, lines = _section(members, records, runs.unsettled, about, every_seed)
        heading += edited([row for row in rows if row["kind"] in ("measured", "imported")])
        blocks.append(_Block(heading, rows, [f"{note}; {elsewhere}." if elsewhere else f"{note}.", *lines]))
    return blocks


def _planned_block(protocol: Protocol) -> _Block:
    """The trivial rows of the faces that the protocol asks for."""
    planned = planned_scores(protocol)
    rows = trivial_rows({name: score.metrics for name, score in planned.items()}, protocol)
    return _Block("Nothing measured yet", rows, trivial_notes(planned))


def _reported_block(shown: Sequence[ReportedScore], headline: float) -> _Block:
    """What papers printed."""
    notes = [
        "Reported rows come from other code and other faces and are not ranked.",
        "Reported unseen ACC is the mean of the printed cells; 'Printed' is the average as printed.",
        *dict.fromkeys(f"{value.printed}, {value.table}: {value.note}" for value in shown if value.note),
    ]
    rows: dict[tuple[str | None, ...], list[ReportedScore]] = {}
    for value in shown:
        rows.setdefault((value.model, value.printed, value.table, value.variant), []).append(value)
    return _Block("Reported by papers", [reported_row(values, headline) for values in rows.values()], notes)


def _section(
    records: list[ResultRecord],
    others: Sequence[ResultRecord],
    unsettled: Collection[str],
    about: _FromElsewhere,
    every_seed: bool,
) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of one section, and notes; `others` may hold the records of the runs that it evaluates."""
    protocol = protocol_of({"protocol": {"config": records[0].protocol.config}}, "record")
    largest = max(records, key=lambda r: (sum(group.n for group in r.groups.values()), training_counts(r) is not None))
    constant = trivial_scores_of(largest, protocol, others)
    best_checked = sorted(records, key=lambda r: -about.checks.get(r.record_id, Check()).rank)
    references, of_references = shown_references(best_checked)
    rows = trivial_rows({**{name: score.metrics for name, score in constant.items()}, **references}, protocol)
    runs = _rows(records, unsettled, about.checks, every_seed)
    tags = distinguishing_settings([members[0] for members in runs.values()])
    measured, protocol_is = [], str(protocol_provenance(protocol))
    for place, members in enumerate(runs.values()):
        row = measured_row(members, protocol, tags[place])
        row |= generator_numbers(members, protocol)
        row |= row_facts(members, protocol_is, about.checks, about.shipped_hash)
        row["settled"] = members[0].record_id not in unsettled
        measured.append(row)
    measured.sort(key=_order)
    rank_rows([row for row in measured if _is_ranked(row)])
    rank_over_generators([row for row in measured if _is_ranked(row)])
    for row in measured:
        del row["_oscr_by_seed"], row["_detection_auc_by_seed"], row["_over"]
    notes = [
        *trivial_notes(constant),
        *of_references,
        *_protocol_notes(protocol, records[0].manifest.content_sha256),
        *map(row_note, measured),
        *interval_notes(measured),
        *generator_notes(measured),
    ]
    for row in measured:
        del row["_real_sources"]
    return [*rows, *measured], notes


def _rows(
    records: Sequence[ResultRecord], unsettled: Collection[str], checks: Checks, every_seed: bool
) -> dict[str, list[ResultRecord]]:
    """The records of each row. In no mean with others, and not ranked: what is disputed or does not follow.

    Claims are in no mean with records that were checked: whoever adds one would move the number of honest runs.
    """
    runs: dict[str, list[ResultRecord]] = {}
    for record in records:
        check = checks.get(record.record_id, Check())
        disputed = record.record_id in unsettled or check.level == "contradicted"
        alone = record.record_id if disputed or every_seed else ""
        runs.setdefault(f"{row_key(record)} {'checked' if check.checked else 'claimed'} {alone}", []).append(record)
    return {key: sorted(members, key=lambda one: (one.run.seed or 0, one.record_id)) for key, members in runs.items()}


def _protocol_notes(protocol: Protocol, faces: str) -> list[str]:
    """In what a protocol differs from the shipped one of its name."""
    found = protocol_provenance(protocol)
    if found.origin not in ("edited", "version"):
        return []
    return [f"Faces {faces[:8]}: protocol {found}; {'; '.join(found.differs) or 'its generators are other ones'}."]


def _is_ranked(row: Mapping[str, Any]) -> bool:
    return row["status"] == "complete" and not row["trivial"] and row["settled"] and row["checked"] != "contradicted"


def _status_cell(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the table for people shows of a row's status."""
    status = str(row["status"])
    if short_groups := row.get("short_groups"):
        status += f", {short_groups} short"
    return {"status_shown": status + ("" if row.get("settled", True) else ", disputed")}


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    worst = -1.0
    numbers = (-(worst if row[key] is None else row[key]) for key in ("oscr", "detection_auc"))
    return (not _is_ranked(row), *numbers, row["model"])


def _other_seeds(protocol: Protocol, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each row whose seeds are not those that the protocol asks for."""
    asked = sorted(protocol.seeds)
    shown = ", ".join(map(str, asked))
    odd = [row for row in rows if asked and row["kind"] == "measured" and row["seed_list"] != asked]
    return [f"{row['model']}: seeds {row['seeds_shown']}, the protocol's are {shown}." for row in odd]


def _deviations(records: Sequence[ResultRecord]) -> list[str]:
    lines: dict[str, None] = {}
    for record in records:
        name = record.model.display or record.model.name
        if record.status != "complete":
            lines[f"{name}: {record.status} ({record.run.stopped or 'unfinished'})"] = None
        lines |= dict.fromkeys(f"{name}: {line}" for line in history(record))
        if deviations := record.protocol.deviations:
            lines[f"{name}: {listed(deviations, 3, '; ')}"] = None
    return list(lines)
