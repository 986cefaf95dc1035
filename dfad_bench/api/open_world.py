"""Tables of the open world: of one run or several, from predictions and the outputs kept beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from dfad_bench.api.runs import Run, list_of_runs, runs_of
from dfad_bench.core.bounds import RESAMPLES
from dfad_bench.core.errors import ConfigError, quoted
from dfad_bench.report.labels import run_labels
from dfad_bench.report.open_world.alarm_points import alarm_table
from dfad_bench.report.open_world.attribution_sets import face_sets_table, sets_table
from dfad_bench.report.open_world.calibration_table import calibration_table, reliability_table
from dfad_bench.report.open_world.enrolment_table import enrolment_table
from dfad_bench.report.open_world.kinship_table import kinship_table
from dfad_bench.report.open_world.months_table import months_table
from dfad_bench.report.open_world.namer import CLASSIFIERS, Classifier
from dfad_bench.report.open_world.operating_points import operating_table
from dfad_bench.report.open_world.retrieval_table import retrieval_table
from dfad_bench.report.open_world.risk_table import risk_table
from dfad_bench.report.open_world.run_arrays import RunArrays
from dfad_bench.report.open_world.score_table import open_set_table
from dfad_bench.report.table import Table

OpenWorldTable = Literal[
    "open-set", "operating-points", "alarms", "sets", "face-sets", "risk", "calibration", "reliability", "kin",
    "retrieval", "months",
]  # fmt: skip
_TABLES: Mapping[str, Callable[[Mapping[str, RunArrays]], Table]] = {
    "open-set": open_set_table,
    "operating-points": operating_table,
    "alarms": alarm_table,
    "sets": sets_table,
    "face-sets": face_sets_table,
    "risk": risk_table,
    "calibration": calibration_table,
    "reliability": reliability_table,
    "kin": kinship_table,
    "retrieval": retrieval_table,
    "months": months_table,
}


def enrolment(
    runs: Sequence[Run] | Run,
    shots: Sequence[int] = (1, 2, 5, 10),
    *,
    classifiers: Sequence[Classifier] = CLASSIFIERS,
    resamples: int = 1000,
) -> Table:
    """How well unseen generators are named once a few of their faces are enrolled, and what that costs seen ones.

    Args:
        runs: as of `open_world`.
        shots: numbers of enrolled faces; 0 is always shown.
        classifiers: "prototype": by the nearest mean; "knn": by most of the nearest faces.
        resamples: of the bootstrap of intervals; 0 for none.

    Raises:
        ConfigError: not finished runs, runs that kept no embeddings, or impossible numbers.
        IntegrityError: files that were changed after they were written.
    """
    return enrolment_table(_opened_runs(runs, resamples), shots, classifiers)


def open_world(runs: Sequence[Run] | Run, table: OpenWorldTable = "open-set", *, resamples: int = 1000) -> Table:
    """What runs do in the open world, in one table; neither faces nor models are needed.

    Args:
        runs: folders of finished runs or evaluations, folders of several seeds (each seed is a row), or loaded runs.
        table: "open-set": every score for "unseen" with AUROC, FPR at 95 % of seen faces kept, and OSCR;
            "operating-points": thresholds for "unseen" from validation faces beside the papers'; "alarms": those of
            detection at 5 % and 1 % false alarms beside 0.5; "sets": sets of generators that hold the true one with a
            stated chance, by group; "face-sets": the set of each test face, and its p-value of being of a seen class;
            "risk": areas under risk and coverage; "calibration", "reliability": of attribution; "kin": whether unseen
            generators are named as ones of their family and forgery type; "retrieval": in two spaces; "months":
            accuracy on each generator, by its release month.
        resamples: of the bootstrap of intervals; 0 for none.

    Raises:
        ConfigError: not finished runs, no such table, or a run without the files it needs.
        IntegrityError: files that were changed after they were written.
    """
    if table not in _TABLES:
        raise ConfigError(f"open_world: no table {quoted(table)}; one of {', '.join(_TABLES)}")
    return _TABLES[table](_opened_runs(runs, resamples))


def draw_open_world(
    runs: Sequence[Run] | Run,
    path: Path,
    shots: Sequence[int] = (),
    *,
    table: Literal["risk", "months"] = "risk",
    classifiers: Sequence[Classifier] = CLASSIFIERS,
) -> None:
    """Draw risk over coverage of several runs, accuracy by release month, or with `shots` the curve of enrolment.

    Args:
        runs: as of `open_world`.
        path: the figure, .png, .svg or .pdf.
        shots: as of `enrolment`; none: what `table` says.
        table: "risk" or "months", as of `open_world`.
        classifiers: as of `enrolment`.

    Raises:
        ConfigError: as of `open_world` and `enrolment`; no such figure.
    """
    from dfad_bench.report.figures.months import draw_months
    from dfad_bench.report.figures.open_world import draw_enrolment, draw_risk

    if table not in ("risk", "months"):
        raise ConfigError(f"draw_open_world: no figure {quoted(table)}; one of risk, months")
    if shots:
        draw_enrolment(path, enrolment(runs, shots, classifiers=classifiers).rows)
    elif table == "months":
        draw_months(path, months_table(_opened_runs(runs, 0)).rows)
    else:
        draw_risk(path, _opened_runs(runs, 0))


def _opened_runs(runs: Sequence[Run] | Run, resamples: int) -> dict[str, RunArrays]:
    """The runs by what they are called; each of several seeds by itself."""
    if not 0 <= resamples <= RESAMPLES:
        raise ConfigError(f"open_world: resamples must be 0 to {RESAMPLES:,}, got {resamples!r}")
    folders = [folder for run in list_of_runs(runs) for folder in runs_of(run)]
    opened = [RunArrays(folder, resamples) for folder in folders]
    labels = run_labels([run.record for run in opened], folders)
    return dict(zip(labels, opened, strict=True))
