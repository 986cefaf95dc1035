"""Trained models on other faces, on corrupted faces, and their numbers computed again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dfad_bench.api.manifests import open_manifests
from dfad_bench.api.runs import Run, folder_of, record_of, record_table, several
from dfad_bench.api.views import provide_views, views_of_run
from dfad_bench.core.files import write_text
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.record import ResultRecord
from dfad_bench.core.run_folder import RobustnessFolder, RunFolder
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine.config import RunConfig, read_config
from dfad_bench.engine.evaluate import run_evaluation
from dfad_bench.engine.robustness import RobustnessResult, run_robustness
from dfad_bench.engine.settings import EvaluateSettings, RobustnessSettings
from dfad_bench.report.figures.robustness import save_robustness_figures
from dfad_bench.report.robustness.scores import (
    build_robustness,
    find_robustness,
    read_robustness,
    rescore_robustness,
)
from dfad_bench.report.robustness.tables import robustness_grid, robustness_table
from dfad_bench.report.run_record import build_record
from dfad_bench.report.run_record import rescore as rescore_run
from dfad_bench.report.table import Table


@dataclass(frozen=True)
class Evaluation:
    """One evaluation: its folder, its record, the record beside the constant models, and warnings."""

    folder: Path
    record: ResultRecord = field(repr=False)
    table: Table = field(repr=False)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Robustness:
    """Evaluations on corrupted faces: a result a run, a table of headline numbers, a grid of all, the files written."""

    results: tuple[RobustnessResult, ...]
    table: Table = field(repr=False)
    grid: Table = field(repr=False)
    out: Path
    figures: tuple[Path, ...]


def evaluate(
    run: Run,
    manifests: Sequence[Path | str | Manifest],
    settings: EvaluateSettings = EvaluateSettings(),  # noqa: B008  frozen
    *,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> Evaluation:
    """Predict other faces, or the same faces under another protocol, with a finished run; score them.

    Test faces the run was trained on are left out. Predictions and record lie under `evaluations/` in the run folder.

    Args:
        run: its folder, or the loaded run.
        manifests: folders, or open manifests: one a dataset of the protocol.
        settings: protocol, device, whether groups may be missing. Views are made as for training by default.
        progress: shows decoding and predicting.

    Raises:
        ConfigError: not a finished run, or views made in another way than for training.
        ProtocolError: a protocol of other seen generators, or too few test faces.
        IntegrityError: the model's file is not what was written.
    """
    folder, config, opened = _opened(run, manifests)
    views = views_of_run(config.views, settings.views)
    provided = provide_views(opened, views, settings.device, progress)
    result = run_evaluation(folder, opened, settings, views=provided, progress=progress)
    record, path = build_record(result.out), RunFolder(result.out).record
    return Evaluation(result.out, record, record_table(record, str(path)), result.warnings)


def robustness(
    runs: Sequence[Run] | Run,
    manifests: Sequence[Path | str | Manifest],
    settings: RobustnessSettings = RobustnessSettings(),  # noqa: B008  frozen
    *,
    labels: Sequence[str] | None = None,
    out: Path | str | None = None,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> Robustness:
    """Predict the test faces of finished runs under corruptions; score, tabulate and draw them.

    A killed evaluation goes on with the cells that are not finished.

    Args:
        runs: folders or loaded runs; one, or several.
        manifests: folders, or open manifests: one a dataset of the protocol.
        settings: corruptions and how they are applied.
        labels: what the runs are called; by default as their folders.
        out: folder for table, grid and curves; by default that of the first run's evaluation.
        progress: shows decoding and predicting.

    Raises:
        ConfigError: not a finished run, no such severity, or crops of several sizes and no `corrupt_at`.
        UnknownNameError: no such corruption.
        ProtocolError: a protocol of other seen generators, or too few test faces.
    """
    chosen = several(runs)
    results = tuple(_robustness(run, manifests, settings, progress) for run in chosen)
    for result in results:
        build_robustness(result.out)
    named = labels or [folder_of(run).resolve().name for run in chosen]
    evaluations = [(name, *read_robustness(result.out)) for name, result in zip(named, results, strict=True)]
    table, grid = robustness_table(evaluations), robustness_grid(evaluations)
    place = RobustnessFolder(Path(out) if out is not None else results[0].out)
    figures = save_robustness_figures(evaluations, place.path)
    write_text(place.grid, grid.render("csv"))
    write_text(place.table, table.render("markdown"))
    return Robustness(results, table, grid, place.path, tuple(figures))


def rescore(run: Run) -> tuple[Evaluation, list[Path]]:
    """Compute the numbers of a run and of its robustness evaluations again; they are marked as recomputed.

    Returns:
        The run, and the folders of its robustness evaluations.

    Raises:
        ConfigError: not a finished run.
        IntegrityError: a number differs from the record's, or predictions were changed.
    """
    folder = folder_of(run)
    read_config(folder)
    rescore_run(folder)
    corrupted = find_robustness(folder)
    for path in corrupted:
        rescore_robustness(path)
    record = record_of(folder)
    return Evaluation(folder, record, record_table(record, str(RunFolder(folder).record))), corrupted


def _robustness(
    run: Run, manifests: Sequence[Any], settings: RobustnessSettings, progress: Progress
) -> RobustnessResult:
    folder, config, opened = _opened(run, manifests)
    views = views_of_run(config.views, settings.views)
    return run_robustness(
        folder,
        opened,
        settings,
        views=provide_views(opened, views, settings.device, progress),
        progress=progress,
    )


def _opened(run: Run, manifests: Sequence[Path | str | Manifest]) -> tuple[Path, RunConfig, list[Manifest]]:
    folder = folder_of(run)
    return folder, read_config(folder), open_manifests(manifests)
