"""`dfad check-manifest`: check the files of a manifest, count its faces, and find what a protocol lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.audit_tables import audit_json, audit_tables, audit_verdict
from dfad_bench.cli.output import echo, echo_json, echo_tables

if TYPE_CHECKING:
    from dfad_bench.api.checks import ManifestCheck
    from dfad_bench.core.protocol import Protocol
    from dfad_bench.ingest.check import GroupNeed, ManifestFacts
    from dfad_bench.report.table import Table


@click.command(
    "check-manifest",
    epilog="Example: dfad check-manifest --manifest manifests/synthetic --manifest manifests/synthetic-outdoor "
    "--manifest manifests/synthetic-unseen --protocol synthetic --audit",
)
@options.manifest(required=False)
@options.protocol(required=False)
@click.option(
    "--deep",
    is_flag=True,
    help="Decode every crop and compare its pixels with its row; hash the tables and cached crops beside the manifest.",
)
@click.option(
    "--audit",
    "audited",
    is_flag=True,
    help="Search for duplicates, near duplicates, leaks between train and test, reused real faces, uneven classes, "
    "and labels that can be predicted from file size or format; over all manifests together.",
)
@click.option(
    "--near-bits",
    type=click.IntRange(0, 15),
    default=None,
    show_default="6",
    help="With --audit: bits of 64 in which the perceptual hashes of near duplicates may differ.",
)
@click.option("--strict", is_flag=True, help="With --audit: exit with code 4 if it finds an error.")
@click.option(
    "--contact-sheet",
    type=click.Path(path_type=Path),
    default=None,
    help="Draw a row of faces per generator into this .png file. With --audit also a folder: faces.png, and the "
    "examples of each check side by side in one PNG.",
)
@click.option(
    "--refused",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    help="With --contact-sheet: the source folder of each --manifest, in order. Draws what was refused, with the "
    "reason, into refused.png of a folder, or beside the .png file.",
)
@options.as_json
def command(
    manifests: tuple[Path, ...],
    protocol: str | None,
    deep: bool,
    audited: bool,
    near_bits: int | None,
    strict: bool,
    contact_sheet: Path | None,
    refused: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Check a manifest, and find what a protocol lacks.

    Verifies every file against its hash (exit code 4 for a damaged one) and counts faces by generator, split and
    status. Only --deep checks that the pixels are those of their rows. With --protocol, lists for each group what is
    needed, found and missing, and where to get it; this works without any manifest, too. With --audit, train and test
    are the rows that the protocol chooses, or without one the split of the source.
    """
    from dfad_bench.api.checks import check_manifests
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.core.errors import ConfigError, IntegrityError

    if not manifests and protocol is None:
        raise click.UsageError("give --manifest, --protocol or both")
    for given, option in ((strict, "--strict"), (near_bits is not None, "--near-bits")):
        if given and not audited:
            raise ConfigError(f"{option} needs --audit")
    found = check_manifests(
        manifests,
        protocol,
        deep=deep,
        audit=audited,
        near_bits=near_bits,
        contact_sheet=contact_sheet,
        refused=refused,
        progress=make_progress(quiet=False),
    )
    show(found, as_json=as_json)
    if strict and found.errors:
        raise IntegrityError(f"the audit found errors: {', '.join(found.errors)}")


def show(found: ManifestCheck, *, as_json: bool = False) -> None:
    """Print what was found; an error says why a contact sheet could not be drawn, after all else is printed."""
    from dfad_bench.core.errors import ConfigError

    if as_json:
        echo_json(_json(found))
    else:
        tables = [_facts_table(item) for item in found.facts]
        tables += [_needs_table(found.protocol, found.needs)] if found.protocol else []
        tables += audit_tables(found.findings) if found.findings else []
        echo_tables(tables)
        for path in found.sheets:
            echo(f"contact sheet  {path}")
    if found.not_drawn is not None:
        raise ConfigError(found.not_drawn)


