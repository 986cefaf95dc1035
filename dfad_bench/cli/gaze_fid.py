"""`dfad gaze-fid`: compare the gaze of real and forged faces by generator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_json, echo_tables

if TYPE_CHECKING:
    from dfad_bench.api.gaze import GazeReport


@click.command(
    "gaze-fid", epilog="Example: dfad gaze-fid --manifest quickstart/manifests/synthetic --estimator geometric"
)
@options.manifest()
@options.estimators
@options.each_weights
@click.option(
    "--samples",
    type=click.IntRange(2, 1_000_000_000),
    default=10_000,
    show_default=True,
    help="Most real and most forged faces per generator, and most pairs.",
)
@click.option(
    "--equal-n/--no-equal-n",
    default=True,
    show_default=True,
    help="The same number of faces for all generators, or all faces of each.",
)
@click.option(
    "--fid-backend",
    type=click.Choice(["closed-form", "pytorch-fid"]),
    default="closed-form",
    show_default=True,
    help="The closed form in two dimensions, or pytorch-fid's function: equal values, slower.",
)
@options.device
@options.seed
@options.as_json
@options.out("Folder for gaze.json, gaze.csv, gaze.md and the figures.", required=False)
@options.quiet
def command(
    manifests: tuple[Path, ...],
    estimators: tuple[str, ...],
    weights: tuple[str, ...],
    samples: int,
    equal_n: bool,
    fid_backend: str,
    device: str,
    seed: int,
    as_json: bool,
    out: Path | None,
    quiet: bool,
) -> None:
    """Compare the gaze of real and forged faces: FID and paired cosine by generator.

    Distances have a 95 % interval and a floor (the distance of real faces from real faces), and are averaged by
    forgery type and by family. The claim that diffusion is nearer to real than GAN is tested by permutation. Gaze
    that is not stored yet is estimated first. Several estimators are compared side by side.
    """
    from dfad_bench.api.gaze import gaze_study
    from dfad_bench.cli.progress import make_progress

    report = gaze_study(
        manifests,
        options.weights_of_each(weights, estimators),
        samples=samples,
        equal_n=equal_n,
        fid_backend=fid_backend,
        device=device,
        seed=seed,
        out=out,
        progress=make_progress(quiet),
    )
    show(report, out, as_json=as_json, quiet=quiet)


def show(report: GazeReport, out: Path | None, *, as_json: bool = False, quiet: bool = False) -> None:
    """Print the tables of a study and where its files are; an error names estimators that could not be used."""
    from dfad_bench.core.errors import DFADError

    if as_json:
        echo_json(report.facts)
    else:
        echo_tables(report.tables)
    if report.written and not quiet:
        from dfad_bench.report.figures.gaze import figure_notes

        names = ", ".join(path.name for path in report.written)
        for line in (f"Written to {out}: {names}", *figure_notes(report.study.reports)):
            echo(line, err=True)
    if report.failed:
        raise DFADError("; ".join(f"estimator {name} left out: {why}" for name, why in report.failed.items()))
