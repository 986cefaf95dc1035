"""Is one run better than another? Paired tests on the same test faces, corrected for the number of tests.

- Shares of right faces (accuracies): McNemar's test on sources, exact where few differ.
- Areas under a ROC curve: DeLong's test, with the covariance of faces that share a source.
- All else (balanced accuracy, OSCR, average precision, macro AUC, ...): paired bootstrap over sources.

Every difference has its interval from that bootstrap. p-values are Holm's over the whole table, so that looking at
more numbers does not show more differences by chance. McNemar counts faces of all groups alike, the shown macro
difference counts groups alike; with groups of equal size, as the papers have, they are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from dfad_bench.core.errors import ConfigError
from dfad_bench.core.record import MetricValue, ResultRecord, read_record
from dfad_bench.core.run_folder import RunFolder, not_a_run
from dfad_bench.metrics import METRICS
from dfad_bench.metrics.interval import bounds
from dfad_bench.metrics.paired import bootstrap_p, delong, holm, mcnemar
from dfad_bench.report.headline import Key, headline_keys, scored_metrics, unit_of
from dfad_bench.report.run_record import protocol_of, read_predictions, trained_elsewhere
from dfad_bench.report.score import numbers
from dfad_bench.report.scored_faces import Number
from dfad_bench.report.table import Column, Table

RESAMPLES = 2000
LEVEL = 0.05
FEW = 20  # sources; a note names groups with fewer
_LABELS = ("group", "source_key", "attribution_label", "detection_label")
_ALSO_MAIN = {("detection", "auc", "seen", "micro")}
Test = Literal["mcnemar exact", "mcnemar", "delong", "bootstrap"]


@dataclass(frozen=True)
class Compared:
    """One number of both runs. `difference` is A minus B; `better` is "a" or "b" where Holm's p is below 0.05."""

    task: str
    metric: str
    subset: str
    averaging: str
    threshold: float | None
    n: int
    a: float | None
    b: float | None
    difference: float | None
    ci95: tuple[float, float] | None
    test: Test | None
    p: float | None
    p_holm: float | None = None
    better: Literal["a", "b"] | None = None
    null_reason: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Two runs on the same faces: names, numbers, and notes for the reader."""

    a: str
    b: str
    protocol: str
    faces: int
    sources: int
    rows: tuple[Compared, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        """The table that `dfad compare` prints."""
        return comparison_table(self).render("rich")


def compare_runs(
    run_a: Path, run_b: Path, *, everything: bool = False, resamples: int = RESAMPLES, seed: int = 0
) -> Comparison:
    """Test the numbers of two finished runs against each other.

    Args:
        run_a: a run folder with `record.json` and predictions.
        run_b: another, of the same protocol, manifests and test faces.
        everything: compare every number, groups and near/far sets included, instead of the main ones.
        resamples: of the paired bootstrap.
        seed: of the paired bootstrap.

    Raises:
        ConfigError: not a finished run, or runs that cannot be compared; says in what they differ.
        IntegrityError: predictions are not those of their record.
    """
    first, second = (_load(Path(run)) for run in (run_a, run_b))
    _refuse(first, second, Path(run_a), Path(run_b))
    (record_a, frame_a), (record_b, _) = first, second
    protocol = protocol_of({"protocol": {"config": record_a.protocol.config}}, str(run_a))
    made = []
    for record, frame in (first, second):
        faces, found = numbers(frame, protocol, heads=record.model.heads, resamples=resamples, seed=seed)
        made.append({_key(number.value): number for number in found})
    keys = [key for key in made[0] if everything or key[:4] in _main_numbers()]
    rows = _corrected([_compared(made[0][key], made[1][key]) for key in keys])
    sources = int(frame_a["source_key"].nunique())
    return Comparison(
        _name(record_a), _name(record_b), protocol.name, len(frame_a), sources, tuple(rows),
        tuple(_notes(record_a, record_b, rows, frame_a, resamples)),
    )  # fmt: skip


def comparison_table(found: Comparison) -> Table:
    """The table of a comparison."""
    columns = (
        Column("number", "Number", "text"),
        Column("a", "A", "by_unit"),
        Column("b", "B", "by_unit"),
        Column("difference", "A - B", "by_unit"),
        Column("low", "95 % from", "by_unit"),
        Column("high", "to", "by_unit"),
        Column("test", "Test", "text"),
        Column("p", "p", "number", 4),
        Column("p_holm", "p (Holm)", "number", 4),
        Column("verdict", "Better", "text"),
    )
    rows = [_row(value) for value in found.rows]
    title = f"A: {found.a}   B: {found.b}   ({found.protocol}, {found.faces:,} faces)"
    return Table(title, columns, rows, found.notes)


def _row(value: Compared) -> dict[str, Any]:
    at = "" if value.threshold is None else f" @{value.threshold:g}"
    low, high = value.ci95 or (None, None)
    verdict = {"a": "A", "b": "B", None: "not shown"}[value.better]
    unit = unit_of(value.metric)
    name = value.metric if unit == "share" else f"{value.metric} [{unit}]"
    return {
        **vars(value), "unit": unit, "number": f"{value.task} {name}{at}, {value.subset} ({value.averaging})",
        "low": low, "high": high, "verdict": value.null_reason or verdict,
    }  # fmt: skip


def _load(run: Path) -> tuple[ResultRecord, pd.DataFrame]:
    """A run's record and its predictions in the order of face names."""
    path = RunFolder(run).record
    if not path.is_file():
        raise ConfigError(not_a_run(run, path.name))
    record = read_record(path)
    frame = read_predictions(run, {"path": record.predictions.path, "sha256": record.predictions.sha256})
    return record, frame.sort_values("sample_id", kind="stable", ignore_index=True)


