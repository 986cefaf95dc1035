"""`dfad compare`: paired tests of two runs."""

from __future__ import annotations

from pathlib import Path

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo_json, echo_table
from dfad_bench.core import bounds


@click.command("compare", epilog="Example: dfad compare --run quickstart/runs/xception --run quickstart/runs/gazeclip")
@click.option(
    "--run",
    "runs",
    type=options.RUN,
    multiple=True,
    required=True,
    help="Folder of a finished run, or of several seeds; give two.",
)
@click.option("--all", "everything", is_flag=True, help="Every number: groups, near and far, seen, videos.")
@click.option(
    "--resamples",
    type=click.IntRange(100, bounds.RESAMPLES),
    default=2000,
    show_default=True,
    help="Bootstrap resamples.",
)
@options.seed
@options.as_json
def command(runs: tuple[Path, ...], everything: bool, resamples: int, seed: int, as_json: bool) -> None:
    """Test whether one run is better than another on the same test faces.

    McNemar's test for pooled accuracies and single groups, DeLong's for areas under the curve, a paired bootstrap for
    means over groups and the rest: each of the difference that is printed, over sources, with Holm's correction over
    the table. Two populations: other faces of these generators, and other generators, each of which is one observation.
    Runs of other protocols, manifests or test faces are refused. Of a
    folder that `train --seeds` made, the means over seeds are compared, and each seed.
    """
    from dataclasses import asdict

    from dfad_bench.api.runs import compare
    from dfad_bench.report.compare import comparison_tables

    if len(runs) != 2:
        raise click.UsageError(f"--run is needed twice, got {len(runs)}")
    if runs[0].resolve() == runs[1].resolve():
        raise click.UsageError(f"--run names {runs[0]} twice")
    found = compare(runs[0], runs[1], everything=everything, resamples=resamples, seed=seed)
    if as_json:
        echo_json(asdict(found))
    else:
        for one in (*found.of_seeds, found):
            for table in comparison_tables(one):
                echo_table(table)
