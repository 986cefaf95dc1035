"""The tables of `docs/performance.md`, made of the JSON files of results."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dfad_bench.core.errors import DFADError
from dfad_bench.core.files import write_text
from dfad_bench.report.table import Table, render
from gpu_items.item import Kind
from gpu_items.journal import DONE, read_result

BEGIN, END = "<!-- begin: python benchmarks/gpu_acceptance.py --render -->", "<!-- end -->"
MISSING = "**On a GPU: not measured.** No result of a GPU is there yet."


def report(folder: Path, kinds: Sequence[Kind]) -> str:
    """All results of a folder as Markdown, those of GPUs first."""
    found = [read_result(path) for path in sorted(folder.glob("*.json"))]
    parts = [] if any(result["on_gpu"] for result in found) else [MISSING]
    parts += [_device_part(result, kinds) for result in sorted(found, key=lambda each: not each["on_gpu"])]
    return "\n\n".join(parts) + "\n"


def _device_part(result: Mapping[str, Any], kinds: Sequence[Kind]) -> str:
    cut = "" if result["on_gpu"] else ", sizes cut: that the command works is shown, not how fast anything is on a GPU"
    counts = [entry["status"] for entry in result["items"]]
    told = ", ".join(f"{counts.count(status)} {status}" for status in dict.fromkeys(counts))
    head = f"## {result['device']}{cut}\n\nFaces: {result['faces']}. Items: {told or 'none'}."
    return "\n\n".join([head, *(_kind_part(kind, result) for kind in kinds)])


def _kind_part(kind: Kind, result: Mapping[str, Any]) -> str:
    entries = [entry for entry in result["items"] if entry["kind"] == kind.name]
    rows = [row for entry in entries if entry["status"] == DONE for row in entry["rows"]]
    heading = f"### {kind.title}"
    without: dict[str, list[str]] = {}
    for entry in entries:
        if entry["status"] != DONE:
            reason = re.sub(r", \d+ s of the budget were left", "", entry["reason"])
            without.setdefault(f"{entry['status']} ({reason})", []).append(entry["name"])
    lines = [f"- {', '.join(names)}: {reason}" for reason, names in without.items()]
    if not entries:
        return f"{heading}\n\nnot measured"
    parts = [heading, *([kind.about] if kind.about else [])]
    if rows:
        shown = render(Table("", kind.columns, rows), "markdown").strip()
        parts.append("\n".join(line for line in shown.splitlines() if line.strip("# *")))
    return "\n\n".join([*parts, *(["\n".join(lines)] if lines else [])])


def write_page(page: Path, text: str) -> None:
    """Put the report between the marks of the page.

    Raises:
        DFADError: the page has no such marks.
    """
    before = page.read_text(encoding="utf-8") if page.is_file() else ""
    if before.count(BEGIN) != 1 or END not in before.partition(BEGIN)[2]:
        raise DFADError(f"{page}: needs the lines {BEGIN!r} and {END!r}, between which the tables go")
    head, _, rest = before.partition(BEGIN)
    write_text(page, f"{head}{BEGIN}\n{text}{END}{rest.partition(END)[2]}")
