"""`dfad evaluate`: score a finished run again, or predict other faces with its model."""

from __future__ import annotations

from pathlib import Path

import click

from dfad_bench.cli import options


@click.command("evaluate", epilog="Example: dfad evaluate --run quickstart/runs/xception --rescore")
@click.option(
    "--run", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of a finished run."
)
@options.manifest(required=False)
@options.protocol(required=False)
@click.option("--rescore", is_flag=True, help="Compute the numbers again from the stored predictions and compare.")
@options.device
@options.estimator
@click.option("--gaze-weights", help="Weight file of the gaze estimator (a name or a path).")
@click.option("--allow-partial", is_flag=True, help="Go on with missing or short groups; the record says so.")
@options.quiet
@options.as_json
def command(
    run: Path, manifests: tuple[Path, ...], protocol: str | None, rescore: bool, device: str, estimator: str,
    gaze_weights: str | None, allow_partial: bool, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Score a trained model again.

    Without --manifest, the numbers are computed again from the run's predictions and must agree with its record. With
    --manifest (and perhaps another --protocol of the same seen generators), the model predicts those faces; faces it
    was trained on are left out. The result lies under `evaluations/` in the run folder.
    """
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.cli.train import gaze_views, show_record, views_made
    from dfad_bench.core.errors import ConfigError
    from dfad_bench.data.manifest import Manifest
    from dfad_bench.engine.config import read_config
    from dfad_bench.engine.evaluate import run_evaluation
    from dfad_bench.report.build import rescore as score_again

    if rescore or not manifests:
        if protocol or (rescore and manifests):
            raise click.UsageError("--protocol needs --manifest, and --rescore takes neither")
        read_config(run)
        score_again(run)
        click.echo("The record follows from the predictions.", err=True)
        show_record(run, fresh=False, as_json=as_json)
        return
    trained = read_config(run).views
    asked = views_made(estimator, gaze_weights)
    if trained and trained != asked:
        raise ConfigError(f"{run}: trained on gaze from {trained}, not {asked}; use the same --estimator and weights")
    progress, opened = make_progress(quiet), [Manifest.open(folder) for folder in manifests]
    result = run_evaluation(
        run,
        opened,
        protocol=protocol,
        device=device,
        views=gaze_views(opened, estimator, gaze_weights, device, progress),
        allow_partial=allow_partial,
        progress=progress,
    )
    for warning in result.warnings:
        click.echo(f"Warning: {warning}", err=True)
    show_record(result.out, fresh=True, as_json=as_json)
