"""Class balance: how many faces and sources each group has in train and test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dfad_bench.core.labels import FAKE, REAL
from dfad_bench.data.audit.findings import Finding, Findings, Kind
from dfad_bench.data.audit.subject import Subject
from dfad_bench.data.processed import processed_rows

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS: dict[str, Kind] = {
    "group": "text", "label": "text", "faces": "count", "share": "percent", "sources": "count",
    "train": "count", "test": "count", "refused": "count", "refused share": "percent",
}  # fmt: skip
_UNEVEN = 10.0  # largest group over smallest from which on there is a warning
_REFUSED = 0.1
_NAMES = {REAL: "real", FAKE: "fake"}


def _label_of(rows: pd.DataFrame) -> str:
    if processed_rows(rows).any():
        return "processed"  # real, and counted apart
    return _NAMES.get(int(rows["detection_label"].max()), "unlabelled")


def check(subject: Subject) -> Findings:
    """Count faces by group. Warns of very uneven groups, and of groups with many refused faces."""
    kept, total = subject.kept_faces, max(1, len(subject.kept_faces))
    rows: list[dict[str, Any]] = []
    for group, every in subject.faces.groupby("group"):
        here = kept[kept["group"] == group]
        rows.append(
            {
                "group": str(group),
                "label": _label_of(every),
                "faces": len(here),
                "share": len(here) / total,
                "sources": here["source_key"].nunique(),
                "train": int((here["side"] == "train").sum()),
                "test": int((here["side"] == "test").sum()),
                "refused": len(every) - len(here),
                "refused share": 1 - len(here) / len(every),
            }
        )
    found = []
    sizes = {row["group"]: row["train"] for row in rows if row["train"]} or {
        row["group"]: row["faces"] for row in rows if row["faces"]
    }
    if sizes and max(sizes.values()) >= _UNEVEN * min(sizes.values()):
        most, least = max(sizes, key=sizes.__getitem__), min(sizes, key=sizes.__getitem__)
        text = f"{most} has {sizes[most]:,} faces, {least} {sizes[least]:,}: set counts a group in the protocol"
        found.append(Finding("warning", text))
    if lossy := [row for row in rows if row["refused share"] > _REFUSED]:
        names = ", ".join(f"{row['group']} {row['refused share']:.0%}" for row in lossy)
        found.append(Finding("warning", f"more than {_REFUSED:.0%} of the rows were refused: {names}"))
    real = sum(row["faces"] for row in rows if row["label"] == "real")
    fake = sum(row["faces"] for row in rows if row["label"] == "fake")
    share = f"{fake / max(1, real + fake):.2%}"
    text = f"{real:,} real and {fake:,} forged faces: calling all of them forged is right on {share}"
    found.append(Finding("info", text))
    return Findings("balance", "Class balance", _COLUMNS, rows, tuple(found))
