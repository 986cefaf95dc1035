"""Trained models on other faces, on corrupted faces, and their numbers computed again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dfad_bench.api.manifests import open_manifests
from dfad_bench.api.runs import Run, folder_of, list_of_runs, record_of, record_table, runs_of
from dfad_bench.api.seeds import write_seeds
from dfad_bench.api.views import provide_views, views_of_run
from dfad_bench.core.files import write_text
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.record import ResultRecord, read_record
from dfad_bench.core.run_folder import RobustnessFolder, RunFolder, SeedsFolder
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine.config import read_config
from dfad_bench.engine.evaluate import run_evaluation
from dfad_bench.engine.robustness import RobustnessResult, run_robustness
from dfad_bench.engine.settings import EvaluateSettings, RobustnessSettings
from dfad_bench.report.aggregate import check_seeds, seeds_table
from dfad_bench.report.figures.robustness import save_robustness_figures
from dfad_bench.report.labels import mean_label, run_labels
from dfad_bench.report.robustness.scores import (
    build_robustness,
    find_robustness,
    read_robustness,
    rescore_robustness,
)
from dfad_bench.report.robustness.tables import robustness_grid, robustness_table
from dfad_bench.report.run_record import build_record
from dfad_bench.report.run_record import rescore as rescore_run
from dfad_bench.report.seed_tables import mean_metrics
from dfad_bench.report.table import Table


@dataclass(frozen=True)
class Evaluation:
    """One evaluation: its folder, its record, the record beside the constant models, and warnings.

    Of runs of several seeds, `seeds` has the evaluation of each, `table` their mean and spread, and `record` is that of
    the first.
    """

    folder: Path
    record: ResultRecord = field(repr=False)
    table: Table = field(repr=False)
    warnings: tuple[str, ...] = ()
    seeds: tuple[Evaluation, ...] = field(default=(), repr=False)

    @property
    def full_table(self) -> Table | None:
        """Mean and spread over seeds of every number; None for one run."""
        return seeds_table([one.record for one in self.seeds], every=True) if self.seeds else None


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
        run: its folder, the folder of runs of several seeds, or the loaded run.
        manifests: folders, or open manifests: one a dataset of the protocol.
        settings: protocol, device, whether groups may be missing. Views are made as for training by default.
        progress: shows decoding and predicting.

    Raises:
        ConfigError: not a finished run, or views made in another way than for training.
        ProtocolError: a protocol of other seen generators, or too few test faces.
        IntegrityError: the model's file is not what was written.
    """
    folders, opened = runs_of(run), open_manifests(manifests)
    found = [_evaluate(folder, opened, settings, progress) for folder in folders]
    if folders == [folder_of(run)]:
        return found[0]
    return _of_seeds(SeedsFolder(folder_of(run)).evaluation(found[0].folder.name), found)