def _json(found: ManifestCheck) -> dict[str, Any]:
    from dataclasses import asdict

    value: dict[str, Any] = {
        "manifests": [{**asdict(item), "folder": str(item.folder)} for item in found.facts],
        "protocol": found.protocol and found.protocol.name,
        "groups": [asdict(need) for need in found.needs],
        "left_out": list(found.protocol.left_out) if found.protocol else [],
    }
    if found.findings:
        folders = [item.folder for item in found.facts]
        value |= {"audit": audit_json(found.findings, folders), "verdict": audit_verdict(found.findings)}
    return value


def counts_table(title: str, counts: Mapping[str, Mapping[str, int]], notes: tuple[str, ...] = ()) -> Table:
    """Images by generator and status, with a total."""
    from dfad_bench.report.table import Column, Table

    statuses = sorted({s for row in counts.values() for s in row}, key=lambda s: (s != "ok", s))
    columns = (Column("generator", "generator", "text"), *(Column(s, s, "count") for s in statuses))
    rows: list[Mapping[str, Any]] = [{"generator": name, **row} for name, row in sorted(counts.items())]
    rows.append({"generator": "total", **{s: sum(row.get(s, 0) for row in counts.values()) for s in statuses}})
    return Table(title, columns, rows, notes)


def shorten(names: Sequence[str], most: int = 3) -> str:
    """A few file names for one line."""
    shown = ", ".join(repr(name if len(name) <= 60 else "…" + name[-58:]) for name in names[:most])
    return shown + (" ..." if len(names) > most else "")


def refusal_notes(refusals: Sequence[Mapping[str, Any]], refused: int) -> list[str]:
    """A line for each of the first refusals, and the number of the other refused rows."""
    notes = [
        f"{item['origin']!r}: {item['status']}: {item['reason']}" + (f" ({rows} frames)" if rows > 1 else "")
        for item in refusals
        for rows in [item["rows"]]
    ]
    if more := refused - sum(item["rows"] for item in refusals):
        notes.append(f"... and {more:,} more refused")
    return notes


def _facts_table(facts: ManifestFacts) -> Table:
    from dfad_bench.report.table import Column, Table

    plain = counts_table("", facts.counts)
    splits = sorted({s for row in facts.splits.values() for s in row})
    shown = [Column(f"split {s}", s or "no split", "count") for s in splits]
    rows: list[Mapping[str, Any]] = []
    for row in plain.rows:
        counts = facts.splits.get(row["generator"], {})
        if row["generator"] == "total":
            counts = {s: sum(c.get(s, 0) for c in facts.splits.values()) for s in splits}
        rows.append({**row, **{f"split {s}": n for s, n in counts.items()}})
    refused = facts.rows - sum(row.get("ok", 0) for row in facts.counts.values())
    notes = refusal_notes(facts.refusals, refused)
    notes += (*facts.relabelled, *facts.outdated)
    checked = "every crop has the pixels of its row" if facts.deep else "pixels were not decoded (--deep)"
    notes.append(f"every file matches its hash; {checked}; content sha256 {facts.sha256[:16]}…")
    return Table(f"{facts.dataset} ({facts.folder})", (*plain.columns, *shown), rows, tuple(notes))


def _needs_table(protocol: Protocol, needs: Sequence[GroupNeed]) -> Table:
    from dfad_bench.report.table import Column, Table

    columns = (
        Column("group", "group", "text"),
        Column("role", "role", "text"),
        Column("need_train", "need train", "text"),
        Column("need_test", "need test", "text"),
        Column("train", "found train", "count"),
        Column("test", "found test", "count"),
        Column("unsplit", "no split", "count"),
        Column("missing", "missing", "count"),
    )
    rows: list[Mapping[str, Any]] = [
        {
            **vars(need),
            "need_train": _number(need.need_train),
            "need_test": _number(need.need_test),
        }
        for need in needs
    ]
    lacking = sum(1 for need in needs if need.missing)
    verdict = f"{lacking} of {len(needs)} groups lack faces" if lacking else "nothing is missing"
    sources = {need.group.partition("/")[0]: need.obtain for need in needs if need.missing}
    notes = tuple(f"{dataset}: {obtain}" for dataset, obtain in sources.items())
    notes = (*notes, *([protocol.left_out_note] if protocol.left_out_note else []))
    return Table(f"Protocol {protocol.name}: {verdict}", columns, rows, notes)


def _number(value: int | None) -> str:
    return "all" if value is None else f"{value:,}"
