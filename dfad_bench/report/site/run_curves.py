"""Curves of a run that its record does not hold, read from its folder: training, risk over coverage, robustness.

Every file is compared with the hash that the record states of it; what is not there, or is not that file, is left out
with a reason that the page prints.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from dfad_bench.core.errors import DFADError
from dfad_bench.core.files import check_hash
from dfad_bench.core.record import MetricValue, ResultRecord
from dfad_bench.core.run_folder import EVALUATIONS, RunFolder
from dfad_bench.metrics.selective import risk_curve
from dfad_bench.report.open_world.risk_table import answers
from dfad_bench.report.robustness.scores import read_robustness
from dfad_bench.report.robustness.tables import NUMBERS, about_corruptions, curves
from dfad_bench.report.run_record import protocol_of, read_predictions
from dfad_bench.report.score import faces_of, with_untrained_columns

COVERAGES = tuple(round(0.05 * step, 2) for step in range(1, 21))  # shares of faces answered, the surest first
NOT_HERE = "the folder of the run is not here"
_POINTS = 32  # of a training curve: steps are averaged to so many
_LARGEST = 64 << 20  # bytes of a trace
_MOST_CELLS = 400  # corruptions times severities of one run


@dataclass(frozen=True)
class TrainingCurve:
    """Of some steps the mean training loss up to each of them, and the validation loss where it was computed."""

    loss: Sequence[tuple[int, float]]
    validation: Sequence[tuple[int, float]]


@dataclass(frozen=True)
class CorruptionCurve:
    """A headline number over the severities of one corruption; `settings` tell panels apart: what decides its pixels.

    `values`: by column of `robustness.tables.NUMBERS` and severity, 0 being the faces as they are.
    """

    name: str
    title: str
    settings: str
    values: Mapping[str, Mapping[int, float | None]]


@dataclass(frozen=True)
class RunCurves:
    """What was found beside a record. `risk`: shares of wrong answers at `COVERAGES`, by kind of answer."""

    training: TrainingCurve | None = None
    no_training: str = NOT_HERE
    risk: Mapping[str, Sequence[float]] = field(default_factory=dict)
    robustness: Sequence[CorruptionCurve] = ()
    problems: Sequence[str] = ()


def read_curves(folder: Path, record: ResultRecord) -> RunCurves:
    """The curves of one record; nothing that is wrong with a file stops a site.

    Args:
        folder: of the record, a run or an evaluation of one.
        record: what stands in it.
    """
    training, why = _training(folder, record)
    risk: Mapping[str, Sequence[float]] = {}
    problems = []
    try:
        risk = _risk(folder, record)
    except DFADError as error:
        problems.append(f"no risk over coverage: {error}")
    robustness, refused = _robustness(folder, record)
    return RunCurves(training, why, risk, robustness, (*problems, *refused))


def read_trace(path: Path) -> TrainingCurve:
    """The curve of a `trace.csv`, steps averaged to at most `_POINTS`.

    Raises:
        ValueError: no trace.
    """
    loss: list[tuple[int, float]] = []
    validation: list[tuple[int, float]] = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, strict=True):
            step = int(row["step"])
            for values, text in ((loss, row["loss"]), (validation, row.get("validation"))):
                if text and math.isfinite(value := float(text)):
                    values.append((step, value))
    return TrainingCurve(_block_means(loss), _block_means(validation))


def _block_means(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Means of blocks of neighbours, each at the last step of its block.

    >>> _block_means([(1, 4.0), (2, 2.0)])
    [(1, 4.0), (2, 2.0)]
    """
    ends = np.unique(np.linspace(0, len(points), min(_POINTS, len(points)) + 1).round().astype(int))
    blocks = [points[low:high] for low, high in zip(ends, ends[1:], strict=False)]
    return [(block[-1][0], fmean(value for _, value in block)) for block in blocks]


