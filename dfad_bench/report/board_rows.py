"""The rows of a board: of measured runs, of constant answers, of what papers printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from dfad_bench.core.files import content_hash
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import MetricValue, ResultRecord
from dfad_bench.report.board_columns import row_numbers
from dfad_bench.report.board_ranks import row_intervals
from dfad_bench.report.reported import ReportedScore
from dfad_bench.report.row_facts import seeds_of_row
from dfad_bench.report.run_record import settings_but_seed

_TAGGED = ("model", "seed", "size", "heads", "options", "protocol", "protocol_sha256", "manifests", "allow_partial")


def distinguishing_settings(records: Sequence[ResultRecord]) -> list[list[str]]:
    """The settings in which each record differs from others of the same model."""
    found: list[list[str]] = []
    for record in records:
        own = settings_but_seed(record)
        alike = [settings_but_seed(other) for other in records if other.model.name == record.model.name]
        known = dict.fromkeys(key for config in alike for key in config if key not in _TAGGED)
        odd = [key for key in known if len({content_hash(config.get(key)) for config in alike}) > 1]
        others = [other for other in records if other.model.name == record.model.name]
        versions = {other.toolkit.version for other in others}
        code = {other.model.registry_sha256 for other in others}
        tags = [f"{key}={_short_text(own.get(key))}" for key in odd]
        tags += [f"dfad_bench {record.toolkit.version}"] if len(versions) > 1 else []
        found.append([*tags, *([f"code {record.model.registry_sha256[:4]}"] if len(code) > 1 else [])])
    return found


def _short_text(value: Any) -> str:
    """A setting in one or two words: a recipe by name and hash, a run or weight file by its id, a list by length."""
    if isinstance(value, list | tuple):
        return str(len(value))
    if isinstance(value, Mapping) and "kind" in value:
        return str(value.get("id", f"run of {value.get('protocol')}" if value["kind"] == "run" else value["kind"]))
    if isinstance(value, Mapping):
        return " ".join([*([str(value["name"])] if "name" in value else []), content_hash(value)[:4]])
    return "default" if value is None else str(value)


def measured_row(records: list[ResultRecord], protocol: Protocol, tags: Sequence[str] = ()) -> dict[str, Any]:
    """The row of the runs of one model; `tags` are put behind its name, after the size, heads and options."""
    first, seeds = records[0], seeds_of_row(records)
    several = [row_numbers(record.metrics, protocol) for record in records]
    row: dict[str, Any] = {key: _mean([numbers[key] for numbers in several]) for key in several[0]}
    unseen = [numbers["unseen_acc"] for numbers in several if numbers["unseen_acc"] is not None]
    row["unseen_sd"] = stdev(unseen) if len(unseen) > 1 else None
    row |= row_intervals(records, protocol)
    always: list[str] = [tag for tag in (first.model.size, first.model.heads) if tag not in ("paper", "both")]
    always += [f"{key}={value}" for key, value in sorted(first.model.options.items())]
    name = (first.model.display or first.model.name) + (f" ({', '.join([*always, *tags])})" if always or tags else "")
    return {
        **row,
        "model": name,
        "seeds": len(seeds) or 1,
        "seed_list": seeds,
        "seeds_shown": ", ".join(map(str, seeds)) or "not known",
        "status": first.status,
        "kind": "measured" if first.imported is None else "imported",
        "trivial": first.model.task == "trivial",
        "protocol_sha256": first.protocol.sha256,
        "manifest_sha256": first.manifest.content_sha256,
    }


def trivial_rows(scores: Mapping[str, Sequence[MetricValue]], protocol: Protocol) -> list[dict[str, Any]]:
    """Rows of constant answers and of predictors that see no pixel."""
    rows = []
    for name, metrics in scores.items():
        numbers = row_numbers(metrics, protocol)
        rows.append({**numbers, "model": name, "status": "trivial", "kind": "trivial", "trivial": True})
    return rows


def reported_row(values: Sequence[ReportedScore], headline: float) -> dict[str, Any]:
    """One printed row, at all thresholds it is printed for."""
    first = next((value for value in values if value.threshold in (None, headline)), None)
    value, noted = first or values[0], [one.note for one in values if one.note]
    name = f"{value.printed}{f' {value.variant}' if value.variant else ''}"
    row = {
        "model": f"{name} *" if noted else name,
        "seen_acc": value.seen_acc,
        "unseen_acc": value.unseen_acc if first else None,
        "unseen_printed": value.unseen_acc_printed if first else None,
        "detection_acc": value.detection_acc,
        "detection_auc": value.detection_auc,
        "status": "reported",
        "kind": "reported",
        "trivial": False,
        "source": value.table,
        "note": "; ".join(dict.fromkeys(noted)) or None,
        **value.costs,
    }
    for one in values:
        at = "" if one is first else f"@{one.threshold:g}"
        row |= {f"unseen_acc{at}:{key}": share for key, share in one.groups.items()}
        if one is not first:
            row |= {f"unseen_acc{at}": one.unseen_acc, f"unseen_printed{at}": one.unseen_acc_printed}
    return row


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None
