"""Risk against coverage of attribution, detection and both together: is a model wrong where it is unsure?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from dfad_bench.core.record import MetricValue
from dfad_bench.metrics.detection import called_rightly
from dfad_bench.metrics.selective import augrc, aurc, best_aurc, open_aurc
from dfad_bench.report.open_world.run_arrays import UNTRAINED, RunArrays
from dfad_bench.report.scored_faces import Faces, Number
from dfad_bench.report.table import Column, Table

MIX = 0.5
DRAWS = 200  # of the bootstrap: each is a sort of all faces
ABOUT = (
    "Risk-coverage area: mean share of wrong answers among the surest faces, over all shares of faces answered; lower"
    " is better. Equal confidences count as the mean over all orders. Excess: over that of an order with all"
    " errors last.",
    "Generalised (AUGRC): wrong and answered, of all faces. Both: wrong where either is, as sure as the less sure one.",
    f"Open world: an answer names a seen generator; wrong for every unseen face. At a share of {MIX:.0%} unseen faces.",
)
Statistic = Callable[[np.ndarray], float | None]


def risk_table(runs: Mapping[str, RunArrays]) -> Table:
    """Areas under risk and coverage of several runs, by what they are called."""
    rows: list[dict[str, Any]] = []
    for label, run in runs.items():
        rows += [{"model": label, **row} for row in _rows(run)]
    columns = [Column("model", "Model", "text"), Column("answer", "Answer", "text"), Column("faces", "Faces", "text")]
    columns += [Column("n", "n", "count"), Column("error", "Wrong", "percent")]
    columns += [Column("aurc", "Area", "percent"), Column("aurc_low", "from", "percent")]
    columns += [Column("aurc_high", "to", "percent"), Column("excess", "Excess", "percent")]
    columns += [Column("augrc", "AUGRC", "percent"), Column("remark", "Remark", "text")]
    return Table("Risk against coverage", tuple(columns), rows, ABOUT, names=3)


def answers(faces: Faces) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Faces (n,) bool, confidence and loss (n,) of each kind of answer."""
    seen, known = faces.of(faces.seen), faces.of([*faces.seen, *faces.unseen]) & (faces.truth >= 0)
    wrong_name = ~faces.named_rightly
    rightly = np.zeros(len(faces.truth), dtype=bool)
    rightly[known] = called_rightly(faces.truth[known], faces.p_fake[known])
    sure = np.maximum(faces.p_fake, 1 - faces.p_fake)
    return {
        "attribution": (seen, faces.confidence, wrong_name),
        "detection": (known, sure, ~rightly),
        "both": (seen & known, np.minimum(faces.confidence, sure), wrong_name | ~rightly),
    }


def _rows(run: RunArrays) -> Iterator[dict[str, Any]]:
    faces, heads = run.test, run.record.model.heads
    for name, (rows, confidence, losses) in answers(faces).items():
        of_faces = "seen and unseen" if name == "detection" else "seen"
        about: dict[str, Any] = {"answer": name, "faces": of_faces, "n": int(rows.sum())}
        if heads not in ("both", name):
            yield {**about, "remark": "not defined: an expert was not trained"}
            continue
        sure, wrong = confidence[rows], losses[rows].astype(float)
        if not len(wrong):
            yield {**about, "remark": "not defined: no faces"}
            continue

        def area(chosen: np.ndarray, sure: np.ndarray = sure, wrong: np.ndarray = wrong) -> float | None:
            return aurc(sure[chosen], wrong[chosen])

        cells = _with_interval(run, rows, area)
        excess = (cells["aurc"] or 0.0) - best_aurc(int(wrong.sum()), len(wrong))
        about |= {"error": float(wrong.mean()), "excess": excess, "augrc": augrc(sure, wrong)}
        yield about | cells
    yield _open_row(run)


def _open_row(run: RunArrays) -> dict[str, Any]:
    """Naming in the open world, by the papers' score."""
    faces = run.test
    rows = faces.of([*faces.seen, *faces.averaged])
    seen, sure, right = faces.of(faces.seen)[rows], faces.confidence[rows], faces.named_rightly[rows]
    about = {"answer": "attribution", "faces": f"{MIX:.0%} unseen", "n": int(rows.sum())}
    if run.record.model.heads == "detection":
        return {**about, "remark": f"not defined: {UNTRAINED}"}
    if seen.all() or not seen.any():
        return {**about, "remark": "not defined: needs seen and unseen faces"}

    def area(chosen: np.ndarray) -> float | None:
        return open_aurc(sure[chosen], seen[chosen], right[chosen], MIX)

    error = MIX + (1 - MIX) * float((~right[seen]).mean())
    return {**about, "error": error, **_with_interval(run, rows, area)}


def _with_interval(run: RunArrays, rows: np.ndarray, statistic: Statistic) -> dict[str, Any]:
    """An area of some faces (n,) bool, by the numbers of chosen ones, with its interval over sources, as cells."""
    faces = run.test_faces(min(run.resamples, DRAWS))
    value = statistic(np.arange(int(rows.sum())))
    bootstrap = faces.bootstrap(rows)

    def draws() -> np.ndarray:
        found = (statistic(chosen) for chosen in bootstrap.samples())
        return np.array([np.nan if one is None else one for one in found])

    about = MetricValue("attribution", "aurc", "test", value, int(rows.sum()), False, unit="share")
    counts = {"sources": len(set(faces.source[rows]))}
    made = Number(about, draws=draws, bootstrap=lambda: bootstrap, counts=counts)
    shown = made.with_interval(faces.resamples, faces.seed)
    low, high = shown.ci95 or (None, None)
    return {"aurc": value, "aurc_low": low, "aurc_high": high, "remark": shown.ci_reason or ""}
