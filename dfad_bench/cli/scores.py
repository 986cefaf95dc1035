"""`dfad scores`: all numbers of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_table

TABLES = ("metrics", "groups", "sweep", "confusion")
FORMATS = ("rich", "markdown", "csv", "json", "latex")


@click.command("scores", epilog="Example: dfad scores --run quickstart/runs/xception --table confusion")
@click.option(
    "--run",
    "runs",
    type=click.Path(path_type=Path, file_okay=False),
    multiple=True,
    required=True,
    help="Folder of a finished run; repeatable.",
)
@click.option("--table", type=click.Choice(TABLES), default="groups", show_default=True, help="What is shown.")
@click.option("--format", "format_", type=click.Choice(FORMATS), default="rich", show_default=True)
@click.option(
    "--figure", type=click.Path(path_type=Path, dir_okay=False), help="Draw the sweep of all runs here (.png, .svg)."
)
@options.as_json
def command(runs: tuple[Path, ...], table: Any, format_: str, figure: Path | None, as_json: bool) -> None:
    """Show the numbers of a run: all of them, by group, over thresholds, or the confusion matrix."""
    from dfad_bench.api.runs import draw_sweeps, scores

    format_ = "json" if as_json else format_
    if len(set(runs)) < len(runs):
        raise click.UsageError("a --run is given twice")
    if format_ in ("csv", "json") and len(runs) > 1:
        raise click.UsageError(f"{format_} holds one run; give one --run")
    if figure is not None and figure.suffix not in (".png", ".svg", ".pdf"):
        raise click.UsageError(f"--figure {figure}: the name must end in .png, .svg or .pdf")
    for shown in [scores(run, table) for run in runs]:
        echo_table(shown, format_)
    if figure is not None:
        for line in draw_sweeps(runs, options.run_labels(runs), figure):
            echo(f"Warning: {line}", err=True)
        echo(f"{figure}", err=True)
