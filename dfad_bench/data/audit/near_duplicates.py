"""Near duplicates: faces of different sources whose perceptual hashes differ in a few bits."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from dfad_bench.data.audit.findings import Face, Finding, Findings, Kind, Severity, faces_at
from dfad_bench.data.audit.pairs import crowded_hashes, face_pairs, sources_of_hashes
from dfad_bench.data.audit.subject import Subject

_COLUMNS: dict[str, Kind] = {
    "group": "text", "other group": "text", "sides": "text", "pairs": "count", "fewest bits": "count",
}  # fmt: skip
_EXAMPLES = 12
_ROWS = 40
_TEXTS: dict[str, tuple[Severity, str]] = {
    "sides": ("warning", "on both sides of the split, from different sources"),
    "labels": ("warning", "one real, the other forged, from different sources"),
    "other": ("info", "from different sources"),
}


def check(subject: Subject) -> Findings:
    """Pairs of faces within `near_bits`, by groups and sides. Pairs within one source do not count."""
    units = sources_of_hashes(subject)
    counts: Counter[tuple[str, str, str]] = Counter()
    closest: dict[tuple[str, str, str], int] = {}
    kinds: Counter[str] = Counter()
    examples: dict[str, list[tuple[Face, ...]]] = {name: [] for name in _TEXTS}
    for pairs in face_pairs(subject, units):
        for key, number, bits in _by_groups(pairs):
            counts[key] += number
            closest[key] = min(bits, closest.get(key, 64))
        kind = _kind(pairs)
        kinds.update(kind.tolist())
        for name, kept in examples.items():
            some = pairs[kind == name].head(_EXAMPLES - len(kept))
            kept += [faces_at(subject.faces, [a, b]) for a, b in zip(some["row_a"], some["row_b"], strict=True)]
    remarks = [
        Finding(severity, f"{kinds[name]:,} pairs of near duplicates {text}", tuple(examples[name]))
        for name, (severity, text) in _TEXTS.items()
        if kinds[name]
    ]
    title = f"Near duplicates: perceptual hashes within {subject.near_bits} of 64 bits, by source"
    return Findings("near_duplicates", title, _COLUMNS, _rows(counts, closest), (*remarks, *_limits(subject, units)))


def _by_groups(pairs: pd.DataFrame) -> list[tuple[tuple[str, str, str], int, int]]:
    swapped = pairs["group_a"] > pairs["group_b"]
    named = pd.DataFrame(
        {
            "one": pairs["group_a"].where(~swapped, pairs["group_b"]),
            "two": pairs["group_b"].where(~swapped, pairs["group_a"]),
            "sides": _sides(pairs),
            "distance": pairs["distance"],
        }
    )
    sizes = named.groupby(["one", "two", "sides"])["distance"].agg(["size", "min"])
    return [
        ((str(k[0]), str(k[1]), str(k[2])), int(n), int(d))
        for k, (n, d) in zip(sizes.index, sizes.to_numpy(), strict=True)
    ]


def _sides(pairs: pd.DataFrame) -> np.ndarray:
    a, b = pairs["side_a"].astype(str), pairs["side_b"].astype(str)
    across = (a != "") & (b != "") & (a != b)
    return np.where(across, "train + test", np.where(a != "", a, b))


def _kind(pairs: pd.DataFrame) -> pd.Series:
    a, b = pairs["detection_label_a"], pairs["detection_label_b"]
    labels = (a >= 0) & (b >= 0) & (a != b)
    kind = pd.Series("other", index=pairs.index).mask(labels, "labels")
    return kind.mask(pd.Series(_sides(pairs) == "train + test", index=pairs.index), "sides")


def _rows(counts: Counter[tuple[str, str, str]], closest: dict[tuple[str, str, str], int]) -> list[dict[str, Any]]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rows: list[dict[str, Any]] = [
        {"group": key[0], "other group": key[1], "sides": key[2], "pairs": number, "fewest bits": closest[key]}
        for key, number in ordered[:_ROWS]
    ]
    if other_groups := ordered[_ROWS:]:
        rows.append({"group": f"{len(other_groups)} more", "pairs": sum(number for _, number in other_groups)})
    return rows


def _limits(subject: Subject, units: pd.DataFrame) -> list[Finding]:
    """Remarks on what was left out of the search."""
    found = []
    crowds = crowded_hashes(units)
    if len(crowds):
        examples = tuple(
            faces_at(subject.faces, units.loc[units["hash"] == value, "row"].head(6).tolist())
            for value in crowds.index[:_EXAMPLES]
        )
        text = (
            f"{len(crowds):,} perceptual hashes are shared by {int(crowds.sum()):,} sources: empty or placeholder"
            " pictures? their pairs are not counted"
        )
        found.append(Finding("warning", text, examples))
    if subject.near_pairs.crowded:
        text = f"{subject.near_pairs.crowded:,} hashes lie in crowded bands: some of their pairs may be missing"
        found.append(Finding("info", text))
    if subject.near_pairs.capped:
        text = (
            f"the search ended at {len(subject.near_pairs.first):,} pairs of hashes: there are more; ask for fewer bits"
        )
        found.append(Finding("warning", text))
    missing = int(subject.kept_faces["phash"].isna().sum())
    if missing:
        found.append(Finding("info", f"{missing:,} faces have no perceptual hash"))
    return found
