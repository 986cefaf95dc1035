"""Does a run's result survive another margin, size or quality of the test faces?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dfad_bench.api.manifests import open_manifests
from dfad_bench.api.runs import Run, runs_of
from dfad_bench.api.views import provide_views, views_of_run
from dfad_bench.core.errors import ConfigError
from dfad_bench.core.progress import NoProgress, Progress
from dfad_bench.core.run_facts import read_facts
from dfad_bench.core.run_folder import RobustnessFolder, RunFolder
from dfad_bench.data.corruptions.spec import corruptions
from dfad_bench.data.manifest import Manifest
from dfad_bench.engine.config import read_config
from dfad_bench.engine.crop_sets import CropSet, crop_sets
from dfad_bench.engine.evaluate import run_evaluation
from dfad_bench.engine.load import trained_protocol
from dfad_bench.engine.robustness import planned, run_robustness
from dfad_bench.engine.settings import EvaluateSettings, RobustnessSettings
from dfad_bench.report.robustness.scores import build_robustness
from dfad_bench.report.run_record import build_record
from dfad_bench.report.sensitivity import Kind
from dfad_bench.report.sensitivity_record import SensitivityRecord, build_sensitivity
from dfad_bench.report.table import Table

QUALITY = RobustnessSettings(corruptions=("jpeg", "pixelation"), severities=(1, 3, 5))


@dataclass(frozen=True)
class SensitivityResult:
    """One run under several conditions: the file of the record, the record, its table, and warnings."""

    path: Path
    record: SensitivityRecord = field(repr=False)
    table: Table = field(repr=False)
    warnings: tuple[str, ...] = ()


def sensitivity(
    run: Run,
    manifests: Sequence[Path | str | Manifest],
    settings: RobustnessSettings = QUALITY,
    *,
    progress: Progress = NoProgress(),  # noqa: B008  stateless
) -> tuple[SensitivityResult, ...]:
    """Test a finished run on its test faces cropped by other profiles, and corrupted; compare on the same faces.

    For each profile but the one the run learnt from the protocol is the run's with that profile under `crops`. All
    evaluations are stored in the run, like others; those that are there are not made again.

    Args:
        run: its folder, the folder of runs of several seeds, or the loaded run.
        manifests: of the profile the run learnt from, and of any number of others: one a dataset and profile.
        settings: corruptions and severities of the quality (none: only crops are compared), device, views. The
            protocol is the run's own.
        progress: shows decoding and predicting.

    Returns:
        Of each run its record, which `verify_record` computes again, and the table that is printed.

    Raises:
        ConfigError: not a finished run, no manifests of the profile it learnt from, or nothing to compare with.
        ProtocolError: a profile's manifests lack groups of the protocol.
    """
    if settings.protocol is not None:
        raise ConfigError("sensitivity: the protocol is the one the run was trained under; leave it out")
    return tuple(_of_run(folder, open_manifests(manifests), settings, progress) for folder in runs_of(run))


def _of_run(
    folder: Path, manifests: Sequence[Manifest], settings: RobustnessSettings, progress: Progress
) -> SensitivityResult:
    config = read_config(folder)
    sets = crop_sets(manifests, read_facts(RunFolder(folder).facts), config.manifests, str(folder))
    if len(sets) < 2 and not settings.corruptions:
        raise ConfigError(f"{folder}: nothing to compare with {sets[0].name}; give manifests of other crop profiles")
    warnings: list[str] = []
    files = [_predicted(folder, one, settings, progress, warnings) for one in sets]
    conditions: list[tuple[str, Kind, Path]] = [
        (one.name, "crops", file) for one, file in zip(sets[1:], files[1:], strict=True)
    ]
    if settings.corruptions:
        conditions += _corrupted(folder, sets[0], settings, progress, warnings)
    distinct_warnings = tuple(dict.fromkeys(warnings))
    path, record = build_sensitivity(folder, (sets[0].name, files[0]), conditions, warnings=distinct_warnings)
    return SensitivityResult(path, record, record.table, distinct_warnings)


def _predicted(
    folder: Path, one: CropSet, settings: RobustnessSettings, progress: Progress, warnings: list[str]
) -> Path:
    """The predictions of the test faces of one crop profile, scored beside; made unless they are there."""
    asked = EvaluateSettings(
        protocol=one.protocol(trained_protocol(RunFolder(folder))),
        device=settings.device,
        views=views_of_run(read_config(folder).views, settings.views),
        allow_partial=settings.allow_partial,
    )
    views = provide_views(one.manifests, asked.views, settings.device, progress)
    result = run_evaluation(folder, one.manifests, asked, views=views, predict_again=False, progress=progress)
    files = RunFolder(result.out)
    if result.fresh or not files.record.is_file():
        build_record(result.out)
    warnings += [f"{one.name}: {warning}" for warning in result.warnings]
    return files.predictions


def _corrupted(
    folder: Path, learnt: CropSet, settings: RobustnessSettings, progress: Progress, warnings: list[str]
) -> list[tuple[str, Kind, Path]]:
    """The predictions of each corruption and severity that is asked for."""
    asked = replace(settings, views=views_of_run(read_config(folder).views, settings.views))
    views = provide_views(learnt.manifests, asked.views, settings.device, progress)
    result = run_robustness(folder, learnt.manifests, asked, views=views, progress=progress)
    build_robustness(result.out)
    warnings += result.warnings
    known = corruptions(asked.corruptions_file)
    chosen = planned(trained_protocol(RunFolder(folder)), asked.corruptions, asked.severities, known)
    out = RobustnessFolder(result.out)
    return [
        (f"{row.name} {level} ({row.value(level):g})", "quality", out.cell(row.name, level))
        for row, levels in chosen
        for level in levels
    ]