def _training(folder: Path, record: ResultRecord) -> tuple[TrainingCurve | None, str]:
    """The curve of the run, or why there is none."""
    path = RunFolder(folder).trace
    if record.imported is not None:
        return None, "the predictions were imported, so that nothing is known of training"
    if record.model.task == "trivial" or not record.run.steps:
        return None, "nothing was trained"
    if folder.parent.name == EVALUATIONS:
        path = RunFolder(folder.parent.parent).trace
    if not path.is_file() or path.stat().st_size > _LARGEST:
        return None, NOT_HERE if not path.is_file() else f"{path.name} is larger than {_LARGEST >> 20} MiB"
    try:
        if path.parent == folder and (stated := record.run.files.get(path.name)):
            check_hash(path, stated)
        found = read_trace(path)
    except (DFADError, OSError, csv.Error, ValueError, LookupError, TypeError):
        return None, f"{path.name} was changed after the record was made, or is damaged"
    return (found, "") if found.loss else (None, f"{path.name} holds no losses")


def _risk(folder: Path, record: ResultRecord) -> dict[str, Sequence[float]]:
    """Shares of wrong answers at `COVERAGES`, of each expert that was trained and of both."""
    if not (folder / record.predictions.path).is_file():
        return {}
    protocol = protocol_of({"protocol": {"config": record.protocol.config}}, "record")
    frame = read_predictions(folder, {"path": record.predictions.path, "sha256": record.predictions.sha256})
    faces = faces_of(with_untrained_columns(frame, protocol, record.model.heads), protocol, 0)
    found: dict[str, Sequence[float]] = {}
    for name, (rows, confidence, losses) in answers(faces).items():
        if record.model.heads in ("both", name) and rows.any():
            risks = risk_curve(confidence[rows], losses[rows])
            places = [math.ceil(share * len(risks)) - 1 for share in COVERAGES]
            found[name] = [float(risks[place]) for place in places]
    return found


def _robustness(folder: Path, record: ResultRecord) -> tuple[list[CorruptionCurve], list[str]]:
    """Curves of all robustness records of these faces and weights beside a record, and what was left out and why."""
    run = folder.parent.parent if folder.parent.name == EVALUATIONS else folder
    found: dict[tuple[str, str], CorruptionCurve] = {}
    problems = []
    for path in RunFolder(run).robustness_records():
        try:
            theirs, settings = read_robustness(path.parent)
        except (DFADError, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
            problems.append(f"no robustness of {path.parent.name}: {str(error) or type(error).__name__}")
            continue
        if _is_of(theirs, record) and theirs.status == "complete" and len(theirs.metrics):
            for curve in _of_corruptions(theirs, settings):
                found.setdefault((curve.name, curve.settings), curve)
    return list(found.values()), problems


def _is_of(robustness: ResultRecord, record: ResultRecord) -> bool:
    """Whether corrupted faces are those of a record, seen by the same weights under the same rules."""
    tests = [one.manifest.splits.get("test") for one in (robustness, record)]
    return (
        robustness.protocol.sha256 == record.protocol.sha256
        and robustness.model.checkpoint_sha256 == record.model.checkpoint_sha256
        and tests[0] is not None
        and tests[1] is not None
        and tests[0].content_sha256 == tests[1].content_sha256
    )


def _of_corruptions(record: ResultRecord, settings: Mapping[str, Any]) -> list[CorruptionCurve]:
    about = about_corruptions([settings])
    by_name: dict[str, dict[str, Mapping[int, float | None]]] = {}
    for key in NUMBERS:
        for name, values in curves(record, key).items():
            by_name.setdefault(name, {})[key] = _by_severity(values)
    made = []
    for name, numbers in list(by_name.items())[:_MOST_CELLS]:
        strengths = ", ".join(f"{level}: {value:g}" for level, value in sorted(about[name]["values"].items()))
        decides = f"{strengths}; at {settings['corrupt_at']} pixels, seed {settings['seed']}"
        made.append(CorruptionCurve(name, str(about[name]["title"]), decides, numbers))
    return made


def _by_severity(values: Sequence[MetricValue]) -> dict[int, float | None]:
    return {int(value.params["severity"]): value.value for value in values}
