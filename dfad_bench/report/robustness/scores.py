"""Scores of corrupted faces: one set of numbers a corruption and severity, by the function that scores all others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from dfad_bench.core.errors import IntegrityError, UnknownNameError, listed
from dfad_bench.core.files import content_hash
from dfad_bench.core.protocol import Protocol
from dfad_bench.core.record import (
    EARLIER_INTERVALS,
    SCHEMA_VERSION,
    GroupCounts,
    MetricValue,
    ResultRecord,
    read_record,
    seal,
    write_record,
)
from dfad_bench.core.record_ranges import check_ranges
from dfad_bench.core.run_facts import read_facts
from dfad_bench.core.run_folder import ROBUSTNESS, RobustnessFolder, RunFolder
from dfad_bench.report.headline import scored_metrics
from dfad_bench.report.robustness.settings import read_settings
from dfad_bench.report.run_record import protocol_of, read_predictions
from dfad_bench.report.score import Score, score

FILE = ROBUSTNESS
CLEAN = "none"  # the name of severity 0
RESAMPLES = 200  # a grid has dozens of cells
TOLERANCE = 1e-9
_SETS = ("seen", "unseen", "seen-vs-unseen", "seen-videos", "unseen-videos")  # and each group
# kept unless others are asked for: what tables and curves show; a grid has 60 cells, and each interval costs
METRICS_KEPT = ("seen_accuracy", "unseen_accuracy", "auroc", "accuracy", "balanced_accuracy", "auc")


def score_robustness(
    predictions: pd.DataFrame,
    protocol: Protocol,
    settings: Mapping[str, Any],
    *,
    heads: str = "both",
    resamples: int = RESAMPLES,
    metrics: Sequence[str] = METRICS_KEPT,
    earlier: bool = False,
) -> Score:
    """Score every cell of a robustness evaluation.

    Args:
        predictions: as of `score`, with columns `corruption` and `severity` ("none" and 0: the faces as they are).
        protocol: groups and thresholds.
        settings: of the evaluation; its strengths and hash go into `params` of every number.
        heads: see `score`.
        resamples: bootstrap samples of the intervals.
        metrics: names of `METRICS` that are kept of each cell.
        earlier: see `score`.

    Returns:
        Numbers of task "robustness" with `corruption`, `severity` and `of` (attribution or detection) in `params`;
        counts of groups are those of severity 0.

    Raises:
        UnknownNameError: no metric of predictions has that name.
        IntegrityError: columns are missing, cells are not those of the settings, or hold other faces than severity 0.
    """
    if unknown := [name for name in metrics if name not in scored_metrics()]:
        raise UnknownNameError("metric", unknown[0], scored_metrics())
    if absent := [name for name in ("corruption", "severity") if name not in predictions]:
        raise IntegrityError(f"predictions lack columns {absent}: not of a robustness evaluation")
    wanted = {(CLEAN, 0): None} | {
        (about["name"], int(level)): value
        for about in settings["corruptions"]
        for level, value in about["values"].items()
    }
    cells: dict[tuple[str, int], pd.DataFrame] = dict(iter(predictions.groupby(["corruption", "severity"])))  # type: ignore[arg-type]
    if odd := sorted(map(str, cells.keys() ^ wanted.keys())):
        raise IntegrityError(f"predictions and settings do not name the same cells: {listed(odd, 4)}")
    digest, faces = content_hash(settings)[:16], set(cells[CLEAN, 0]["sample_id"])
    numbers: list[MetricValue] = []
    groups: dict[str, GroupCounts] = {}
    for (name, level), value in wanted.items():
        rows = cells[name, level].drop(columns=["corruption", "severity"])
        if set(rows["sample_id"]) != faces:
            raise IntegrityError(f"the cell {name} {level} holds other faces than severity 0")
        scored = score(rows, protocol, heads=heads, resamples=resamples, only=metrics, earlier=earlier)
        groups = scored.groups if level == 0 else groups
        about = {"corruption": name, "severity": level, "strength": value, "settings_sha256": digest}
        numbers += [_cell(number, about) for number in scored.metrics if _is_shown(number)]
    return Score(tuple(numbers), groups)


def build_robustness(
    folder: Path, *, resamples: int = RESAMPLES, metrics: Sequence[str] = METRICS_KEPT
) -> ResultRecord:
    """Score a robustness evaluation and write its record; arguments as of `score_robustness`.

    Raises:
        ConfigError: not such a folder.
        IntegrityError: the predictions are not those of the evaluation.
    """
    facts = read_facts(RobustnessFolder(folder).facts)
    source = {"kind": "measured", "trust": "self_reported"}
    scored = _scored(folder, facts, facts["model"].get("heads", "both"), resamples, metrics)
    record = seal({**facts, "source": source, "metrics": scored.metrics, "groups": scored.groups})
    check_ranges(record, str(RobustnessFolder(folder).record))
    write_record(RobustnessFolder(folder).record, record)
    return record


def rescore_robustness(folder: Path) -> ResultRecord:
    """Compute a robustness record's numbers again from its predictions; write it as recomputed when they agree.

    Raises:
        IntegrityError: a number differs, or predictions, settings or protocol were changed.
    """
    path = RobustnessFolder(folder).record
    old = read_record(path)
    facts = {
        "predictions": {"path": old.predictions.path, "sha256": old.predictions.sha256},
        "protocol": {"config": old.protocol.config, "sha256": old.protocol.sha256},
    }
    resamples = max((value.ci_resamples or 0 for value in old.metrics), default=0)
    earlier = old.schema_version in EARLIER_INTERVALS
    new = _scored(folder, facts, old.model.heads, resamples, metrics_of(old), earlier=earlier)
    pairs = zip(old.metrics, new.metrics, strict=False)
    odd = [_label(b) for a, b in pairs if not _is_same_number(a, b)]
    if odd or len(old.metrics) != len(new.metrics) or old.groups != new.groups:
        raise IntegrityError(f"{path}: does not follow from its predictions: {listed(odd, 3, '; ') or 'counts'}")
    values = {name: getattr(old, name) for name in old.__dataclass_fields__ if name != "record_id"}
    if earlier:  # it agrees with the rule it was made by; it is written by today's
        fresh = _scored(folder, facts, old.model.heads, resamples, metrics_of(old))
        values |= {"metrics": fresh.metrics, "schema_version": SCHEMA_VERSION}
    record = seal({**values, "source": replace(old.source, trust="recomputed")})
    write_record(RobustnessFolder(folder).record, record)
    return record


def metrics_of(record: ResultRecord) -> list[str]:
    """What a robustness record must hold of each cell: the metrics it names, and those every such record has."""
    named = {value.metric for value in record.metrics}
    return [name for name in scored_metrics() if name in named or name in METRICS_KEPT]


def find_robustness(run: Path) -> list[Path]:
    """Folders of the robustness evaluations of a run that have a record."""
    return [path.parent for path in RunFolder(Path(run)).robustness_records()]


def read_robustness(folder: Path) -> tuple[ResultRecord, dict[str, Any]]:
    """A robustness record and its settings.

    Raises:
        ConfigError: not such a folder.
        IntegrityError: changed after it was written.
    """
    files = RobustnessFolder(folder)
    record, settings = read_record(files.record), read_settings(files.settings)
    digests = {value.params.get("settings_sha256") for value in record.metrics}
    if digests != {content_hash(settings)[:16]}:
        advice = "run `dfad evaluate` again"
        raise IntegrityError(f"{files.settings}: not the settings {files.record.name} was made with; {advice}")
    return record, settings


def _scored(
    folder: Path, facts: dict[str, Any], heads: str, resamples: int, metrics: Sequence[str], *, earlier: bool = False
) -> Score:
    protocol = protocol_of(facts, str(folder))
    frame = read_predictions(folder, facts["predictions"])
    settings = read_settings(RobustnessFolder(folder).settings)
    return score_robustness(
        frame, protocol, settings, heads=heads, resamples=resamples, metrics=metrics, earlier=earlier
    )


def _is_shown(number: MetricValue) -> bool:
    return number.subset in _SETS or "/" in number.subset


def _cell(number: MetricValue, about: dict[str, Any]) -> MetricValue:
    params = {key: value for key, value in {**number.params, **about, "of": number.task}.items() if value is not None}
    return replace(number, task="robustness", params=params, members=())  # members are those of the clean record


def _is_same_number(a: MetricValue, b: MetricValue) -> bool:
    if _label(a) != _label(b) or a.n != b.n:
        return False
    if a.value is None or b.value is None:
        return a.value is b.value
    bounds = zip((a.value, *(a.ci95 or ())), (b.value, *(b.ci95 or ())), strict=False)
    same_count = len(a.ci95 or ()) == len(b.ci95 or ())
    return same_count and all(math.isclose(x, y, rel_tol=0, abs_tol=TOLERANCE) for x, y in bounds)


def _label(value: MetricValue) -> str:
    p = value.params
    where = f"{p.get('corruption')} {p.get('severity')}, {p.get('of')} {value.metric} of {value.subset}"
    return f"{where} ({value.averaging}, {p.get('threshold', '')}, {p.get('settings_sha256')})"
