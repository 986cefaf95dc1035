"""Curves of the ranked rows of a section: over thresholds, over shares of faces answered, over corruptions.

Each kind gives what its figure draws and two tables of the same numbers: a row a model for people, a row a point for
the CSV. A row of several seeds has the mean of their curves, and none where a seed lacks one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from dfad_bench.core.record import ResultRecord, Sweep
from dfad_bench.report.robustness.tables import TITLES
from dfad_bench.report.seed_tables import mean_sweep
from dfad_bench.report.site.line_plot import Panel
from dfad_bench.report.site.run_curves import COVERAGES, CorruptionCurve, RunCurves
from dfad_bench.report.table import Column, Table

SWEEP_PANELS = {
    "unseen_accuracy": "Unseen faces below the threshold, %",
    "seen_right": "Seen faces kept and named rightly, %",
}
_SHARES = {"unseen_accuracy": "Unseen below", "seen_kept": "Seen kept", "seen_right": "Seen kept and right"}
_ANSWERS = {
    "attribution": "Generator of a seen face wrong, %", "detection": "Real or forged wrong, %",
    "both": "Either wrong on a seen face, %",
}  # fmt: skip
ROBUST = ("auroc", "detection_auc")  # numbers that a confidence near chance cannot win
_KEPT = 6  # digits of a share in a CSV


@dataclass(frozen=True)
class Curves:
    """`wide` has `row` in its rows, the key of the model's row on the board; `points` is of all models."""

    panels: Sequence[Panel]
    names: Mapping[str, str]
    wide: Table
    points: Table


def sweep_of(records: Sequence[ResultRecord]) -> Sweep | None:
    """The sweep of a row, the mean over its seeds; None where a record has none, or other thresholds."""
    sweeps = [record.sweep for record in records if record.sweep is not None]
    if not sweeps or len(sweeps) < len(records) or len({sweep.thresholds for sweep in sweeps}) > 1:
        return None
    return mean_sweep(sweeps)


def sweep_curves(title: str, sweeps: Mapping[str, Sweep], names: Mapping[str, str]) -> Curves:
    """Attribution over thresholds, of sweeps by the key of their row."""
    ticks = [(tenth / 10, f"{tenth / 10:g}") for tenth in (0, 2, 4, 6, 8, 10)]
    panels = []
    for share, heading in SWEEP_PANELS.items():
        drawn = {
            key: _known_points(zip(one.thresholds, getattr(one, share), strict=True)) for key, one in sweeps.items()
        }
        panels.append(Panel(heading, drawn, ticks))
    lines = [
        ({"model": names[key], "row": key, "share": words}, dict(zip(one.thresholds, getattr(one, share), strict=True)))
        for key, one in sweeps.items()
        for share, words in _SHARES.items()
    ]
    rows = [
        {"model": names[key], "threshold": at} | {share: _short_share(getattr(one, share)[place]) for share in _SHARES}
        for key, one in sweeps.items()
        for place, at in enumerate(one.thresholds)
    ]
    columns: tuple[Column, ...] = (Column("model", "Model", "text"), Column("threshold", "Threshold"))
    columns += tuple(Column(share, words, "percent") for share, words in _SHARES.items())
    wide = _wide_table(title, {"model": "Model", "share": "Share at a threshold of"}, lines)
    return Curves(panels, {key: names[key] for key in sweeps}, wide, Table(title, columns, rows))


def risk_of(found: Sequence[RunCurves]) -> dict[str, list[float]]:
    """Mean over seeds of the shares of wrong answers at `COVERAGES`, of each kind that all seeds have."""
    kinds = [name for name in _ANSWERS if found and all(name in one.risk for one in found)]
    return {name: [fmean(column) for column in zip(*(one.risk[name] for one in found), strict=True)] for name in kinds}


def risk_curves(title: str, risks: Mapping[str, Mapping[str, Sequence[float]]], names: Mapping[str, str]) -> Curves:
    """Wrong answers over faces answered, by the key of a row and the kind of answer."""
    ticks = [(share / 100, str(share)) for share in (0, 25, 50, 75, 100)]
    panels: list[Panel] = []
    lines: list[tuple[dict[str, Any], dict[float, float]]] = []
    rows: list[dict[str, Any]] = []
    for name, heading in _ANSWERS.items():
        of_kind = {key: list(zip(COVERAGES, one[name], strict=True)) for key, one in risks.items() if name in one}
        panels += [Panel(heading, of_kind, ticks)] if of_kind else []
    for key, one in risks.items():
        for name, values in one.items():
            about = {"model": names[key], "answer": name}
            lines.append(({**about, "row": key}, dict(zip(COVERAGES[1::2], values[1::2], strict=True))))
            rows += [
                {**about, "answered": at, "wrong": _short_share(x)} for at, x in zip(COVERAGES, values, strict=True)
            ]
    columns = (
        Column("model", "Model", "text"), Column("answer", "Answer", "text"),
        Column("answered", "Answered", "percent", 0), Column("wrong", "Wrong", "percent"),
    )  # fmt: skip
    wide = _wide_table(title, {"model": "Model", "answer": "Wrong where this share is answered"}, lines)
    return Curves(panels, {key: names[key] for key in risks}, wide, Table(title, columns, rows))


