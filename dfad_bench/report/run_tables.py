"""A record's numbers as tables: all of them, by group, over thresholds, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dfad_bench.core.errors import IntegrityError
from dfad_bench.core.labels import FAKE, REAL
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import MetricValue, ResultRecord
from dfad_bench.metrics.detection import Confusion, accuracy_of
from dfad_bench.report.headline import at_headline, metric_notes, unit_of, unknown_metrics
from dfad_bench.report.over_generators import Key, OverGenerators, number_key, over_generators
from dfad_bench.report.real_sources import real_sources_line
from dfad_bench.report.references import shown_references
from dfad_bench.report.run_record import history, protocol_of, trained_elsewhere
from dfad_bench.report.table import Column, Table

_GROUP_NUMBERS = {"correct": ("attribution", "seen_accuracy"), "auc": ("detection", "auc")}
OVER_GENERATORS = (
    "95 % generators: the interval for other generators of this kind, of which those of the protocol are taken for a"
    " sample. The other interval is over faces of these generators."
)
_OLD = "the record was made before {}; `dfad evaluate --run RUN --rescore` adds them"


def metrics_table(record: ResultRecord) -> Table:
    """Every number with its interval, or why it or its interval is not defined."""
    columns = [
        Column("task", "Task", "text"),
        Column("metric", "Metric", "text"),
        Column("subset", "Faces", "text"),
        Column("averaging", "Mean", "text"),
        Column("threshold", "At", "number"),
        Column("value", "Value", "by_unit"),
        Column("low", "95 % from", "by_unit"),
        Column("high", "to", "by_unit"),
        Column("n", "n", "count"),
        Column("null_reason", "Not defined", "text"),
    ]
    over = over_generators(record.metrics, _protocol(record))
    if any(found.ci95 for found in over.values()):
        columns[7:7] = [
            Column("generators_low", "95 % generators from", "by_unit"),
            Column("generators_high", "to", "by_unit"),
            Column("generators", "Generators", "count"),
        ]
    if any(value.ci_reason for value in record.metrics):
        columns.append(Column("ci_reason", "No interval", "text"))
    place = [column.key for column in columns].index("n")
    columns[place:place] = [Column(name, name, "by_unit") for name in record.references]
    of_references = {name: {_key(v): v.value for v in values} for name, values in record.references.items()}
    units = {value.metric: unit_of(value) for value in record.metrics}
    if set(units.values()) != {"share"}:
        columns.insert(2, Column("unit", "Unit", "text"))
    rows = []
    for value in record.metrics:
        low, high = value.ci95 or (None, None)
        facts = {**vars(value), "threshold": value.params.get("threshold"), "low": low, "high": high}
        facts["unit"] = units[value.metric]
        facts |= _over_generators(over.get(number_key(value)))
        facts["ci_reason"] = None if value.ci_reason is None else value.ci_reason.removeprefix("no interval: ")
        facts |= {name: values.get(_key(value)) for name, values in of_references.items()}
        rows.append({key: facts[key] for key in dict.fromkeys([*(column.key for column in columns), "unit"])})
    notes = (*metric_notes(dict.fromkeys(value.metric for value in record.metrics)), *unknown_metrics(record.metrics))
    notes = (*notes, *_generator_reasons(over), *shown_references([record])[1], *_stamps(record))
    return Table(_title(record, "all numbers"), tuple(columns), rows, notes)


def groups_table(record: ResultRecord, *, protocol: Protocol | None = None) -> Table:
    """A row for each test group: shares named rightly, below the threshold, detected rightly, and the area.

    `protocol`: that of the record, where it was read before.
    """
    protocol = protocol or _protocol(record)
    headline = protocol.attribution.headline
    numbers = at_headline(record.metrics, headline)

    def value(task: str, metric: str, key: str) -> float | None:
        number = numbers.get((task, metric, key, "none"))
        return number.value if number is not None else None

    columns = [
        Column("group", "Group", "text"),
        Column("seen", "Seen", "text"),
        Column("n", "n", "count"),
        Column("correct", "Named rightly", "percent"),
        Column("below", f"Below {headline:g}", "percent"),
        Column("detected", "Detection ACC", "percent"),
        Column("auc", "AUC", "percent"),
    ]
    references = {name: at_headline(values, headline) for name, values in record.references.items()}
    for name in references:
        titles = {"correct": f"{name} named", "auc": f"{name} AUC"}
        columns += [Column(f"{name}:{column}", title, "percent") for column, title in titles.items()]
    rows = []
    for key, counts in record.groups.items():
        below = counts.below.get(f"{headline:g}")
        rows.append(
            {
                "group": key, "seen": "yes" if counts.seen else "no", "n": counts.n,
                "correct": value("attribution", "seen_accuracy", key),
                "below": None if below is None else below / counts.n,
                "detected": accuracy_of(Confusion(counts.tp, counts.fp, counts.fn, counts.tn)),
                "auc": value("detection", "auc", key),
            }
        )  # fmt: skip
        for name, theirs in references.items():
            for column, number in _GROUP_NUMBERS.items():
                found = theirs.get((*number, key, "none"))
                rows[-1][f"{name}:{column}"] = None if found is None else found.value
    notes = (_auc_note(record, protocol), *shown_references([record])[1], *_stamps(record))
    return Table(_title(record, "by group"), tuple(columns), rows, notes)


def _auc_note(record: ResultRecord, protocol: Protocol) -> str:
    processed = {group.key for group in protocol.unseen if group.taxon.processed} & record.groups.keys()
    labels = [counts.detection_label for key, counts in record.groups.items() if key not in processed]
    real, forged = labels.count(REAL), labels.count(FAKE)
    others = f" Processed real faces, in no AUC: {', '.join(sorted(processed))}." if processed else ""
    return f"AUC: against the real faces of the same side; {real} real, {forged} forged groups.{others}"


def sweep_table(record: ResultRecord) -> Table:
    """Attribution at every threshold of the sweep."""
    columns = (
        Column("threshold", "Threshold", "number"),
        Column("unseen_accuracy", "Unseen below", "percent"),
        Column("seen_kept", "Seen kept", "percent"),
        Column("seen_right", "Seen kept and right", "percent"),
    )
    swept, notes = record.sweep, list(_stamps(record))
    if swept is None:
        reason = _OLD.format("thresholds were swept") if record.schema_version == "1.0" else "no attribution expert"
        return Table(_title(record, "over thresholds"), columns, [], (reason, *notes))
    shares = ("unseen_accuracy", "seen_kept", "seen_right")
    rows = [
        {"threshold": threshold, **{key: getattr(swept, key)[place] for key in shares}}
        for place, threshold in enumerate(swept.thresholds)
    ]
    return Table(_title(record, "over thresholds"), columns, rows, tuple(notes))


def confusion_table(record: ResultRecord) -> Table:
    """A row for each test group: the share of its faces of which each seen generator is the most probable class."""
    protocol = _protocol(record)
    headline = protocol.attribution.headline
    seen = sorted(protocol.seen, key=lambda group: group.label)
    columns = [Column("group", "Faces of", "text"), Column("n", "n", "count")]
    columns += [Column(group.key, group.taxon.display, "percent", 1) for group in seen]
    rows: list[dict[str, Any]] = []
    headings: dict[int, str] = {}
    for side, title in ((True, "Seen"), (False, "Unseen, taken for")):
        mine = {key: counts for key, counts in record.groups.items() if counts.seen is side and counts.named}
        headings |= {len(rows): title} if mine else {}
        for key, counts in mine.items():
            if len(counts.named) != len(seen):
                raise IntegrityError(f"record: {key} is named as {len(counts.named)} classes, not as {len(seen)}")
            shares = {group.key: counts.named[place] / counts.n for place, group in enumerate(seen)}
            rows.append({"group": key, "n": counts.n, **shares})
    notes = [
        f"Most probable class, whatever its probability; how many are below {headline:g} is in the table by group."
    ]
    if not rows:
        notes = [_OLD.format("confusions were kept") if record.schema_version == "1.0" else "no attribution expert"]
    title = _title(record, "confusion matrix")
    return Table(title, tuple(columns), rows, (*notes, *_stamps(record)), headings)


def _generator_reasons(over: Mapping[Key, OverGenerators]) -> list[str]:
    """What the columns over generators are of, what they did with real faces, and why means have none."""
    shown = {f"{key[1]} of {key[2]}": found for key, found in over.items() if found.ci95}
    lines = [f"{OVER_GENERATORS} {real_sources_line(shown)}"] if shown else []
    reasons = [found.reason for found in over.values() if found.reason]
    return lines + [f"{reasons.count(why)} means {why}." for why in dict.fromkeys(reasons)]


def _over_generators(found: OverGenerators | None) -> dict[str, Any]:
    low, high = (found and found.ci95) or (None, None)
    return {"generators_low": low, "generators_high": high, "generators": found.generators if found else None}


TABLES: dict[str, Callable[[ResultRecord], Table]] = {
    "metrics": metrics_table,
    "groups": groups_table,
    "sweep": sweep_table,
    "confusion": confusion_table,
}


def _key(value: MetricValue) -> tuple[Any, ...]:
    return value.task, value.metric, value.subset, value.averaging, value.params.get("threshold")


def _protocol(record: ResultRecord) -> Protocol:
    return protocol_of({"protocol": {"config": record.protocol.config}}, "record")


def _title(record: ResultRecord, what: str) -> str:
    return f"{record.model.display or record.model.name}, seed {record.run.seed_text}, {record.protocol.name}: {what}"


def _stamps(record: ResultRecord) -> tuple[str, ...]:
    """Notes for the reader: a partial run, how and on which faces it was trained, departures from the protocol."""
    stamps = [] if record.status == "complete" else [f"{record.status}: {record.run.stopped or 'unfinished'}"]
    stamps += [elsewhere] if (elsewhere := trained_elsewhere(record)) else []
    return (*stamps, *history(record), *record.protocol.deviations)