def _evaluate(folder: Path, opened: Sequence[Manifest], settings: EvaluateSettings, progress: Progress) -> Evaluation:
    config = read_config(folder)
    views = views_of_run(config.views, settings.views)
    provided = provide_views(opened, views, settings.device, progress)
    result = run_evaluation(folder, opened, settings, views=provided, progress=progress)
    record, path = build_record(result.out), RunFolder(result.out).record
    return Evaluation(result.out, record, record_table(record, path), result.warnings)


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
        runs: folders or loaded runs; one, or several. Of a folder of several seeds each run, and their mean.
        manifests: folders, or open manifests: one a dataset of the protocol.
        settings: corruptions and how they are applied.
        labels: what the runs are called, one a run; by default as their models, with the seed where needed.
        out: folder for table, grid and curves; by default that of the first run's evaluation, or of several seeds one
            of the same name in their folder.
        progress: shows decoding and predicting.

    Raises:
        ConfigError: not a finished run, no such severity, or crops of several sizes and no `corrupt_at`.
        UnknownNameError: no such corruption.
        ProtocolError: a protocol of other seen generators, or too few test faces.
    """
    chosen, opened = [runs_of(run) for run in list_of_runs(runs)], open_manifests(manifests)
    folders = [folder for seeds in chosen for folder in seeds]
    results = tuple(_robustness(folder, opened, settings, progress) for folder in folders)
    for result in results:
        build_robustness(result.out)
    made = [read_robustness(result.out) for result in results]
    named = labels or run_labels([record for record, _ in made], folders)
    evaluations = [(name, *about) for name, about in zip(named, made, strict=True)]
    evaluations += _means(chosen, made, named)
    table, grid = robustness_table(evaluations), robustness_grid(evaluations)
    place = RobustnessFolder(
        Path(out) if out is not None else _curves_folder(list_of_runs(runs), folders, results[0].out)
    )
    figures = save_robustness_figures(evaluations, place.path)
    write_text(place.grid, grid.render("csv"))
    write_text(place.table, table.render("markdown"))
    return Robustness(results, table, grid, place.path, tuple(figures))


def rescore(run: Run) -> tuple[Evaluation, list[Path]]:
    """Compute the numbers of a run and of its robustness evaluations again; they are marked as recomputed.

    Of a folder of several seeds, those of every run and their mean.

    Returns:
        The run, and the folders of its robustness evaluations.

    Raises:
        ConfigError: not a finished run.
        IntegrityError: a number differs from the record's, or predictions were changed.
    """
    folders = runs_of(run)
    found = [_rescore(folder) for folder in folders]
    if folders == [folder_of(run)]:
        return found[0]
    return _of_seeds(SeedsFolder(folder_of(run)), [one for one, _ in found]), [
        path for _, some in found for path in some
    ]


def _rescore(folder: Path) -> tuple[Evaluation, list[Path]]:
    path = RunFolder(folder).record
    if not path.is_file() or read_record(path, ranges=False).imported is None:  # an imported run has no settings
        read_config(folder)
    rescore_run(folder)
    corrupted = find_robustness(folder)
    for path in corrupted:
        rescore_robustness(path)
    record = record_of(folder)
    return Evaluation(folder, record, record_table(record, RunFolder(folder).record)), corrupted


def _of_seeds(place: SeedsFolder, found: Sequence[Evaluation]) -> Evaluation:
    """The evaluations of several seeds as one; writes the mean of every number."""
    records = [one.record for one in found]
    write_seeds(place, records)
    warnings = tuple(dict.fromkeys(warning for one in found for warning in one.warnings))
    return Evaluation(place.path, records[0], seeds_table(records), warnings, tuple(found))


def _means(
    chosen: Sequence[Sequence[Path]],
    made: Sequence[tuple[ResultRecord, dict[str, Any]]],
    used_labels: Sequence[str],
) -> list[tuple[str, ResultRecord, dict[str, Any]]]:
    """The mean over seeds of each folder of several, to stand beside them in tables and figures."""
    means, labels, start = [], list(used_labels), 0
    for seeds in chosen:
        records, settings = [record for record, _ in made[start : start + len(seeds)]], made[start][1]
        start += len(seeds)
        if len(seeds) > 1:
            check_seeds(records)
            labels.append(mean_label(records, labels))
            means.append((labels[-1], replace(records[0], metrics=mean_metrics(records)), settings))
    return means


def _curves_folder(runs: Sequence[Run], folders: Sequence[Path], first: Path) -> Path:
    """Where the curves lie by default: beside the first evaluation, or in the folder of several seeds."""
    folder = folder_of(runs[0])
    return first if folders[0] == folder else folder / first.relative_to(folders[0])


def _robustness(
    folder: Path, opened: Sequence[Manifest], settings: RobustnessSettings, progress: Progress
) -> RobustnessResult:
    views = views_of_run(read_config(folder).views, settings.views)
    return run_robustness(
        folder,
        opened,
        settings,
        views=provide_views(opened, views, settings.device, progress),
        progress=progress,
    )