def robustness_of(found: Sequence[RunCurves]) -> dict[tuple[str, str], CorruptionCurve]:
    """Curves that all seeds of a row have, by corruption and settings, as means over seeds."""
    by_place = [{(curve.name, curve.settings): curve for curve in one.robustness} for one in found]
    made = {}
    for place in by_place[0] if by_place else ():
        if all(place in one for one in by_place):
            several = [one[place] for one in by_place]
            values = {key: _mean([one.values.get(key, {}) for one in several]) for key in several[0].values}
            made[place] = CorruptionCurve(several[0].name, several[0].title, several[0].settings, values)
    return made


def robustness_curves(
    title: str, key: str, found: Mapping[str, Mapping[tuple[str, str], CorruptionCurve]], names: Mapping[str, str]
) -> Curves | None:
    """One number over severities, a panel a corruption and its settings; None where no row has it.

    Args:
        title: of the tables.
        key: column of `robustness.tables.NUMBERS`.
        found: curves by the key of a row, then by corruption and settings.
        names: of rows, by key.
    """
    places = {place: curve for one in found.values() for place, curve in one.items()}
    most = max((level for curve in places.values() for level in curve.values.get(key, {})), default=0)
    if not most:
        return None
    panels: list[Panel] = []
    lines: list[tuple[dict[str, Any], Mapping[int, float | None]]] = []
    rows: list[dict[str, Any]] = []
    drawn: dict[str, str] = {}
    titles = [curve.title for curve in places.values()]
    for place, curve in places.items():
        of_row = {row: one[place].values.get(key, {}) for row, one in found.items() if place in one}
        values = {row: line for row, line in of_row.items() if any(value is not None for value in line.values())}
        heading = curve.title if titles.count(curve.title) == 1 else f"{curve.title} ({curve.settings})"
        points = {
            row: _known_points((level / most, value) for level, value in line.items()) for row, line in values.items()
        }
        ticks = [(level / most, str(level)) for level in sorted({0, *(n for line in values.values() for n in line)})]
        panels += [Panel(heading, points, ticks)] if values else []
        for row, line in values.items():
            drawn[row] = names[row]
            about = {"model": names[row], "corruption": heading}
            lines.append(({**about, "row": row}, line))
            rows += [
                {**about, "settings": curve.settings, "severity": n, "value": _short_share(x)} for n, x in line.items()
            ]
    columns = (
        Column("model", "Model", "text"), Column("corruption", "Corruption", "text"),
        Column("severity", "Severity", "count"), Column("value", TITLES[key], "percent"),
        Column("settings", "Severities", "text"),
    )  # fmt: skip
    wide = _wide_table(title, {"model": "Model", "corruption": f"{TITLES[key]} at a severity of"}, lines)
    ordered = {row: name for row, name in names.items() if row in drawn}
    return Curves(panels, ordered, wide, Table(title, columns, rows)) if panels else None


def _wide_table(
    title: str, heads: Mapping[str, str], lines: Sequence[tuple[Mapping[str, Any], Mapping[Any, Any]]]
) -> Table:
    """A row a line, a column each of the places that any line has."""
    places = sorted({place for _, values in lines for place in values})
    columns = [Column(key, words, "text") for key, words in heads.items()]
    columns += [Column(f"at_{place:g}", f"{place:g}", "percent", 1) for place in places]
    rows = [{**about, **{f"at_{place:g}": value for place, value in values.items()}} for about, values in lines]
    return Table(title, tuple(columns), rows, names=len(heads))


def _known_points(points: Any) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if y is not None]


def _mean(lines: Sequence[Mapping[int, float | None]]) -> dict[int, float | None]:
    """Of each severity that all lines have; None where a line has no value."""
    shared = [level for level in lines[0] if all(level in line for line in lines)]
    columns = {level: [line[level] for line in lines] for level in shared}
    return {
        level: None if None in column else fmean(value for value in column if value is not None)
        for level, column in columns.items()
    }


def _short_share(share: float | None) -> float | None:
    return None if share is None else round(share, _KEPT)
