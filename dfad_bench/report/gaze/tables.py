"""Tables of the gaze study: distances of real from forged gaze, and how far forged faces keep their target's gaze."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dfad_bench.report.gaze.estimators import FORGERIES, family_name
from dfad_bench.report.table import Column, Table

_DEG2 = math.degrees(1.0) ** 2
_IN_DEG2 = ("fid", "unbiased", "low", "high", "floor", "floor_high", "mean_part", "covariance_part")
UNIT_NOTE = (
    "FID: squared Frechet distance of Gaussians over (pitch, yaw), in square radians and square degrees; the columns"
    " after it up to spreads in square degrees. floor 95 %: what 95 of 100 such draws stay below. means, spreads: the"
    " two parts of the distance. low conf.: confidence below one half."
)
SHORT_NOTE = (
    "FID: squared Frechet distance of Gaussians over (pitch, yaw). floor 95 %: what 95 of 100 draws of real faces stay"
    " below. Pairs: forged faces against their targets. All tables: --all, or in the files of --out."
)
PAIR_NOTE = (
    "2-D cosine: of (pitch, yaw) as in the paper's Figure 7. 3-D cosine and angle: of the directions. The control"
    " pairs each forged face with another one's target. no target: entirely synthesised faces have none. 95 %:"
    " over sources, of the forged faces and of the targets; none for fewer than five."
)


def fid_table(rows: Sequence[Mapping[str, Any]], estimator: str, notes: Sequence[str] = ()) -> Table:
    """One row a generator: FID with interval, floor and parts (rows of `GazeReport.flat`, radians)."""
    found = [row for row in rows if row["forgery"] != "control"]
    columns = (
        *_NAMES,
        Column("reals_text", "n real", "text"),
        Column("n", "n fake", "count"),
        Column("sources_text", "sources", "text"),
        Column("fid_rad2", "FID, rad²", digits=6),
        Column("fid_deg2", "deg²"),
        Column("interval_deg2", "95 %", "text"),
        Column("floor_deg2", "floor"),
        Column("floor_high_deg2", "floor 95 %"),
        Column("mean_part_deg2", "means"),
        Column("covariance_part_deg2", "spreads"),
        Column("low_confidence", "low conf. %", "percent", 0),
    )
    shown = [_printed_row(row) for row in found]
    return Table(f"Gaze FID, estimator {estimator}", columns, shown, (*notes, UNIT_NOTE), _sections(found))


def short_table(rows: Sequence[Mapping[str, Any]], estimator: str, notes: Sequence[str] = ()) -> Table:
    """One row a generator: distance with its interval and floor, pairs with their cosine and angle."""
    found = [row for row in rows if row["forgery"] != "control" or row.get("pairs")]
    columns = (
        *_NAMES,
        Column("fakes_of_text", "n fake (sources)", "text"),
        Column("fid_deg2", "FID, deg²"),
        Column("interval_deg2", "95 %", "text"),
        Column("floor_high_deg2", "floor 95 %"),
        Column("pairs_of_text", "Pairs (sources)", "text"),
        Column("cosine_2d", "cosine 2-D"),
        Column("angle_deg", "angle, deg"),
    )
    shown = [{**_printed_row(row), **({"interval_deg2": None} if row["forgery"] == "control" else {})} for row in found]
    return Table(f"Gaze, estimator {estimator}", columns, shown, (*notes, SHORT_NOTE), _sections(found))


def pair_table(rows: Sequence[Mapping[str, Any]], estimator: str) -> Table:
    """One row a generator and the control: paired cosine and angle (rows of `GazeReport.flat`)."""
    columns = (
        *_NAMES,
        Column("pairs_text", "Pairs", "text"),
        Column("pair_sources", "sources", "count"),
        Column("cosine_2d", "cosine 2-D"),
        Column("cosine_2d_text", "95 %", "text"),
        Column("cosine_3d", "cosine 3-D", digits=3),
        Column("cosine_3d_text", "95 %", "text"),
        Column("angle_deg", "angle, deg"),
        Column("angle_text", "95 %", "text"),
        Column("median_angle_deg", "median"),
    )
    title = f"Gaze of forged faces against their targets, estimator {estimator}"
    return Table(title, columns, [_printed_row(row) for row in rows], (PAIR_NOTE,), _sections(rows))


_NAMES = (Column("generator", "Generator", "text"), Column("family_name", "Family", "text"))


def _sections(rows: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Headings above the first row of each forgery type; of each dataset too, where there are several."""
    several = len({row["dataset"] for row in rows if row["dataset"]}) > 1
    sections, last = {}, None
    for index, row in enumerate(rows):
        kind = (row["dataset"] if several else "", row["forgery"])
        if kind != last:
            name = "control" if row["forgery"] == "control" else FORGERIES[row["forgery"]]
            sections[index] = f"{kind[0]}: {name}" if kind[0] else name
        last = kind
    return sections


def flat_table(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    """Every plain number of every row, for CSV."""
    keys = dict.fromkeys(key for row in rows for key, value in row.items() if not isinstance(value, tuple | list))
    return Table(title, tuple(Column(key, key) for key in keys), list(rows))


def _printed_row(row: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(row)
    for name in _IN_DEG2:
        value = row.get(f"{name}_rad2")
        shown[f"{name}_deg2"] = None if value is None else value * _DEG2
    for name in ("angle_rad", "angle_rad_low", "angle_rad_high", "median_angle_rad"):
        value = row.get(name)
        shown[name.replace("_rad", "_deg")] = None if value is None else math.degrees(value)
    interval = _interval(shown["low_deg2"], shown["high_deg2"], 2)
    shown["interval_deg2"] = row.get("fid_verdict") or interval or row.get("interval_verdict")
    sources = [row.get(f"sources_{side}") for side in ("real", "fake")]  # not stated is not none
    shown["sources_text"] = None if None in sources else f"{sources[0]:,} real, {sources[1]:,} fake"
    shown["generator"] = row["generator"] if row.get("gaze_is_eyes", True) else f"{row['generator']} *"
    every = " (all)" if row.get("reals") == "all" else ""
    shown["reals_text"] = None if row.get("n") is None else f"{row['n']:,}{every}"
    shown["cosine_2d_text"] = _interval(row.get("cosine_2d_low"), row.get("cosine_2d_high"), 2)
    shown["cosine_3d_text"] = _interval(row.get("cosine_3d_low"), row.get("cosine_3d_high"), 3)
    shown["angle_text"] = _interval(shown["angle_deg_low"], shown["angle_deg_high"], 2)
    shown["family_name"] = family_name(str(row.get("family", "")))
    shown["pairs_text"] = row.get("pair_verdict") or _count(row.get("pairs"), None)
    shown["pairs_of_text"] = row.get("pair_verdict") or _count(row.get("pairs"), row.get("pair_sources"))
    shown["fakes_of_text"] = _count(row.get("n"), row.get("sources_fake"))
    return shown


def _count(faces: int | None, sources: int | None) -> str | None:
    """How many, and of how many sources where that is known: fifty faces of two clips are not fifty observations."""
    if faces is None:
        return None
    return f"{faces:,}" if sources is None else f"{faces:,} ({sources:,})"


def _interval(low: float | None, high: float | None, digits: int) -> str | None:
    return None if low is None or high is None else f"{low:.{digits}f} to {high:.{digits}f}"
