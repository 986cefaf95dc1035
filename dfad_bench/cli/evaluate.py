"""`dfad evaluate`: score a finished run again, predict other faces with its model, or the same faces corrupted."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_table
from dfad_bench.engine.settings import EvaluateSettings, RobustnessSettings
from dfad_bench.intake.settings import CallableSettings

if TYPE_CHECKING:
    from dfad_bench.api.evaluation import Evaluation

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FORMATS = ("rich", "markdown", "csv", "json", "latex")
_setting = partial(options.setting, RobustnessSettings)


# options that mean nothing without another one, by that one
_ONLY_WITH = {
    "corruptions": (
        "severities", "corruptions_file", "corrupt_at", "views_from", "keep_images", "workers", "out", "format_",
        "by_group", "seed",
    ),
    "function": ("images", "batch_size", "name", "model_card"),
    "manifests": (
        "protocol", "device", "precision", "force_precision", "views", "estimator", "gaze_weights", "allow_partial",
    ),
}  # fmt: skip

_OF_FUNCTIONS = (
    "function", "manifests", "protocol", "out", "images", "batch_size", "name", "model_card", "allow_partial", "quiet",
    "as_json",
)  # fmt: skip


def _refuse_unused_options(context: click.Context) -> None:
    """Refuse options that would change nothing."""
    options = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    for needed, names in _ONLY_WITH.items():
        for name in names:
            given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
            if given and not context.params[needed]:
                raise click.UsageError(f"{options[name]} needs {options[needed]}")


@click.command(
    "evaluate",
    epilog="Example: dfad evaluate --run quickstart/runs/xception --manifest quickstart/manifests/synthetic"
    " --manifest quickstart/manifests/synthetic-outdoor --manifest quickstart/manifests/synthetic-unseen"
    " --corruptions blur,jpeg --severities 1,5",
)
@click.option(
    "--run",
    "runs",
    type=options.RUN,
    multiple=True,
    help="Folder of a finished run, or of several seeds; with --corruptions several.",
)
@click.option(
    "--callable",
    "function",
    metavar="MODULE:FUNCTION",
    help="In place of --run: a function of your own from images to probabilities (with --protocol, --manifest, --out).",
)
@options.manifest(required=False)
@_setting("protocol")
@click.option("--rescore", is_flag=True, help="Compute the numbers again from the stored predictions and compare.")
@_setting("corruptions", type=str, default=None, callback=options.split_names)
@_setting("severities", type=str, callback=options.parse_levels)
@_setting("corruptions_file", type=click.Path(path_type=Path, dir_okay=False))
@_setting("corrupt_at")
@_setting("views_from", also=("--gaze-on",))
@_setting("keep_images", type=_FOLDER)
@_setting("workers")
@options.setting(CallableSettings, "images")
@options.setting(CallableSettings, "batch_size")
@options.setting(CallableSettings, "name")
@options.setting(CallableSettings, "model_card", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--out", type=_FOLDER, help="Folder for curves and grid, needed for several runs; of a function, that of its run."
)
@click.option(
    "--format", "format_", type=click.Choice(_FORMATS), default="rich", show_default=True, help="Format of the table."
)
@click.option("--by-group", is_flag=True, help="Print every number of every group instead of the headline ones.")
@_setting("seed")
@_setting("device")
@_setting("precision")
@_setting("force_precision")
@_setting("views", multiple=True)
@options.view_estimator
@options.view_weights
@_setting("allow_partial")
@options.quiet
@options.as_json
def command(runs: tuple[Path, ...], manifests: tuple[Path, ...], **asked: Any) -> None:
    """Score a trained model again, on other faces or on corrupted ones.

    Without --manifest, the numbers are computed again from the run's predictions and must agree with its record. With
    --manifest (and perhaps another --protocol of the same seen generators), the model predicts those faces; faces it
    was trained on are left out. With --corruptions as well, it predicts them under every corruption and severity:
    tables and curves of one or several runs. A killed evaluation goes on with the cells that are not finished. The
    results lie under `evaluations/` in the run folder. Of a folder that `train --seeds` made, every seed is evaluated
    and their mean shown. With --callable, a function of your own is asked for the test faces in place of the model of a
    run: it is given RGB images (n, side, side, 3), and returns p_fake (n,), or a pair of class probabilities
    (n, classes) and p_fake.
    """
    from dfad_bench.views.options import view_settings

    if asked["function"] is not None:
        _evaluate_function(runs, manifests, asked)
        return
    if not runs:
        raise click.UsageError("Missing option '--run'.")
    _refuse_unused_options(click.get_current_context())
    asked["views"] = view_settings(asked["views"], estimator=asked["estimator"], gaze_weights=asked["gaze_weights"])
    if asked["corruptions"]:
        if not manifests or asked["rescore"]:
            raise click.UsageError("--corruptions needs --manifest, and no --rescore")
        _robustness(runs, manifests, asked)
        return
    if len(runs) > 1:
        raise click.UsageError("several --run need --corruptions")
    if asked["rescore"] or not manifests:
        if manifests:
            raise click.UsageError("--rescore takes no --manifest: it uses the stored predictions")
        _rescore(runs[0], asked["as_json"])
        return
    _evaluate(runs[0], manifests, asked)


def _evaluate_function(runs: tuple[Path, ...], manifests: tuple[Path, ...], asked: dict[str, Any]) -> None:
    from dfad_bench.api.imports import evaluate_callable
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.cli.train import show_record
    from dfad_bench.core.run_folder import RunFolder

    context = click.get_current_context()
    for parameter in context.command.params:
        given = context.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.COMMANDLINE
        if given and parameter.name not in _OF_FUNCTIONS:
            raise click.UsageError(f"--callable takes no {parameter.opts[0]}")
    if not manifests or asked["protocol"] is None or asked["out"] is None:
        raise click.UsageError("--callable needs --protocol, --manifest and --out")
    settings = CallableSettings(**options.settings_in(asked, CallableSettings))
    progress = make_progress(asked["quiet"])
    found = evaluate_callable(asked["function"], asked["out"], settings, manifests, progress=progress)
    for warning in found.warnings:
        echo(f"Warning: {warning}", err=True)
    show_record(found.record, found.table, as_json=asked["as_json"])
    echo(f"Record: {RunFolder(found.folder).record}", err=True)


def _rescore(run: Path, as_json: bool) -> None:
    from dfad_bench.api.evaluation import rescore

    found, corrupted = rescore(run)
    for one in found.seeds:
        echo(f"{one.folder.name}: the record follows from the predictions.", err=True)
    if not found.seeds:
        echo("The record follows from the predictions.", err=True)
    for folder in corrupted:
        echo(f"{folder.relative_to(run)}: the record follows from the predictions.", err=True)
    _show(found, as_json)


def _evaluate(run: Path, manifests: tuple[Path, ...], asked: dict[str, Any]) -> None:
    from dfad_bench.api.evaluation import evaluate
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.core.run_folder import RunFolder, SeedsFolder

    settings = EvaluateSettings(**options.settings_in(asked, EvaluateSettings))
    found = evaluate(run, manifests, settings, progress=make_progress(asked["quiet"]))
    for warning in found.warnings:
        echo(f"Warning: {warning}", err=True)
    _show(found, asked["as_json"])
    if asked["as_json"]:
        return
    for one in found.seeds or (found,):
        echo(f"Record: {RunFolder(one.folder).record}", err=True)
    if found.seeds:
        echo(f"Means: {SeedsFolder(found.folder).summary}", err=True)


def _show(found: Evaluation, as_json: bool) -> None:
    """Print a record beside the constant models, or mean and spread over seeds."""
    from dfad_bench.cli.train import show_record

    if found.full_table is not None and as_json:
        echo_table(found.full_table, "json")
    elif found.seeds:
        echo_table(found.table)
    else:
        show_record(found.record, found.table, as_json=as_json)


def _robustness(runs: tuple[Path, ...], manifests: tuple[Path, ...], asked: dict[str, Any]) -> None:
    from dfad_bench.api.evaluation import robustness
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.core.run_folder import RobustnessFolder, runs_in

    out = asked["out"]
    if len(runs) > 1 and out is None:
        raise click.UsageError("several --run need --out, the folder for their common curves")
    settings = RobustnessSettings(**options.settings_in(asked, RobustnessSettings))
    found = robustness(runs, manifests, settings, out=out, progress=make_progress(asked["quiet"]))
    folders = [folder for run in runs for folder in runs_in(run)]
    for run, result in zip(folders, found.results, strict=True):
        for warning in result.warnings:
            echo(f"Warning: {run}: {warning}", err=True)
        if result.made < result.cells:
            echo(f"{run}: {result.cells - result.made} of {result.cells} cells were finished before", err=True)
    shown = found.grid if asked["by_group"] else found.table
    echo_table(shown, "json" if asked["as_json"] else asked["format_"])
    for result in found.results:
        echo(f"Record: {RobustnessFolder(result.out).record}", err=True)
    echo(f"Curves: {len(found.figures)} files beside {RobustnessFolder(found.out).grid}", err=True)
