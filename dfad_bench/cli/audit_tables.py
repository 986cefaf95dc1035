"""The findings of an audit, as tables and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfad_bench.data.audit.findings import Face, Findings
    from dfad_bench.report.table import Table

_EXAMPLES = 2  # examples of a remark in the notes of a table


def audit_tables(found: Sequence[Findings]) -> list[Table]:
    """One table per check, its remarks below with up to two examples, and a summary at the end."""
    from dfad_bench.report.table import Column, Table

    tables = []
    for item in found:
        columns = tuple(
            Column(key, f"{key} %" if kind == "percent" else key, kind) for key, kind in item.columns.items()
        )
        notes = []
        for remark in item.remarks:
            notes.append(f"{remark.severity}: {remark.text}")
            notes += [f"    {' = '.join(map(_name, example))}" for example in remark.examples[:_EXAMPLES]]
        if item.rows or notes:
            tables.append(Table(item.title, columns, item.rows, tuple(notes)))
    names = (Column("check", "check", "text"), Column("severity", "verdict", "text"))
    levels = ("error", "warning", "info")
    rows: list[dict[str, Any]] = []
    for item in found:
        counts: Counter[str] = Counter(remark.severity for remark in item.remarks)
        rows.append({"check": item.check, "severity": item.severity, **{level: counts[level] for level in levels}})
    columns = (*names, *(Column(level, f"{level} remarks", "count") for level in levels))
    return [*tables, Table("Audit", columns, rows)]


def audit_verdict(found: Sequence[Findings]) -> dict[str, Any]:
    """The worst severity of an audit (`ok` where nothing was found), and the checks with errors and with warnings."""
    from dfad_bench.data.audit.findings import SEVERITIES

    worst = max((item.severity for item in found), key=SEVERITIES.index, default="ok")
    named = {level: [item.check for item in found if item.severity == level] for level in ("error", "warning")}
    return {"severity": worst, "errors": named["error"], "warnings": named["warning"]}


def audit_json(found: Sequence[Findings], folders: Sequence[Path]) -> list[dict[str, Any]]:
    """The findings as plain values; a face names the folder of its manifest."""
    return [
        {
            "check": item.check,
            "title": item.title,
            "severity": item.severity,
            "rows": [dict(row) for row in item.rows],
            "remarks": [
                {
                    "severity": remark.severity,
                    "text": remark.text,
                    "examples": [[_face(face, folders) for face in example] for example in remark.examples],
                }
                for remark in item.remarks
            ],
        }
        for item in found
    ]


def _face(face: Face, folders: Sequence[Path]) -> dict[str, Any]:
    value = asdict(face)
    del value["drawable"]
    return {**value, "manifest": str(folders[face.manifest])}


def _name(face: Face) -> str:
    where = face.origin if len(face.origin) <= 48 else "…" + face.origin[-46:]
    frame = "" if face.frame is None else f" #{face.frame}"
    side = f" ({face.side})" if face.side else ""
    return f"{face.group} {where}{frame}{side}"
