"""The page of a run: settings, hashes, environment, deviations, and what was checked of it here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dfad_bench.core.files import content_hash
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import ResultRecord
from dfad_bench.core.strict import yaml_line
from dfad_bench.report.board_checks import LEVELS
from dfad_bench.report.headline import at_headline, headline_keys, scored_metrics, unit_of
from dfad_bench.report.row_facts import imported_lines
from dfad_bench.report.run_record import protocol_of
from dfad_bench.report.run_tables import groups_table
from dfad_bench.report.site.environment import page
from dfad_bench.report.site.facts import SiteFacts
from dfad_bench.report.site.html_table import html_table
from dfad_bench.report.site.links import page_of, run_stem
from dfad_bench.report.table import Column, Table, render

_LONGEST = 400  # characters of a setting: prompts may be long
_MOST = 60  # settings


def run_files(facts: SiteFacts) -> Iterator[tuple[str, str]]:
    """The page of each record on a board, and its groups as CSV, by file name."""
    boards, protocols = {board.name for board in facts.boards}, dict[str, Protocol]()
    for record in facts.records:
        stem, check, rules = run_stem(record.record_id), facts.check_of(record), record.protocol.sha256
        if rules not in protocols:  # reading a protocol takes as long as writing its page
            protocols[rules] = protocol_of({"protocol": {"config": record.protocol.config}}, "record")
        curves = facts.curves_of(record)
        groups, headline = groups_table(record, protocol=protocols[rules]), protocols[rules].attribution.headline
        values = {
            "facts": facts, "record": record, "about": run_facts(record), "config": settings_of(record.run.config),
            "model": page_of("model", record.model.name), "notes": groups.notes, "imported": imported_lines(record),
            "protocol": page_of("protocol", record.protocol.name) if record.protocol.name in boards else None,
            "training": curves.training is not None, "no_training": curves.no_training,
            "checked": LEVELS[check.level], "why": check.why, "command": check_command(record),
            "numbers": html_table(headline_table(record, headline), "numbers"), "groups": f"{stem}-groups.csv",
        }  # fmt: skip
        yield f"{stem}-groups.csv", render(groups, "csv")
        yield f"{stem}.html", page("run.html.j2", values)


def headline_table(record: ResultRecord, threshold: float) -> Table:
    """The headline of each metric with its interval over faces, as a board takes them from the record."""
    found = at_headline(record.metrics, threshold)
    rows = []
    for name in scored_metrics():
        number = found.get(headline_keys(name)[0])
        if number is not None and number.value is not None:
            low, high = number.ci95 or (None, None)
            rows.append(
                {
                    "metric": name,
                    "value": number.value,
                    "low": low,
                    "high": high,
                    "n": number.n,
                    "unit": unit_of(number),
                }
            )
    columns = (
        Column("metric", "Metric", "text"), Column("value", "Value", "by_unit"), Column("low", "95 % from", "by_unit"),
        Column("high", "to", "by_unit"), Column("n", "n", "count"),
    )  # fmt: skip
    return Table(f"Headline numbers, unseen at {threshold:g}, shares in percent", columns, rows)


def check_command(record: ResultRecord) -> str:
    """The command that repeats the check; RUN and the manifests are folders of the reader's own."""
    manifests = record.run.config.get("manifests")
    names = list(manifests) if isinstance(manifests, Mapping) and len(manifests) < 20 else ["MANIFEST"]
    # a stranger's name must not become part of a command that is copied into a shell
    plain = [
        name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else "MANIFEST" for name in names
    ]
    asked = " ".join(f"--manifest {name}" for name in dict.fromkeys(plain))
    return f"dfad verify-record --run RUN --repredict {asked}"


def run_facts(record: ResultRecord) -> dict[str, str]:
    """What identifies a run and says how it was made, as printed; what a record does not state is left out."""
    run, place, code, faces = record.run, record.environment, record.toolkit, record.samples
    commit = f", commit {code.git_commit}{' with changes' if code.git_dirty else ''}" if code.git_commit else ""
    init = {key: value for key, value in record.model.init.items() if key not in ("kind", "files")}
    facts: dict[str, Any] = {
        "Status": record.status + (f": {run.stopped}" if run.stopped else ""),
        "Made": record.created_utc,
        "Toolkit": f"dfad_bench {code.version}{commit}",
        "Weights before training": str(record.model.init.get("kind")) + (f" {_text(init)}" if init else ""),
        "Parameters": _count(record.model.params_total),
        "Parameters trained": _count(record.model.params_trainable),
        "Size, heads": f"{record.model.size}, {record.model.heads}",
        "Seed": run.seed_text,
        "Steps": _count(run.steps),
        "Epochs": None if run.epochs is None else f"{run.epochs:g}",
        "Time of training": f"{run.wall_s:,.0f} s" if run.wall_s is not None else None,
        "Processes": run.world_size,
        "Precision": run.precision,
        "Weights chosen": run.model_selection,
        "Device": place.device,
        "Environment": _joined(Python=place.python, PyTorch=place.torch, CUDA=place.cuda, on=place.os),
        "Deterministic": None if place.deterministic is None else "yes" if place.deterministic else "no",
        "Faces": f"{faces.evaluated:,} evaluated of {faces.expected:,}, {faces.failed:,} failed",
        "Sources of faces": faces.sources,
        "Record": record.record_id,
        "Run": run.run_id,
        "Settings (SHA-256)": run.config_sha256,
        "Protocol (SHA-256)": f"{record.protocol.sha256}, version {record.protocol.version}",
        "Faces (SHA-256)": record.manifest.content_sha256,
        "Predictions (SHA-256)": record.predictions.sha256,
        "Checkpoint (SHA-256)": record.model.checkpoint_sha256,
        "Code of the model (SHA-256)": record.model.registry_sha256,
    }  # fmt: skip
    return {key: str(value) for key, value in facts.items() if value is not None}


def _joined(**parts: str | None) -> str | None:
    """What is known, in a line."""
    return ", ".join(f"{name} {value}" for name, value in parts.items() if value) or None


def _count(number: int | None) -> str | None:
    return None if number is None else f"{number:,}"


def settings_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a run, a line each; long ones by their hash."""
    lines: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and key == "recipe":
            lines |= {f"{key}.{name}": _text(inner) for name, inner in value.items()}
        else:
            lines[str(key)] = _text(value)
    shown = dict(list(lines.items())[:_MOST])
    return shown if len(shown) == len(lines) else {**shown, "more": f"{len(lines) - _MOST} more settings in the record"}


def _text(value: Any) -> str:
    if isinstance(value, str | int | float | bool) or value is None:
        text = "default" if value is None else str(value)
    else:
        text = yaml_line(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({content_hash(value)[:8]})"
