"""Processed real faces among rows of a manifest: real, but no faces to compare forged ones with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfad_bench.core.notices import add_notice
from dfad_bench.core.taxonomy import taxonomy

if TYPE_CHECKING:
    import pandas as pd


def processed_rows(rows: pd.DataFrame) -> pd.Series:
    """Which rows (by their column `generator`) are of processed real faces."""
    return rows["generator"].astype(str).isin(taxonomy().processed)


def without_processed(rows: pd.DataFrame, where: str) -> pd.DataFrame:
    """The rows without processed real faces; a notice that names `where` says how many these are."""
    out = processed_rows(rows)
    if n := int(out.sum()):
        add_notice(f"{where}: {n:,} processed real faces are left out; they are neither forged nor as they were taken")
    return rows[~out] if n else rows
