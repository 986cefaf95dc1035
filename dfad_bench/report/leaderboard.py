"""Records, trivial rows and reported rows to one table; what cannot be compared is never ranked together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from dfad_bench.core.errors import DFADError
from dfad_bench.core.files import content_hash
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import FILE, GroupCounts, MetricValue, ResultRecord, read_record
from dfad_bench.core.resources import shipped
from dfad_bench.report.ranks import half_width, rank_intervals
from dfad_bench.report.reported import ReportedScore
from dfad_bench.report.run_record import protocol_of, trained_elsewhere
from dfad_bench.report.table import Column, Table
from dfad_bench.report.trivial import planned, trivial_scores, trivial_scores_of

# column -> task, metric, subset, averaging; the headline threshold is added for unseen accuracy
_NUMBERS = {
    "seen_acc": ("attribution", "seen_accuracy", "seen", "macro"),
    "unseen_acc": ("attribution", "unseen_accuracy", "unseen", "macro"),
    "auroc": ("attribution", "auroc", "seen-vs-unseen", "micro"),
    "oscr": ("attribution", "oscr", "seen-vs-unseen", "micro"),
    "detection_acc": ("detection", "accuracy", "unseen", "micro"),
    "balanced_acc": ("detection", "balanced_accuracy", "unseen", "micro"),
    "detection_auc": ("detection", "auc", "unseen", "micro"),
    "seen_auc": ("detection", "auc", "seen", "micro"),
}
_TAGGED = ("model", "seed", "size", "heads", "options", "protocol", "protocol_sha256", "manifests", "allow_partial")
_SYNTHETIC = "Synthetic faces show that the chain works; they say nothing about real generators."
_NOTES = (
    "Seen ACC: right generator, no threshold. Unseen ACC: surest class below the threshold, mean over groups; a model"
    " that is never sure reaches 100. ±: half the 95 % interval over faces (by source), mean over seeds.",
    "AUROC and OSCR: seen against unseen by confidence. Detection: unseen forged faces against the protocol's real"
    " ones, pooled; balanced ACC and AUC do not reward saying fake always. AUC seen: test faces of seen groups.",
    "Ranked by OSCR, then AUC; partial runs and constant models are not ranked. # 1-3: places the 95 % interval of OSCR"
    " leaves open, taken as independent between models; `dfad compare` tests two of them on the same faces.",
)


def find_records(folders: Iterable[Path], *, with_shipped: bool = True) -> tuple[list[ResultRecord], list[str]]:
    """Records under folders (every `record.json`) and the shipped ones, and what could not be read and why."""
    paths = [path for folder in folders for path in sorted(Path(folder).rglob(FILE))]
    if with_shipped:
        paths += sorted((shipped("leaderboards") / "records").rglob("*.json"))
    records, problems = [], []
    for path in paths:
        try:
            records.append(read_record(path))
        except DFADError as error:
            problems.append(f"left out: {error}")
    return records, problems


def board(
    protocol: Protocol,
    records: Sequence[ResultRecord],
    reported: Sequence[ReportedScore] = (),
    *,
    per_group: bool = False,
    problems: Sequence[str] = (),
) -> Table:
    """The leaderboard of a protocol.

    Records are shown in one section for each (protocol hash, manifest hash, training elsewhere): rows of different
    sections were measured or trained on different faces or by different rules. Each section starts with the trivial
    rows on its very faces. Runs that differ in the seed only are one row; rows of one model are told apart by the
    settings in which they differ.

    Args:
        protocol: named in the title; its groups give the trivial rows where nothing was measured yet.
        records: those of other protocols are ignored.
        reported: what papers printed; shown beneath, never ranked.
        per_group: a column for each unseen group (CSV); rows always carry them (JSON).
        problems: more notes.
    """
    mine = [record for record in records if record.protocol.name == protocol.name]
    sections: dict[tuple[str, str, str], list[ResultRecord]] = {}
    for record in _once(mine):
        key = (record.protocol.sha256, record.manifest.content_sha256, trained_elsewhere(record) or "")
        sections.setdefault(key, []).append(record)
    rows: list[Mapping[str, Any]] = []
    headings: dict[int, str] = {}
    notes = [_SYNTHETIC] if protocol.synthetic else []
    for (_, faces, elsewhere), members in sorted(sections.items(), key=lambda item: bool(item[0][2])):
        named = f"Faces {faces[:8]}, trained elsewhere" if elsewhere else f"Measured on faces {faces[:8]}"
        headings[len(rows)] = named
        version, counts = members[0].protocol.version, members[0].manifest.splits
        sizes = ", ".join(f"{split.rows:,} {name}" for name, split in counts.items())
        note = f"Faces {faces[:8]}: {members[0].manifest.name}, {sizes}; protocol version {version}"
        notes.append(f"{note}; {elsewhere}." if elsewhere else f"{note}.")
        rows += _section(members)
    if len(sections) > 1:
        notes.append(f"{len(sections)} sections differ in faces, rules or training: do not compare across them.")
    if not sections:
        headings[0] = "Nothing measured yet"
        rows += _trivial_rows(trivial_scores(protocol, planned(protocol)), protocol)
    headline = protocol.attribution.headline
    shown = [value for value in reported if value.threshold in (None, headline)]
    if shown:
        headings[len(rows)] = "Reported by papers"
        rows += [_reported_row(value) for value in shown]
        notes.append("Reported rows come from other code and other faces and are not ranked.")
        notes.append("Reported unseen ACC is the mean of the printed cells; 'Printed' is the average as printed.")
        notes += [f"{value.printed}, {value.table}: {value.note}" for value in shown if value.note]
    notes += _deviations(mine)
    title = f"{protocol.title} ({protocol.name})"
    columns = _columns(protocol, bool(shown), per_group)
    return Table(title, columns, rows, (*_NOTES, *notes, *problems), headings)


def _section(records: list[ResultRecord]) -> list[dict[str, Any]]:
    protocol = protocol_of({"protocol": {"config": records[0].protocol.config}}, "record")
    largest = max(records, key=lambda r: (sum(group.n for group in r.groups.values()), "train" in r.manifest.splits))
    rows = _trivial_rows(trivial_scores_of(largest, protocol), protocol)
    runs: dict[str, list[ResultRecord]] = {}
    for record in records:
        settings = {key: value for key, value in record.run.config.items() if key != "seed"}
        key = content_hash([record.model.name, settings, record.status, record.model.registry_sha256])
        runs.setdefault(key, []).append(record)
    tags = _apart([members[0] for members in runs.values()])
    measured = [_measured_row(members, protocol, tags[place]) for place, members in enumerate(runs.values())]
    measured.sort(key=_order)
    _rank([row for row in measured if row["status"] == "complete" and not row["trivial"]])
    return [*rows, *measured]


def _rank(rows: Sequence[dict[str, Any]]) -> None:
    """Number the rows, in order, and say which ranks their intervals leave open."""
    known = [row for row in rows if row["oscr"] is not None]
    open_ranks = rank_intervals([row["oscr"] for row in known], [row["oscr_half"] for row in known])
    for place, row in enumerate(rows, start=1):
        row["rank"], row["ranks"] = place, str(place)
    for row, bounds in zip(known, open_ranks, strict=True):
        if bounds is not None:
            row["rank_best"], row["rank_worst"] = bounds
            row["ranks"] = str(bounds[0]) if bounds[0] == bounds[1] else f"{bounds[0]}-{bounds[1]}"


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    ranked = row["status"] == "complete" and not row["trivial"]
    worst = -1.0
    numbers = (-(worst if row[key] is None else row[key]) for key in ("oscr", "detection_auc"))
    return (not ranked, *numbers, row["model"])


def _apart(records: Sequence[ResultRecord]) -> list[list[str]]:
    """What tells each record from others of the same model: the settings in which they differ."""
    found: list[list[str]] = []
    for record in records:
        alike = [other.run.config for other in records if other.model.name == record.model.name]
        known = dict.fromkeys(key for config in alike for key in config if key not in _TAGGED)
        odd = [key for key in known if len({content_hash(config.get(key)) for config in alike}) > 1]
        found.append([f"{key}={_brief(record.run.config.get(key))}" for key in odd])
    return found


def _brief(value: Any) -> str:
    """A setting in a word or two: a recipe by its name and hash."""
    if isinstance(value, Mapping):
        return " ".join([*([str(value["name"])] if "name" in value else []), content_hash(value)[:4]])
    return "default" if value is None else str(value)


def _measured_row(records: list[ResultRecord], protocol: Protocol, tags: Sequence[str] = ()) -> dict[str, Any]:
    """`tags` are put behind the model's name, after what is always said of it."""
    first = records[0]
    several = [_numbers(record.metrics, record.groups, protocol) for record in records]
    row: dict[str, Any] = {key: _mean([numbers[key] for numbers in several]) for key in several[0]}
    unseen = [numbers["unseen_acc"] for numbers in several if numbers["unseen_acc"] is not None]
    row["unseen_sd"] = stdev(unseen) if len(unseen) > 1 else None
    row["oscr_half"] = half_width([n["oscr_half"] for n in several], [n["oscr"] for n in several])
    said: list[str] = [tag for tag in (first.model.size, first.model.heads) if tag not in ("paper", "both")]
    said += [f"{key}={value}" for key, value in sorted(first.model.options.items())]
    name = (first.model.display or first.model.name) + (f" ({', '.join([*said, *tags])})" if said or tags else "")
    return {
        **row,
        "model": name,
        "seeds": len({record.run.seed for record in records}),
        "status": first.status,
        "kind": "measured",
        "trivial": first.model.task == "trivial",
        "protocol_sha256": first.protocol.sha256,
        "manifest_sha256": first.manifest.content_sha256,
    }


