"""The result of a check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

Severity = Literal["ok", "info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("ok", "info", "warning", "error")
Kind = Literal["text", "count", "percent", "number"]


@dataclass(frozen=True)
class Face:
    """One face of an example. `manifest` is the index of its manifest, from 0; `drawable`: it has a crop."""

    manifest: int
    sample_id: str
    group: str
    side: str
    origin: str
    frame: int | None
    drawable: bool


@dataclass(frozen=True)
class Finding:
    """One remark: its severity, its text, and some sets of faces as examples."""

    severity: Severity
    text: str
    examples: tuple[tuple[Face, ...], ...] = ()


@dataclass(frozen=True)
class Findings:
    """The result of one check: a table, whose columns map a key to a kind, and remarks."""

    check: str
    title: str
    columns: Mapping[str, Kind]
    rows: Sequence[Mapping[str, Any]]
    remarks: tuple[Finding, ...] = ()

    @property
    def severity(self) -> Severity:
        """The highest severity of the remarks; `ok` without any."""
        return max((remark.severity for remark in self.remarks), key=SEVERITIES.index, default="ok")


def faces_at(faces: pd.DataFrame, positions: Sequence[int]) -> tuple[Face, ...]:
    """The rows of a subject's `faces` at `positions`."""
    columns = ["manifest", "sample_id", "group", "side", "origin", "frame", "status"]
    rows: list[dict[str, Any]] = faces.iloc[list(positions)][columns].to_dict("records")  # type: ignore[assignment]
    return tuple(
        Face(
            manifest=int(row["manifest"]),
            sample_id=str(row["sample_id"]),
            group=str(row["group"]),
            side=str(row["side"]),
            origin=str(row["origin"]),
            frame=None if pd.isna(row["frame"]) else int(row["frame"]),
            drawable=bool(row["status"] == "ok"),
        )
        for row in rows
    )
