"""`dfad evaluate`: score a finished run again, predict other faces with its model, or the same faces corrupted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfad_bench.cli import options

if TYPE_CHECKING:
    from dfad_bench.core.progress import Progress
    from dfad_bench.data.manifest import Manifest
    from dfad_bench.views.provider import ViewProvider

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FORMATS = ("rich", "markdown", "csv", "json", "latex")


# options that mean nothing without another one, by that one
_ONLY_WITH = {
    "corruptions": (
        "severities", "corruptions_file", "corrupt_at", "views_from", "keep_images", "workers", "out", "format_",
        "by_group", "seed",
    ),
    "manifests": ("protocol", "device", "view_settings", "estimator", "gaze_weights", "allow_partial"),
}  # fmt: skip


def _split(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    if value is None:
        return ()
    names = tuple(part.strip() for part in value.split(",") if part.strip())
    if not names:
        raise click.BadParameter("nothing is named", context, parameter)
    return names


def _refuse_idle(context: click.Context) -> None:
    """Refuse options that would change nothing."""
    options = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    for needed, names in _ONLY_WITH.items():
        for name in names:
            given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
            if given and not context.params[needed]:
                raise click.UsageError(f"{options[name]} needs {options[needed]}")


def _levels(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    texts = _split(context, parameter, value)
    if not all(text.isdecimal() for text in texts):
        raise click.BadParameter(f"{value!r}: expected whole numbers with commas, as in 1,3,5", context, parameter)
    return tuple(int(text) for text in texts)


@click.command(
    "evaluate",
    epilog="Example: dfad evaluate --run quickstart/runs/xception --manifest quickstart/manifests/synthetic"
    " --manifest quickstart/manifests/synthetic-outdoor --corruptions blur,jpeg --severities 1,5",
)
@click.option(
    "--run",
    "runs",
    type=_FOLDER,
    required=True,
    multiple=True,
    help="Folder of a finished run; with --corruptions several.",
)
@options.manifest(required=False)
@options.protocol(required=False)
@click.option("--rescore", is_flag=True, help="Compute the numbers again from the stored predictions and compare.")
@click.option(
    "--corruptions", callback=_split, metavar="NAMES", help="all, exact, or names with commas: see `dfad list`."
)
@click.option("--severities", callback=_levels, metavar="LEVELS", help="Levels with commas.  [default: 1,2,3,4,5]")
@click.option(
    "--corruptions-file", type=click.Path(path_type=Path, dir_okay=False), help="Your own corruptions (YAML)."
)
@click.option(
    "--corrupt-at", type=click.IntRange(8), help="Side of the crops that are corrupted.  [default: as they are]"
)
@click.option(
    "--views-from",
    "--gaze-on",
    "views_from",
    type=click.Choice(["corrupted", "clean"]),
    default="corrupted",
    show_default=True,
    help="Crop that gaze and other views of corrupted faces are made from.",
)
@click.option("--keep-images", type=_FOLDER, help="Store the corrupted crops in this folder, too.")
@click.option(
    "--workers", type=click.IntRange(0), help="Processes that corrupt while the model runs.  [default: cores - 1]"
)
@click.option("--out", type=_FOLDER, help="Folder for curves and grid; needed for several runs.")
@click.option(
    "--format", "format_", type=click.Choice(_FORMATS), default="rich", show_default=True, help="Of the table."
)
@click.option("--by-group", is_flag=True, help="Print every number of every group instead of the headline ones.")
@options.seed
@options.device
@options.view
@options.view_estimator
@options.view_weights
@click.option("--allow-partial", is_flag=True, help="Go on with missing or short groups; the record says so.")
@options.quiet
@options.as_json
def command(runs: tuple[Path, ...], manifests: tuple[Path, ...], protocol: str | None, **asked: Any) -> None:
    """Score a trained model again, on other faces or on corrupted ones.

    Without --manifest, the numbers are computed again from the run's predictions and must agree with its record. With
    --manifest (and perhaps another --protocol of the same seen generators), the model predicts those faces; faces it
    was trained on are left out. With --corruptions as well, it predicts them under every corruption and severity:
    tables and curves of one or several runs. A killed evaluation goes on with the cells that are not finished. The
    results lie under `evaluations/` in the run folder.
    """
    _refuse_idle(click.get_current_context())
    if asked["corruptions"]:
        if not manifests or asked["rescore"]:
            raise click.UsageError("--corruptions needs --manifest, and no --rescore")
        _corrupted(runs, manifests, protocol, asked)
        return
    if len(runs) > 1:
        raise click.UsageError("several --run need --corruptions")
    if asked["rescore"] or not manifests:
        if manifests:
            raise click.UsageError("--rescore takes no --manifest: it uses the stored predictions")
        _again(runs[0], asked["as_json"])
        return
    _other_faces(runs[0], manifests, protocol, asked)


def _again(run: Path, as_json: bool) -> None:
    from dfad_bench.cli.train import show_record
    from dfad_bench.engine.config import read_config
    from dfad_bench.report.robustness.scores import find_robustness, rescore_robustness
    from dfad_bench.report.run_record import rescore

    read_config(run)
    rescore(run)
    click.echo("The record follows from the predictions.", err=True)
    for folder in find_robustness(run):
        rescore_robustness(folder)
        click.echo(f"{folder.relative_to(run)}: the record follows from the predictions.", err=True)
    show_record(run, fresh=False, as_json=as_json)


def _other_faces(run: Path, manifests: tuple[Path, ...], protocol: str | None, asked: dict[str, Any]) -> None:
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.cli.train import show_record
    from dfad_bench.engine.evaluate import run_evaluation

    progress, opened = make_progress(asked["quiet"]), _open(manifests)
    result = run_evaluation(
        run,
        opened,
        protocol=protocol,
        device=asked["device"],
        views=_views(opened, asked, progress),
        allow_partial=asked["allow_partial"],
        progress=progress,
    )
    for warning in result.warnings:
        click.echo(f"Warning: {warning}", err=True)
    show_record(result.out, fresh=True, as_json=asked["as_json"])


def _corrupted(
    runs: tuple[Path, ...], manifests: tuple[Path, ...], protocol: str | None, asked: dict[str, Any]
) -> None:
    from dfad_bench.report.figures.robustness import save_robustness_figures
    from dfad_bench.report.robustness.scores import build_robustness, read_robustness
    from dfad_bench.report.robustness.tables import robustness_grid, robustness_table
    from dfad_bench.report.table import render

    out = asked["out"]
    if len(runs) > 1 and out is None:
        raise click.UsageError("several --run need --out, the folder for their common curves")
    folders = [_run_one(run, manifests, protocol, asked) for run in runs]
    for folder in folders:
        build_robustness(folder)
    labels = options.run_labels(runs)
    evaluations = [(label, *read_robustness(folder)) for label, folder in zip(labels, folders, strict=True)]
    table, grid = robustness_table(evaluations), robustness_grid(evaluations)
    out = out or folders[0]
    figures = save_robustness_figures(evaluations, out)
    _write(out / "robustness.csv", render(grid, "csv"))
    _write(out / "robustness.md", render(table, "markdown"))
    shown = grid if asked["by_group"] else table
    click.echo(render(shown, "json" if asked["as_json"] else asked["format_"]), nl=False)
    for folder in folders:
        click.echo(f"Record: {folder / 'robustness.json'}", err=True)
    click.echo(f"Curves: {len(figures)} files beside {out / 'robustness.csv'}", err=True)


def _run_one(run: Path, manifests: tuple[Path, ...], protocol: str | None, asked: dict[str, Any]) -> Path:
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.core.cores import usable_cores
    from dfad_bench.engine.robustness import run_robustness

    progress, opened = make_progress(asked["quiet"]), _open(manifests)
    cores = usable_cores()
    result = run_robustness(
        run,
        opened,
        names=asked["corruptions"],
        severities=asked["severities"],
        file=asked["corruptions_file"],
        protocol=protocol,
        corrupt_at=asked["corrupt_at"],
        seed=asked["seed"],
        device=asked["device"],
        workers=cores - 1 if asked["workers"] is None else asked["workers"],
        views=_views(opened, asked, progress),
        views_from=asked["views_from"],
        keep_images=asked["keep_images"],
        allow_partial=asked["allow_partial"],
        progress=progress,
    )
    for warning in result.warnings:
        click.echo(f"Warning: {run}: {warning}", err=True)
    if result.made < result.cells:
        click.echo(f"{run}: {result.cells - result.made} of {result.cells} cells were finished before", err=True)
    return result.out


def _open(manifests: tuple[Path, ...]) -> list[Manifest]:
    from dfad_bench.data.manifest import Manifest

    return [Manifest.open(folder) for folder in manifests]


def _views(manifests: list[Manifest], asked: dict[str, Any], progress: Progress) -> ViewProvider:
    from dfad_bench.views.options import view_settings
    from dfad_bench.views.provider import ViewProvider

    given = view_settings(asked["view_settings"], estimator=asked["estimator"], gaze_weights=asked["gaze_weights"])
    return ViewProvider(manifests, given, device=asked["device"], progress=progress)


def _write(path: Path, text: str) -> None:
    from dfad_bench.core.files import write_text

    write_text(path, text)