def _trivial_rows(scores: Mapping[str, Any], protocol: Protocol) -> list[dict[str, Any]]:
    rows = []
    for name, scored in scores.items():
        numbers = _numbers(scored.metrics, scored.groups, protocol)
        rows.append({**numbers, "model": name, "status": "trivial", "kind": "trivial", "trivial": True})
    return rows


def _reported_row(value: ReportedScore) -> dict[str, Any]:
    name = f"{value.printed}{f' {value.variant}' if value.variant else ''}"
    return {
        "model": f"{name} *" if value.note else name,
        "seen_acc": value.seen_acc,
        "unseen_acc": value.unseen_acc,
        "unseen_printed": value.unseen_acc_printed,
        "detection_acc": value.detection_acc,
        "detection_auc": value.detection_auc,
        "status": "reported",
        "kind": "reported",
        "trivial": False,
        "source": value.table,
        "note": value.note,
        **{f"unseen_acc:{key}": share for key, share in value.groups.items()},
    }


def _numbers(
    metrics: Iterable[MetricValue], groups: Mapping[str, GroupCounts], protocol: Protocol
) -> dict[str, float | None]:
    """The numbers of a row: headline metrics, the interval of the unseen share, shares of each unseen group."""
    headline = protocol.attribution.headline
    found = {
        (value.task, value.metric, value.subset, value.averaging): value
        for value in metrics
        if value.params.get("threshold", headline) == headline
    }
    row: dict[str, float | None] = {}
    for key, wanted in _NUMBERS.items():
        row[key] = found[wanted].value if wanted in found else None
    bounds = found[_NUMBERS["unseen_acc"]].ci95 if _NUMBERS["unseen_acc"] in found else None
    row["unseen_low"], row["unseen_high"] = bounds or (None, None)
    row["unseen_pm"] = (bounds[1] - bounds[0]) / 2 if bounds else None
    around = found[_NUMBERS["oscr"]].ci95 if _NUMBERS["oscr"] in found else None
    row["oscr_half"] = (around[1] - around[0]) / 2 if around else None
    at = f"{headline:g}"
    for group in protocol.unseen:
        counts = groups.get(group.key)
        known = counts is not None and at in counts.below
        row[f"unseen_acc:{group.key}"] = counts.below[at] / counts.n if known and counts is not None else None
    return row


