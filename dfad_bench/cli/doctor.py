"""`dfad doctor`: check this installation, or compare a source folder with its release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo_json, echo_table

if TYPE_CHECKING:
    from dfad_bench.core.doctor import Finding
    from dfad_bench.ingest.survey import Coverage, Survey
    from dfad_bench.report.table import Table

_FOLDERS = 12


@click.command("doctor", epilog="Example: dfad doctor --dataset synthetic --root faces")
@options.dataset
@click.option(
    "--root", type=click.Path(path_type=Path, file_okay=False), default=None, help="The folder with the dataset."
)
@options.only
@options.from_deepfakebench
@options.map_prefix
@options.labels
@options.follow_links
@click.option(
    "--long", "detailed", is_flag=True, help="Every finding, all absent weights and where to get each among them."
)
@click.option(
    "--strict", is_flag=True, help="Exit with code 1 if something is missing or wrong (weights are optional)."
)
@options.as_json
@click.pass_context
def command(
    context: click.Context,
    dataset: str | None,
    root: Path | None,
    only: dict[str, str],
    from_deepfakebench: Path | None,
    prefixes: dict[str, str],
    labels: dict[str, str],
    follow_links: bool,
    detailed: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Check this installation, or compare a source folder with its release.

    Without options: versions, device, OpenCV, FFmpeg, disk, published weights, packages that hide ours; weights that
    are absent are counted, --long names them. With --dataset and --root: the files found compared with the release,
    by generator and split, from file names only (compressed archives must be read for theirs, which takes minutes
    instead of seconds); what is missing or unknown, and where to get it. Counts are of images, or of videos or
    sequences, as the release counts them. The exit code is 0 for any result; see --strict.
    """
    if from_deepfakebench is not None:
        dataset = dataset or "deepfakebench"
    if (dataset is None) != (root is None):
        raise click.UsageError("--dataset (or --from-deepfakebench) and --root go together")
    if only and dataset is None:
        raise click.UsageError("--only needs --dataset and --root")
    if dataset is None or root is None:
        sound = _examine_machine(detailed, as_json)
    else:
        asked = {"only": only, "from_deepfakebench": from_deepfakebench, "prefixes": prefixes, "labels": labels}
        sound = _examine_folder(dataset, root, as_json, follow_links=follow_links, **asked)
    if strict and not sound:
        context.exit(1)


def _examine_machine(detailed: bool, as_json: bool) -> bool:
    from dataclasses import asdict

    from dfad_bench.core.doctor import diagnose

    findings = diagnose()
    sound = not any(finding.level in ("warning", "problem") for finding in findings)
    if as_json:
        _print_json({"sound": sound, "findings": [asdict(finding) for finding in findings]})
    else:
        echo_table(_findings_table(findings if detailed else _without_absent_weights(findings)))
    return sound


def _examine_folder(dataset: str, root: Path, as_json: bool, **asked: Any) -> bool:
    from dataclasses import asdict

    from dfad_bench.ingest.survey import survey

    found = survey(dataset, root, **asked)
    if as_json:
        _print_json({**asdict(found), "root": str(found.root), "complete": found.complete})
    else:
        echo_table(_survey_table(found))
    return found.complete


def _print_json(value: Mapping[str, Any]) -> None:

    echo_json(value)


def _without_absent_weights(findings: Sequence[Finding]) -> list[Finding]:
    """The findings, with one for all weight files that are not there: hardly any use needs more than a few."""
    from dfad_bench.core.doctor import Finding

    absent = [f for f in findings if f.topic == "weights" and f.level == "absent" and f.name != "DFAD_WEIGHTS"]
    if not absent:
        return list(findings)
    hint = "optional; `dfad doctor --long` says where to get each"
    summary = Finding("weights", "published files", f"{len(absent)} absent", "absent", hint)
    first = findings.index(absent[0])
    return [*findings[:first], summary, *(finding for finding in findings[first:] if finding not in absent)]


def _findings_table(findings: Sequence[Finding]) -> Table:
    from dfad_bench.report.table import Column, Table

    columns = tuple(Column(key, key, "text") for key in ("topic", "name", "value", "level"))
    rows: list[Mapping[str, Any]] = [
        {**vars(finding), "topic": finding.topic if index == 0 or findings[index - 1].topic != finding.topic else ""}
        for index, finding in enumerate(findings)
    ]
    bad = sum(finding.level in ("warning", "problem") for finding in findings)
    notes = tuple(f"{finding.name}: {finding.hint}" for finding in findings if finding.hint and finding.level != "ok")
    return Table(f"dfad doctor: {f'{bad} findings to check' if bad else 'all is well'}", columns, rows, notes)


def _survey_table(found: Survey) -> Table:
    from dfad_bench.report.table import Column, Table

    splits = sorted({name for row in found.coverage for name in row.splits})
    columns = (
        Column("generator", "generator", "text"),
        Column("found", f"{found.unit} found", "count"),
        Column("expected", "release", "count"),
        *(Column(f"split {name}", name or "no split", "text") for name in splits),
        Column("verdict", "verdict", "text"),
    )
    verdict = "as released, as far as is known" if found.complete else "incomplete"
    rows = [_survey_row(row) for row in found.coverage]
    return Table(f"{found.dataset}: {verdict}", columns, rows, tuple(_survey_notes(found)))


def _survey_row(row: Coverage) -> Mapping[str, Any]:
    cells = {
        f"split {name}": f"{count.found:,}" + ("" if count.expected is None else f" of {count.expected:,}")
        for name, count in row.splits.items()
    }
    return {"generator": row.generator, "found": row.found, "expected": row.expected, "verdict": row.verdict, **cells}


def _survey_notes(found: Survey) -> list[str]:
    from dfad_bench.cli.check_manifest import shorten

    notes = [f"source folder: {found.root}"]
    paths: dict[str, list[str]] = {}
    for path, why in found.missing_files.items():
        paths.setdefault(why, []).append(path)
    notes += [f"missing: {shorten(names)} ({len(names)}): {why}" for why, names in paths.items()]
    notes += [
        f"missing: {number:,} files that {name} lists ({shorten(found.absent_examples[name])})"
        for name, number in found.absent.items()
    ]
    for gap in found.targets:
        wanted = shorten(gap.examples)
        notes.append(f"{gap.generator}: {gap.without:,} of {gap.total:,} have no real target here: {wanted} ...")
    notes += [
        f"{number:,} have their real target in the dataset {name}: not looked at here"
        for name, number in found.targets_elsewhere.items()
    ]
    notes += found.notes
    biggest = sorted(found.unknown.items(), key=lambda item: (-item[1], item[0]))
    notes += [f"unknown: {number:,} files in {folder}/" for folder, number in biggest[:_FOLDERS]]
    if len(biggest) > _FOLDERS:
        notes.append(f"unknown: ... and {len(biggest) - _FOLDERS:,} more folders")
    others = any("not asked for" in why for why in found.ignored)
    if not any(row.found for row in found.coverage) and not others:
        notes.append(f"nothing fits the layout: {found.layout}")
    return notes if found.complete else [*notes, f"get it: {found.obtain}"]
