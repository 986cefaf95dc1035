"""Tables of the gaze study: distances of real from forged gaze, and how far forged faces keep their target's gaze."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dfad_bench.report.table import Column, Table

_DEG2 = math.degrees(1.0) ** 2
_NAMES = (
    Column("dataset", "Dataset", "text"),
    Column("generator", "Generator", "text"),
    Column("forgery", "Type", "text"),
    Column("family", "Family", "text"),
)
_IN_DEG2 = ("fid", "unbiased", "low", "high", "floor", "floor_high", "mean_part", "covariance_part")
ANGLE_NOTE = "FID in square radians times 1000, and in square degrees (times 3282.8)."
PAIR_NOTE = (
    "2-D cosine: of (pitch, yaw) as in the paper's Figure 7. 3-D cosine and angle: of the directions. The control"
    " pairs each forged face with another one's target."
)


def fid_table(rows: Sequence[Mapping[str, Any]], estimator: str, notes: Sequence[str] = ()) -> Table:
    """One row a generator: FID with interval, floor and parts (rows of `GazeReport.flat`, radians)."""
    columns = (
        *_NAMES,
        Column("reals", "Reals", "text"),
        Column("n", "n", "count"),
        Column("fid_mrad2", "FID 10⁻³ rad²", digits=3),
        Column("fid_deg2", "FID deg²", digits=2),
        Column("interval_deg2", "95 % deg²", "text"),
        Column("floor_deg2", "floor deg²", digits=2),
        Column("mean_part_deg2", "of means", digits=2),
        Column("covariance_part_deg2", "of spreads", digits=2),
        Column("low_confidence", "unsure %", "percent", 0),
    )
    shown = [_shown(row) for row in rows if row["forgery"] != "control"]
    return Table(f"Gaze FID, estimator {estimator}", columns, shown, (*notes, ANGLE_NOTE))


def pair_table(rows: Sequence[Mapping[str, Any]], estimator: str) -> Table:
    """One row a generator and the control: paired cosine and angle (rows of `GazeReport.flat`)."""
    columns = (
        *_NAMES,
        Column("pairs_text", "Pairs", "text"),
        Column("cosine_2d", "cosine 2-D"),
        Column("cosine_2d_text", "95 %", "text"),
        Column("cosine_3d", "cosine 3-D", digits=3),
        Column("cosine_3d_text", "95 %", "text"),
        Column("angle_deg", "angle deg"),
        Column("angle_text", "95 % deg", "text"),
    )
    return Table(
        f"Gaze of forged faces against their targets, estimator {estimator}",
        columns,
        [_shown(row) for row in rows],
        (PAIR_NOTE,),
    )


def flat_table(rows: Sequence[Mapping[str, Any]], estimator: str) -> Table:
    """Every plain number of every row, for CSV."""
    keys = [key for key, value in rows[0].items() if not isinstance(value, tuple | list)]
    return Table(f"Gaze, estimator {estimator}", tuple(Column(key, key) for key in keys), list(rows))


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(row)
    for name in _IN_DEG2:
        value = row.get(f"{name}_rad2")
        shown[f"{name}_deg2"] = None if value is None else value * _DEG2
    for name in ("angle_rad", "angle_rad_low", "angle_rad_high", "median_angle_rad"):
        value = row.get(name)
        shown[name.replace("_rad", "_deg")] = None if value is None else math.degrees(value)
    shown["fid_mrad2"] = None if row.get("fid_rad2") is None else row["fid_rad2"] * 1000
    shown["interval_deg2"] = _interval(shown["low_deg2"], shown["high_deg2"], 2)
    shown["cosine_2d_text"] = _interval(row.get("cosine_2d_low"), row.get("cosine_2d_high"), 2)
    shown["cosine_3d_text"] = _interval(row.get("cosine_3d_low"), row.get("cosine_3d_high"), 3)
    shown["angle_text"] = _interval(shown["angle_deg_low"], shown["angle_deg_high"], 2)
    shown["pairs_text"] = row.get("pair_verdict") or f"{row.get('pairs', 0):,}"
    return shown


def _interval(low: float | None, high: float | None, digits: int) -> str | None:
    return None if low is None or high is None else f"{low:.{digits}f} to {high:.{digits}f}"
