"""Resolution, format and compression by group."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from dfad_bench.data.audit.findings import Finding, Findings, Kind
from dfad_bench.data.audit.subject import Subject

_COLUMNS: dict[str, Kind] = {
    "group": "text", "files": "count", "formats": "text", "size": "text", "sizes": "count",
    "shorter side": "text", "bytes/pixel": "number",
}  # fmt: skip
_FORMATS = 3


def files(subject: Subject) -> pd.DataFrame:
    """One row per file with known facts, with `bytes_per_pixel`; the frames of a video are one file."""
    known = ["source_width", "source_height", "source_format", "source_bytes"]
    rows = subject.kept_faces.drop_duplicates(["manifest", "origin"]).dropna(subset=known)
    return rows.assign(bytes_per_pixel=bytes_per_pixel(rows))


def bytes_per_pixel(rows: pd.DataFrame) -> pd.Series:
    """Bytes of the file over pixels of one picture of it, by the columns of a manifest; NaN where one is not known."""
    pixels = rows["source_width"].astype(float) * rows["source_height"].astype(float)
    return rows["source_bytes"].astype(float) / pixels


def check(subject: Subject) -> Findings:
    """By group: most common size, number of sizes, range of the shorter side, median bytes per pixel."""
    rows = []
    facts = files(subject)
    for group, here in facts.groupby("group"):
        named = zip(here["source_width"].astype(int), here["source_height"].astype(int), strict=True)
        sizes = Counter(f"{width}x{height}" for width, height in named)
        (commonest, number), *_ = sizes.most_common(1)
        shares = here["source_format"].value_counts(normalize=True)
        shorter = here[["source_width", "source_height"]].min(axis=1).astype(int)
        low, high = shorter.min(), shorter.max()
        rows.append(
            {
                "group": str(group),
                "files": len(here),
                "formats": ", ".join(f"{name} {share:.0%}" for name, share in shares.head(_FORMATS).items()),
                "size": f"{commonest} ({number / len(here):.0%})",
                "sizes": len(sizes),
                "shorter side": str(low) if low == high else f"{low} to {high}",
                "bytes/pixel": float(here["bytes_per_pixel"].median()),
            }
        )
    unknown = subject.kept_faces.drop_duplicates(["manifest", "origin"]).shape[0] - len(facts)
    remarks = (Finding("info", f"{unknown:,} files without facts; build the manifest again"),) if unknown else ()
    return Findings("file_facts", "Resolution, format and compression", _COLUMNS, rows, remarks)
