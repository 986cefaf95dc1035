"""Where to call a face forged: 0.5 beside thresholds at 1 % and 5 % false alarms on real validation faces."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import numpy as np

from dfad_bench.core.labels import FAKE, REAL
from dfad_bench.metrics.conformal import least_calibration_sources, strangest_kept
from dfad_bench.report.open_world.operating_points import CHOSE, FIXED
from dfad_bench.report.open_world.run_arrays import RunArrays
from dfad_bench.report.open_world.shares import mean_of_groups, share_of_sources
from dfad_bench.report.scored_faces import Faces
from dfad_bench.report.table import Column, Table

ALARMS = (0.05, 0.01)
PAPERS = 0.5
PAPERS_RULE = "0.5, the papers'"
_NUMBERS = {
    "alarms_seen": "False alarms, seen reals",
    "alarms_unseen": "other reals",
    "found_seen": "Found, seen forged",
    "found_unseen": "unseen forged",
}
ABOUT = (
    "0.5 is the papers' threshold and promises nothing. The others promise that at most the stated share of real faces"
    " of new sources, drawn like the real ones of validation, are called forged; real faces of another set are not"
    " drawn like those, and stand beside them.",
    "False alarms count each source once; forged faces found are means over groups.",
)
SHORT = "not estimable: {} real validation sources, {} are needed"


def alarm_table(runs: Mapping[str, RunArrays]) -> Table:
    """Detection thresholds of several runs, by what they are called.

    Raises:
        ConfigError: a run kept no predictions of validation faces.
    """
    rows: list[dict[str, Any]] = []
    notes = list(ABOUT)
    for label, run in runs.items():
        for rule, threshold, sources, reason in alarm_points(run):
            row: dict[str, Any] = {"model": label, "rule": rule, "calibration_sources": sources, "remark": reason}
            if threshold is not None:
                row |= {"threshold": threshold, **_test_cells(run.test, run.test.p_fake > threshold)}
            rows.append(row)
        chose = run.own_run[1].run.model_selection != "last"
        notes.append((CHOSE if chose else FIXED).format(label))
    columns = [Column("model", "Model", "text"), Column("rule", "Rule", "text")]
    columns += [
        Column("threshold", "Forged above", "number", 4),
        Column("calibration_sources", "Cal. sources", "count"),
    ]
    for key, title in _NUMBERS.items():
        columns += [Column(key, title, "percent"), Column(f"{key}_low", "from", "percent")]
        columns.append(Column(f"{key}_high", "to", "percent"))
    return Table(
        "Detection thresholds", (*columns, Column("remark", "Remark", "text")), rows, tuple(notes), names=2
    )  # fmt: skip


def alarm_points(run: RunArrays) -> list[tuple[str, float | None, int | None, str]]:
    """Rule, threshold, its calibration sources, and why there is none: the papers', then those of `ALARMS`.

    Raises:
        ConfigError: the run kept no predictions of validation faces.
    """
    found: list[tuple[str, float | None, int | None, str]] = [(PAPERS_RULE, PAPERS, None, "")]
    validation = run.validation
    real = validation.truth == REAL
    count = len(set(validation.source[real]))
    trained = run.record.model.heads != "attribution"
    for alarms in ALARMS:
        rule, least = f"at most {alarms:.0%} alarms", least_calibration_sources(1 - alarms)
        if not trained:
            found.append((rule, None, None, "not defined: the detection expert was not trained"))
        elif count < least:
            found.append((rule, None, count, SHORT.format(count, least)))
        else:
            kept = strangest_kept(validation.p_fake[real], validation.source[real], 1 - alarms)
            found.append((rule, kept if isfinite(kept) else None, count, ""))
    return found


def _test_cells(faces: Faces, called: np.ndarray) -> dict[str, Any]:
    """What calling these faces (n,) forged means on test faces."""
    cells: dict[str, Any] = {}
    for name, keys in (("seen", faces.seen), ("unseen", faces.unseen)):
        reals = [key for key in keys if faces.detection_label_of[key] == REAL]
        forged = [key for key in keys if faces.detection_label_of[key] == FAKE]
        rows = faces.of(reals)
        cells |= share_of_sources(called[rows], faces.source[rows]).cells(f"alarms_{name}")
        cells |= mean_of_groups(faces, called, forged).cells(f"found_{name}")
    return cells
