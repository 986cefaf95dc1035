"""Where to call a face unseen: the papers' threshold beside those that validation faces give, with what both do.

A threshold of validation keeps a promised share of seen faces of new sources (`metrics.conformal`); how many unseen
faces it rejects is not promised, and stands beside it. The 0.9 rule promises nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

import numpy as np

from dfad_bench.metrics.conformal import coverage_range, least_calibration_sources, strangest_kept
from dfad_bench.metrics.unseen import UNSEEN_SCORES
from dfad_bench.report.open_world.corrupted import corrupted_faces
from dfad_bench.report.open_world.run_arrays import RunArrays
from dfad_bench.report.open_world.shares import Share, mean_of_groups, share_of_sources
from dfad_bench.report.scored_faces import Faces
from dfad_bench.report.table import Column, Table

LEVELS = (0.9, 0.95)
PAPERS_RULE = "the papers'"
ABOUT = (
    "The papers' rule promises nothing. The others keep the promised share of seen faces: of a face of a new source"
    " drawn like those of validation, on average over calibrations; not in each class, not for one calibration, and"
    " nothing of unseen faces.",
    "Seen kept and right count each source once; unseen rejected is the mean over unseen groups, as in records,"
    " without interval where one of them has a single source. Range:"
    " between which shares nine of ten calibrations of so many sources keep, of one face a source.",
)
CHOSE = "Validation faces also chose the checkpoint of {}, so its promise is somewhat too good."
FIXED = "The checkpoint of {} was not chosen on validation faces."
CORRUPTED = "Corrupted: means over {} cells of corrupted faces ({}), by scores of probabilities alone."
SHORT = "not estimable: {} validation sources, {} are needed"


@dataclass(frozen=True)
class OperatingPoint:
    """One threshold of one score, and what it does on test faces: those at or above it are kept.

    `level` is what was promised, None for the papers' rule; `reason`: why there is no threshold.
    """

    score: str
    level: float | None
    threshold: float | None
    sources: int | None = None
    reason: str = ""


def operating_points(run: RunArrays, levels: Sequence[float] = LEVELS) -> Iterator[OperatingPoint]:
    """The papers' threshold, and those of every score by validation faces.

    Raises:
        ConfigError: the run kept no predictions of validation faces.
    """
    yield OperatingPoint("msp", None, run.protocol.attribution.headline)
    validation = run.validation
    count = len(set(validation.source))
    for level in (level for level in levels if count < least_calibration_sources(level)):
        yield OperatingPoint("any", level, None, count, SHORT.format(count, least_calibration_sources(level)))
    for name in UNSEEN_SCORES:
        scored = run.score_part(name, "validation")
        for level in (level for level in levels if count >= least_calibration_sources(level)):
            if scored.values is None:
                yield OperatingPoint(name, level, None, None, f"not defined: {scored.reason}")
                continue
            strangest = strangest_kept(-scored.values, validation.source, level)
            yield OperatingPoint(name, level, -strangest if isfinite(strangest) else -inf, count)


def kept_faces(point: OperatingPoint, scores: np.ndarray) -> np.ndarray:
    """Which faces (n,) a threshold calls seen; the papers' rule rejects those strictly below it, as the others do."""
    assert point.threshold is not None
    kept: np.ndarray = scores >= point.threshold
    return kept


def acceptance_shares(faces: Faces, kept: np.ndarray) -> dict[str, Share]:
    """What keeping these faces (n,) means: seen ones kept, and kept and named rightly; unseen ones rejected."""
    seen = faces.of(faces.seen)
    return {
        "seen_kept": share_of_sources(kept[seen], faces.source[seen]),
        "seen_right": share_of_sources((kept & faces.named_rightly)[seen], faces.source[seen]),
        "unseen_rejected": mean_of_groups(faces, ~kept, faces.averaged),
    }