def _refuse(
    first: tuple[ResultRecord, pd.DataFrame], second: tuple[ResultRecord, pd.DataFrame], run_a: Path, run_b: Path
) -> None:
    (a, frame_a), (b, frame_b) = first, second
    where = f"{run_a} and {run_b} cannot be compared"
    if a.protocol.sha256 != b.protocol.sha256:
        names = [f"{r.protocol.name} version {r.protocol.version} ({r.protocol.sha256[:8]})" for r in (a, b)]
        raise ConfigError(f"{where}: other protocols, {names[0]} and {names[1]}; train both under one")
    if a.manifest.content_sha256 != b.manifest.content_sha256:
        hashes = [r.manifest.content_sha256[:8] for r in (a, b)]
        raise ConfigError(f"{where}: other manifests, {hashes[0]} and {hashes[1]}; use the same for both")
    ids = [set(frame["sample_id"]) for frame in (frame_a, frame_b)]
    if ids[0] != ids[1]:
        only = [len(ids[0] - ids[1]), len(ids[1] - ids[0])]
        raise ConfigError(f"{where}: other test faces ({only[0]} only in the first, {only[1]} only in the second)")
    if not all(frame_a[name].equals(frame_b[name].astype(frame_a[name].dtype)) for name in _LABELS):
        raise ConfigError(f"{where}: the same faces have other groups, sources or labels")


def _main_numbers() -> set[Key]:
    """What is compared unless everything is asked for, at every threshold: the headlines that the table says."""
    headlines = [headline_keys(name) for name in scored_metrics() if METRICS[name].main]
    return {*_ALSO_MAIN, *(key for keys in headlines for key in keys)}


def _key(value: MetricValue) -> tuple[str, str, str, str, float | None]:
    return value.task, value.metric, value.subset, value.averaging, value.params.get("threshold")


def _compared(a: Number, b: Number) -> Compared:
    """Both values, their difference, its interval and its test."""
    task, metric, subset, averaging, threshold = _key(a.value)
    facts: dict[str, Any] = {
        "task": task, "metric": metric, "subset": subset, "averaging": averaging, "threshold": threshold,
        "n": a.value.n, "a": a.value.value, "b": b.value.value,
    }  # fmt: skip
    if a.value.value is None or b.value.value is None:
        reason = a.value.null_reason or b.value.null_reason
        return Compared(**facts, difference=None, ci95=None, test=None, p=None, null_reason=reason)
    differences = a.draws() - b.draws() if a.draws is not None and b.draws is not None else None
    between = bounds(differences) if differences is not None else None
    test, p = _tested(a, b, differences)
    return Compared(**facts, difference=a.value.value - b.value.value, ci95=between, test=test, p=p)


def _tested(a: Number, b: Number, differences: np.ndarray | None) -> tuple[Test | None, float | None]:
    if a.hits is not None and b.hits is not None:
        found = mcnemar(a.hits, b.hits, a.sources)
        return ("mcnemar exact" if found.exact else "mcnemar"), found.p
    if a.ranked is not None and b.ranked is not None:
        areas = delong(a.ranked[0], a.ranked[1], b.ranked[1], a.sources)
        return "delong", areas.p if areas else None
    if differences is None:
        return None, None
    if np.abs(differences[~np.isnan(differences)]).max(initial=0.0) < 1e-12:
        return "bootstrap", 1.0  # the same in every draw
    return "bootstrap", bootstrap_p(differences)


def _corrected(rows: list[Compared]) -> list[Compared]:
    """Holm's p-values, and which run they show to be better."""
    made = []
    for row, p in zip(rows, holm([row.p for row in rows]), strict=True):
        shown = p is not None and p < LEVEL and bool(row.difference)
        wins = row.difference is not None and (row.difference > 0) == METRICS[row.metric].higher_is_better
        better: Literal["a", "b"] | None = ("a" if wins else "b") if shown else None
        made.append(replace(row, p_holm=p, better=better))
    return made


def _notes(
    a: ResultRecord, b: ResultRecord, rows: list[Compared], frame: pd.DataFrame, resamples: int
) -> Iterator[str]:
    faces, sources = len(frame), frame["source_key"].nunique()
    fewest = int(frame.groupby("group")["source_key"].nunique().min())
    tests = sum(row.p is not None for row in rows)
    yield f"Better: p below {LEVEL:g} after Holm's correction over the {tests} tests of this table."
    if any(row.test == "bootstrap" for row in rows) and 2 * tests / (resamples + 1) >= LEVEL:
        needed = int(2 * tests / LEVEL)
        yield f"No bootstrap p-value can pass the correction with {resamples} draws: --resamples {needed} or more."
    if sources < faces:
        yield f"{faces:,} faces come from {sources:,} sources: all tests and intervals treat a source as one."
    if fewest < FEW:
        yield f"A group has only {fewest} sources: intervals and tests from so few are too narrow."
    for name, record in (("A", a), ("B", b)):
        if record.status != "complete":
            yield f"{name} is {record.status} ({record.run.stopped or 'unfinished'})."
        if (elsewhere := trained_elsewhere(record)) is not None:
            yield f"{name} was {elsewhere}."
        if record.protocol.deviations:
            yield f"{name} departs from the protocol: {'; '.join(record.protocol.deviations[:3])}."
    yield "One run each: the spread over seeds is not part of these tests."


def _name(record: ResultRecord) -> str:
    return f"{record.model.display or record.model.name}, seed {record.run.seed}"
