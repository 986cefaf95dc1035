"""`dfad gaze-fid`: compare the gaze of real and forged faces by generator."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_json, echo_tables
from dfad_bench.gaze.settings import GazeSettings

if TYPE_CHECKING:
    from dfad_bench.api.gaze import GazeReport

_setting = partial(options.setting, GazeSettings)


@click.command(
    "gaze-fid", epilog="Example: dfad gaze-fid --manifest quickstart/manifests/synthetic --estimator geometric"
)
@options.manifest()
@options.estimators
@options.each_weights
@_setting("fid_backend")
@options.study_settings
@click.option("--all", "all_tables", is_flag=True, help="Print every table, not only the short ones.")
@options.as_json
@options.out("Folder for gaze.json, gaze.csv, gaze.md and the figures.", required=False)
@options.quiet
def command(
    manifests: tuple[Path, ...],
    estimators: tuple[str, ...],
    weights: tuple[str, ...],
    all_tables: bool,
    as_json: bool,
    out: Path | None,
    quiet: bool,
    **asked: Any,
) -> None:
    """Compare the gaze of real and forged faces: FID and paired cosine by generator.

    Distances have a 95 % interval and a floor (the distance of real faces from real faces), and are averaged by
    forgery type and by family. The claim that diffusion is nearer to real than GAN is tested by permutation. Gaze
    that is not stored yet is estimated first. Several estimators are compared side by side. Printed is what fits a
    screen; --all prints every table, --out writes them.
    """
    from dfad_bench.api.gaze import gaze_study
    from dfad_bench.cli.progress import make_progress

    report = gaze_study(
        manifests,
        options.weights_of_each(weights, estimators),
        GazeSettings(**asked),
        out=out,
        progress=make_progress(quiet),
    )
    show(report, out, all_tables=all_tables, as_json=as_json, quiet=quiet)


def show(
    report: GazeReport, out: Path | None, *, all_tables: bool = False, as_json: bool = False, quiet: bool = False
) -> None:
    """Print the tables of a study and where its files are; an error names estimators that could not be used."""
    from dfad_bench.core.errors import DFADError

    if as_json:
        echo_json(report.facts)
    else:
        echo_tables(report.tables if all_tables else report.short_tables)
    if report.written and not quiet:
        from dfad_bench.report.figures.gaze import figure_notes

        names = ", ".join(path.name for path in report.written)
        for line in (f"Written to {out}: {names}", *figure_notes(report.study.reports)):
            echo(line, err=True)
    if report.failed:
        raise DFADError("; ".join(f"estimator {name} left out: {why}" for name, why in report.failed.items()))
