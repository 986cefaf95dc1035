"""Sets of files with the same hash: shared code of the checks for same bytes and same pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dfad_bench.data.audit.findings import Face, Finding, Kind, faces_at

COLUMNS: dict[str, Kind] = {"groups": "text", "sides": "text", "sources": "text", "sets": "count", "files": "count"}
_EXAMPLES = 12  # sets kept per remark
_FACES = 6  # faces kept per set


@dataclass(frozen=True)
class CopySet:
    """Files with one hash: `rows` are positions in a subject's faces, one per file."""

    rows: tuple[int, ...]
    groups: tuple[str, ...]
    labels: tuple[str, ...]  # generators; faces of unknown label left out
    sides: tuple[str, ...]
    sources: int

    def example(self, faces: pd.DataFrame) -> tuple[Face, ...]:
        """Some of the faces, one of every group and side first."""
        seen: set[tuple[str, str]] = set()
        one_of_each: list[int] = []
        other_rows: list[int] = []
        for row in self.rows:
            kind = (str(faces["group"].iat[row]), str(faces["side"].iat[row]))
            (other_rows if kind in seen else one_of_each).append(row)
            seen.add(kind)
        return faces_at(faces, (one_of_each + other_rows)[:_FACES])


def copy_sets(rows: pd.DataFrame, column: str) -> list[CopySet]:
    """Sets of two or more files with the same value of `column`, ordered by the position of the first file.

    Frames of one video count as one file.
    """
    known = rows[rows[column].notna()].drop_duplicates(["manifest", "origin", column])
    known = known[known.duplicated(column, keep=False)]
    labels = known["generator"].astype(str).where(known["detection_label"] >= 0, "")
    facts = zip(known.index, known["group"], labels, known["side"], known["source_key"], strict=True)
    same: dict[str, list[tuple[Any, ...]]] = {}
    for value, fact in zip(known[column], facts, strict=True):
        same.setdefault(value, []).append(fact)
    sets = []
    for files in same.values():
        positions, groups, names, sides, sources = (list(values) for values in zip(*files, strict=True))
        sets.append(
            CopySet(
                rows=tuple(map(int, positions)),
                groups=tuple(sorted(set(groups))),
                labels=tuple(sorted(set(names) - {""})),
                sides=tuple(sorted(set(sides) - {""}, reverse=True)),
                sources=len(set(sources)),
            )
        )
    return sorted(sets, key=lambda item: item.rows)


def table(sets: Sequence[CopySet]) -> list[dict[str, Any]]:
    """Number of sets and files by the groups and sides they connect, most sets first."""
    counts, files = Counter[tuple[str, str, str]](), Counter[tuple[str, str, str]]()
    for item in sets:
        key = (" + ".join(item.groups), " + ".join(item.sides), "one" if item.sources == 1 else "several")
        counts[key] += 1
        files[key] += len(item.rows)
    return [
        {"groups": key[0], "sides": key[1], "sources": key[2], "sets": number, "files": files[key]}
        for key, number in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def remarks(faces: pd.DataFrame, sets: Sequence[CopySet], what: str) -> tuple[Finding, ...]:
    """Remarks on sets of copies.

    Errors where copies have different labels or are on both sides of the split, a warning for others of several
    sources, an information for copies within one source. `what` names a set of copies.
    """
    labels = [item for item in sets if len(item.labels) > 1]
    sides = [item for item in sets if len(item.sides) > 1]
    severe = {item.rows for item in labels + sides}
    plain = [item for item in sets if item.rows not in severe]
    found = [
        ("error", labels, f"{what} with different labels: at most one label is right"),
        ("error", sides, f"{what} on both sides of the split: test faces are trained on"),
        ("warning", [item for item in plain if item.sources > 1], f"{what} under different names"),
        ("info", [item for item in plain if item.sources == 1], f"{what} within one source"),
    ]
    return tuple(
        Finding(severity, f"{_sets(some)} of {text}", tuple(item.example(faces) for item in some[:_EXAMPLES]))  # type: ignore[arg-type]
        for severity, some, text in found
        if some
    )


def _sets(sets: Sequence[CopySet]) -> str:
    files = sum(len(item.rows) for item in sets)
    return f"{len(sets):,} set{'s' if len(sets) > 1 else ''} ({files:,} files)"
