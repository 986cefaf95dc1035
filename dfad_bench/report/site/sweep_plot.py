"""What a threshold gains on unseen faces and loses on seen ones: a curve a model, in two panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dfad_bench.core.record import ResultRecord, Sweep
from dfad_bench.report.seed_tables import mean_sweep
from dfad_bench.report.site import svg
from dfad_bench.report.table import Column, Table

MOST = svg.SERIES  # curves that can be told apart
PANELS = {
    "unseen_accuracy": "Unseen faces below the threshold, %",
    "seen_right": "Seen faces kept and named rightly, %",
}
_WIDTH, _LEFT, _RIGHT, _HIGH, _GAP, _LINE = 480, 40, 12, 170, 58, 20


def sweep_of(records: Sequence[ResultRecord]) -> Sweep | None:
    """The sweep of a row, the mean over its seeds; None where a record has none, or other thresholds."""
    sweeps = [record.sweep for record in records if record.sweep is not None]
    if not sweeps or len(sweeps) < len(records) or len({sweep.thresholds for sweep in sweeps}) > 1:
        return None
    return mean_sweep(sweeps)


def sweep_table(title: str, sweeps: Mapping[str, Sweep]) -> Table:
    """The numbers behind the figure: a row a model and threshold."""
    columns = (
        Column("model", "Model", "text"), Column("threshold", "Threshold"),
        Column("unseen_accuracy", "Unseen below", "percent"), Column("seen_kept", "Seen kept", "percent"),
        Column("seen_right", "Seen kept and right", "percent"),
    )  # fmt: skip
    rows: list[Mapping[str, Any]] = []
    for name, sweep in sweeps.items():
        for place, threshold in enumerate(sweep.thresholds):
            shares = {key: getattr(sweep, key)[place] for key in ("unseen_accuracy", "seen_kept", "seen_right")}
            rows.append({"model": name, "threshold": threshold, **shares})
    return Table(title, columns, rows)


def sweep_figure(name: str, title: str, sweeps: Mapping[str, Sweep]) -> svg.Figure | None:
    """Two panels with the same thresholds, and the names of the curves beneath; None for no sweeps."""
    shown = dict(list(sweeps.items())[:MOST])
    if not shown:
        return None
    parts: list[str] = []
    for panel, (key, heading) in enumerate(PANELS.items()):
        top = 24 + panel * (_HIGH + _GAP)
        parts += _panel(float(top), heading)
        for place, sweep in enumerate(shown.values()):
            points = zip(sweep.thresholds, getattr(sweep, key), strict=True)
            parts.append(svg.curve([_at(x, y, top) for x, y in points if y is not None], place))
    first = 24 + len(PANELS) * (_HIGH + _GAP) + 6
    for place, words in enumerate(shown):
        y = float(first + place * _LINE)
        parts.append(svg.curve([(_LEFT, y - 5), (_LEFT + 44, y - 5)], place))
        parts.append(svg.text(_LEFT + 54, y, words, longest=48))
    left_out = f" The first {MOST} of {len(sweeps)} models." if len(sweeps) > MOST else ""
    about = (
        "A curve a model, in the order of their places, over the threshold of confidence below which a face is called"
        f" unseen. The numbers are in the table behind this figure.{left_out}"
    )
    return svg.Figure(name, title, about, _WIDTH, first + len(shown) * _LINE, parts)


def _at(threshold: float, share: float, top: float) -> tuple[float, float]:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * threshold, top + _HIGH * (1 - share)


def _panel(top: float, heading: str) -> list[str]:
    """Axes of one panel: thresholds along, shares up."""
    left, right, bottom = float(_LEFT), float(_WIDTH - _RIGHT), top + _HIGH
    parts = [svg.text(0, top - 9, heading)]
    for share in (0, 50, 100):
        y = bottom - _HIGH * share / 100
        parts += [svg.line(left, y, right, y, 1, ' opacity=".3"'), svg.text(left - 6, y + 5, str(share), "end")]
    for tenth in (0, 2, 4, 6, 8, 10):
        x = left + (right - left) * tenth / 10
        parts.append(svg.text(x, bottom + svg.TEXT + 4, f"{tenth / 10:g}", "middle"))
    return parts