def operating_table(runs: Mapping[str, RunArrays], levels: Sequence[float] = LEVELS) -> Table:
    """Operating points of several runs, by what they are called."""
    rows: list[dict[str, Any]] = []
    notes, cells = list(ABOUT), 0
    for label, run in runs.items():
        scores = {name: run.score_part(name).values for name in UNSEEN_SCORES}
        corrupted = corrupted_faces(run)
        cells = max(cells, len(corrupted))
        for point in operating_points(run, levels):
            row: dict[str, Any] = {"model": label, "score": point.score, "level": point.level}
            row |= {"rule": PAPERS_RULE if point.level is None else f"keeps {point.level:.0%} of seen"}
            row |= {"calibration_sources": point.sources, "remark": point.reason}
            values = scores.get(point.score)
            if point.threshold is not None and values is not None:
                row |= {"threshold": point.threshold if isfinite(point.threshold) else None}
                row |= _test_cells(run, point, values) | _corrupted_cells(point, corrupted)
            rows.append(row)
        chose = run.own_run[1].run.model_selection != "last"
        notes.append((CHOSE if chose else FIXED).format(label))
    if cells:
        notes.append(CORRUPTED.format(cells, "all corruptions and severities that were predicted"))
    return Table("Operating points", _columns(corrupted=bool(cells)), rows, tuple(notes), names=3)


def _columns(*, corrupted: bool) -> tuple[Column, ...]:
    columns = [Column("model", "Model", "text"), Column("score", "Score", "text"), Column("rule", "Rule", "text")]
    columns += [Column("threshold", "Threshold", "number", 4), Column("calibration_sources", "Cal. sources", "count")]
    columns += [Column("range_low", "Range from", "percent", 0), Column("range_high", "to", "percent", 0)]
    for key, title in (("seen_kept", "Seen kept"), ("seen_right", "and right"), ("unseen_rejected", "Unseen rejected")):
        columns += [Column(key, title, "percent"), Column(f"{key}_low", "from", "percent")]
        columns.append(Column(f"{key}_high", "to", "percent"))
    columns += [Column("worst_class", "Worst class", "text"), Column("worst_kept", "kept", "percent")]
    if corrupted:
        columns += [Column("corrupted_seen_kept", "Corrupted: seen kept", "percent")]
        columns += [Column("corrupted_unseen_rejected", "unseen rejected", "percent")]
    return (*columns, Column("remark", "Remark", "text"))


def _test_cells(run: RunArrays, point: OperatingPoint, values: np.ndarray) -> dict[str, Any]:
    faces, kept = run.test, kept_faces(point, values)
    cells: dict[str, Any] = {}
    for key, share in acceptance_shares(faces, kept).items():
        cells |= share.cells(key)
    if faces.seen:
        by_class = {key: float(kept[faces.of([key])].mean()) for key in faces.seen}
        worst = min(by_class, key=lambda key: by_class[key])
        cells |= {"worst_class": worst, "worst_kept": by_class[worst]}
    if point.level is not None and point.sources is not None:
        low, high = coverage_range(point.sources, point.level)
        cells |= {"range_low": low, "range_high": high}
    return cells


def _corrupted_cells(point: OperatingPoint, corrupted: Sequence[Faces]) -> dict[str, float | None]:
    """Means over cells of corrupted faces; of scores that need more than probabilities, nothing."""
    score = UNSEEN_SCORES[point.score]
    if not corrupted or score.missing_arrays({"probs"}):
        return {}
    found: dict[str, list[float]] = {"seen_kept": [], "unseen_rejected": []}
    for faces in corrupted:
        kept = kept_faces(point, score.compute({"probs": faces.probs}))
        seen = faces.of(faces.seen)
        values = {
            "seen_kept": share_of_sources(kept[seen], faces.source[seen]).value,
            "unseen_rejected": float(np.mean([(~kept)[faces.of([key])].mean() for key in faces.averaged]))
            if faces.averaged
            else None,
        }
        for key, value in values.items():
            found[key] += [] if value is None else [value]
    return {f"corrupted_{key}": float(np.mean(values)) if values else None for key, values in found.items()}
