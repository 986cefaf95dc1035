"""The gaze figure: FID a generator with interval and floor, and the clouds of (yaw, pitch) behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dfad_bench.core.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DEG2 = math.degrees(1.0) ** 2
_COLUMNS = 5
_CLOUDS = "Clouds: real faces grey, forged faces violet; outlines at one and two standard deviations"
_SHOWN_POINTS = 400
_REAL, _FAKE, _FLOOR = "#444444", "#a03fa8", "#777777"
_FAMILY = {
    "gan": "#c8502f",
    "diffusion": "#2b6ca3",
    "flow": "#3f8f5f",
    "vae": "#8c6bb1",
    "autoregressive": "#b8892b",
    "graphics": "#7a7a7a",
    "none": "#a0a0a0",
}
Points = Mapping[tuple[str, str], tuple[np.ndarray, np.ndarray]]


def save_gaze_figure(rows: Sequence[Mapping[str, Any]], points: Points, estimator: str, out: Path) -> list[Path]:
    """Write `gaze.png` and `gaze.svg` into `out`; the same numbers give the same bytes.

    Args:
        rows: of `GazeReport.flat`.
        points: of `GazeReport`; (pitch, yaw) in radians.
        estimator: named in the title, because distances of different ones are not comparable.
        out: folder.
    """
    import matplotlib as mpl

    paths = []
    with mpl.rc_context({"svg.hashsalt": "dfad_bench", "font.size": 8, "axes.titlesize": 8}):
        figure = draw_gaze_figure(rows, points, estimator)
        title = _title(estimator)
        for suffix, facts in (("png", {"Software": None, "Title": title}), ("svg", {"Date": None, "Title": title})):
            with atomic_path(out / f"gaze.{suffix}") as temporary:
                figure.savefig(temporary, dpi=150, metadata=facts)
            paths.append(out / f"gaze.{suffix}")
    return paths


def draw_gaze_figure(rows: Sequence[Mapping[str, Any]], points: Points, estimator: str) -> Figure:
    """Bars sorted by FID above one cloud a generator, in the same order."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = sorted((row for row in rows if row.get("fid_rad2") is not None), key=lambda row: row["fid_rad2"])
    reach = _reach(found)
    lines = math.ceil(len(found) / _COLUMNS)
    heights = [2.3 + 0.02 * len(found), *([0.6 + 1.7 * min(reach[0] / reach[1], 1.5)] * lines)]
    figure = Figure(figsize=(10.5, sum(heights) + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1 + lines, _COLUMNS, height_ratios=heights)
    figure.suptitle(f"{_title(estimator)}\n{_CLOUDS}", fontsize=10)
    _bars(figure.add_subplot(grid[0, :]), found)
    for index, row in enumerate(found):
        axes = figure.add_subplot(grid[1 + index // _COLUMNS, index % _COLUMNS])
        _cloud(axes, row, *points[row["dataset"], row["generator"]], reach=reach)
        if index % _COLUMNS:
            axes.set_yticklabels([])
        else:
            axes.set_ylabel("pitch, deg")
        if index + _COLUMNS >= len(found):
            axes.set_xlabel("yaw, deg")
        else:
            axes.set_xticklabels([])
    return figure


def _title(estimator: str) -> str:
    return f"Gaze of real and forged faces, estimator {estimator}"


def _bars(axes: Axes, rows: list[Mapping[str, Any]]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    place = np.arange(len(rows))
    value, low, high = (
        np.array([row[f"{key}_rad2"] for row in rows], float) * _DEG2 for key in ("unbiased", "low", "high")
    )
    families = [str(row["family"]) for row in rows]
    axes.bar(place, value, color=[_FAMILY.get(name, _FAMILY["none"]) for name in families], width=0.65, alpha=0.85)
    reach = np.maximum([value - low, high - value], 0)
    axes.errorbar(place, value, yerr=reach, fmt="none", ecolor="black", elinewidth=1, capsize=3)
    raw = [row["fid_rad2"] * _DEG2 for row in rows]
    axes.scatter(place, raw, marker="_", s=90, color="black", zorder=3)
    floors = [np.nan if row["floor_rad2"] is None else row["floor_rad2"] * _DEG2 for row in rows]
    axes.scatter(place, floors, marker="_", s=220, color=_FLOOR, linewidths=1.4, zorder=4)
    several = len({row["dataset"] for row in rows}) > 1
    names = [f"{row['dataset']}/{row['generator']}" if several else row["generator"] for row in rows]
    axes.set_xticks(place, names, rotation=30 if len(rows) < 16 else 75, ha="right")
    axes.set_ylabel("FID, deg²")
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.spines[["top", "right"]].set_visible(False)
    handles: list[Any] = [Patch(color=_FAMILY.get(n, _FAMILY["none"]), label=n) for n in dict.fromkeys(families)]
    handles.append(Line2D([], [], color="black", label="less sampling bias, 95 %; dash: as computed"))
    handles.append(Line2D([], [], color=_FLOOR, label="floor: real against real"))
    axes.legend(handles=handles, loc="upper left", frameon=False)


def _cloud(
    axes: Axes, row: Mapping[str, Any], real: np.ndarray, fake: np.ndarray, *, reach: tuple[float, float]
) -> None:
    for angles, colour, side in ((real, _REAL, "real"), (fake, _FAKE, "fake")):
        shown = np.degrees(angles[:_SHOWN_POINTS])
        # yaw > 0 looks toward the image's left: the axis is turned so that left is left
        axes.scatter(shown[:, 1], shown[:, 0], s=4, color=colour, alpha=0.5, linewidths=0, rasterized=True)
        _ellipses(axes, row[f"mean_{side}_rad"], row[f"cov_{side}_rad2"], colour)
    axes.set_xlim(reach[1], -reach[1])
    axes.set_ylim(-reach[0], reach[0])
    axes.set_aspect("equal")
    axes.tick_params(labelsize=6)
    axes.set_title(f"{row['generator']}\nFID {row['fid_rad2'] * _DEG2:.2f} deg²")


def _ellipses(axes: Axes, mean_rad: Sequence[float], cov_rad2: Sequence[Sequence[float]], colour: str) -> None:
    """Outlines at one and two standard deviations of a Gaussian over (pitch, yaw)."""
    values, vectors = np.linalg.eigh(np.array(cov_rad2, dtype=float))
    turn = np.linspace(0, 2 * np.pi, 90)
    circle = vectors @ (np.sqrt(values.clip(min=0))[:, None] * [np.cos(turn), np.sin(turn)])
    for sigma, style in ((1, "-"), (2, "--")):
        pitch, yaw = np.degrees(np.array(mean_rad)[:, None] + sigma * circle)
        axes.plot(yaw, pitch, style, color=colour, linewidth=1)


def _reach(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Half the height and width of every cloud's panel, degrees: each outline at two standard deviations fits."""
    ends = [
        [
            abs(mean) + 2.2 * math.sqrt(row[f"cov_{side}_rad2"][axis][axis])
            for axis, mean in enumerate(row[f"mean_{side}_rad"])
        ]
        for row in rows
        for side in ("real", "fake")
    ]
    pitch, yaw = np.degrees(np.max(ends, axis=0, initial=0.0)) if ends else (0.0, 0.0)
    return tuple(float(max(math.ceil(end / 5) * 5, 5)) for end in (pitch, yaw))  # type: ignore[return-value]
