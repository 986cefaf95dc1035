"""Real faces that several groups share: an unseen real set must not contain faces of the seen one."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pandas as pd

from dfad_bench.core.labels import REAL
from dfad_bench.data.audit.findings import Face, Finding, Findings, Kind, faces_at
from dfad_bench.data.audit.pairs import face_pairs, sources_of_hashes
from dfad_bench.data.audit.subject import Subject

_COLUMNS: dict[str, Kind] = {"group": "text", "other group": "text", "how": "text", "pairs": "count"}
_EXAMPLES = 12
_SAME = {"source_sha256": "same file", "crop_sha256": "same pixels"}


def check(subject: Subject) -> Findings:
    """Pairs of real groups that share faces, by bytes, pixels or perceptual hash."""
    real = subject.kept_faces[subject.kept_faces["detection_label"] == REAL]
    counts: Counter[tuple[str, str, str]] = Counter()
    examples: list[tuple[Face, ...]] = []
    for column, how in _SAME.items():
        _count_same(subject, real, column, how, counts, examples)
    units = sources_of_hashes(subject)
    for pairs in face_pairs(subject, units[units["detection_label"] == REAL]):
        across = pairs[pairs["group_a"] != pairs["group_b"]]
        for a, b in zip(across["group_a"], across["group_b"], strict=True):
            counts[(min(a, b), max(a, b), "near duplicate")] += 1
        some = across.head(max(0, _EXAMPLES - len(examples)))
        examples += [faces_at(subject.faces, [a, b]) for a, b in zip(some["row_a"], some["row_b"], strict=True)]
    rows = [
        {"group": key[0], "other group": key[1], "how": key[2], "pairs": number}
        for key, number in sorted(counts.items(), key=lambda item: (item[0][:2], -item[1]))
    ]
    remarks = []
    if rows:
        joined = len({(row["group"], row["other group"]) for row in rows})
        text = (
            f"{joined} pair{'s' if joined > 1 else ''} of real groups share faces: they are not independent test sets"
        )
        remarks.append(Finding("warning", text, tuple(examples[:_EXAMPLES])))
    return Findings("reused_reals", "Real faces reused across groups", _COLUMNS, rows, tuple(remarks))


def _count_same(
    subject: Subject,
    real: pd.DataFrame,
    column: str,
    how: str,
    counts: Counter[tuple[str, str, str]],
    examples: list[tuple[Face, ...]],
) -> None:
    """Count hashes that several real groups share; pixels only where the bytes differ, so that none counts twice."""
    known = real[real[column].notna()].drop_duplicates(["group", column])
    known = known[known.duplicated(column, keep=False)]
    same: dict[str, list[tuple[int, str, str | None]]] = {}
    for value, *face in zip(known[column], known.index, known["group"], known["source_sha256"], strict=True):
        same.setdefault(value, []).append((face[0], face[1], face[2]))
    for faces in same.values():
        for one, other in combinations(faces, 2):
            if column == "crop_sha256" and one[2] == other[2] and one[2] is not None:
                continue
            counts[(min(one[1], other[1]), max(one[1], other[1]), how)] += 1
            if len(examples) < _EXAMPLES:
                examples.append(faces_at(subject.faces, [one[0], other[0]]))