def _columns(protocol: Protocol, printed: bool, per_group: bool) -> tuple[Column, ...]:
    columns = [
        Column("model", "Model", "text"),
        Column("ranks", "#", "text"),
        Column("seeds", "Seeds", "count"),
        Column("seen_acc", "Seen ACC", "percent"),
        Column("unseen_acc", f"Unseen ACC @{protocol.attribution.headline:g}", "percent"),
        Column("unseen_pm", "±", "percent"),
        Column("auroc", "AUROC", "percent"),
        Column("oscr", "OSCR", "percent"),
        Column("detection_acc", "Det. ACC", "percent"),
        Column("balanced_acc", "Balanced", "percent"),
        Column("detection_auc", "AUC", "percent"),
        Column("seen_auc", "AUC seen", "percent"),
        Column("status", "Status", "text"),
    ]
    if printed:
        columns.insert(6, Column("unseen_printed", "Printed", "percent"))
    if per_group:
        columns += [Column(key, key, "count") for key in ("rank", "rank_best", "rank_worst")]
        columns += [Column(key, key, "percent") for key in ("unseen_low", "unseen_high", "unseen_sd", "oscr_half")]
        columns += [Column(f"unseen_acc:{g.key}", f"{g.dataset}/{g.taxon.display}", "percent") for g in protocol.unseen]
        columns += [
            Column(key, key, "text") for key in ("kind", "source", "note", "protocol_sha256", "manifest_sha256")
        ]
    return tuple(columns)


def _once(records: Sequence[ResultRecord]) -> list[ResultRecord]:
    """One record for each run on the same faces and rules: evaluated twice or copied, it counts once."""
    kept: dict[tuple[str, ...], ResultRecord] = {}
    for record in records:
        key = (record.run.config_sha256, record.protocol.sha256, record.manifest.content_sha256)
        if key not in kept or ("train" in record.manifest.splits and "train" not in kept[key].manifest.splits):
            kept[key] = record  # that of the run itself: it knows what was trained on
    return list(kept.values())


def _deviations(records: Sequence[ResultRecord]) -> list[str]:
    lines: dict[str, None] = {}
    for record in records:
        name = record.model.display or record.model.name
        if record.status != "complete":
            lines[f"{name}: {record.status} ({record.run.stopped or 'unfinished'})"] = None
        if some := record.protocol.deviations:
            more = f" and {len(some) - 3} more" if len(some) > 3 else ""
            lines[f"{name}: {'; '.join(some[:3])}{more}"] = None
    return list(lines)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None
