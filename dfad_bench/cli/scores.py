"""`dfad scores`: all numbers of a finished run."""

from __future__ import annotations

from pathlib import Path

import click

from dfad_bench.cli import options

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
def command(runs: tuple[Path, ...], table: str, format_: str, figure: Path | None, as_json: bool) -> None:
    """Show the numbers of a run: all of them, by group, over thresholds, or the confusion matrix."""
    from dfad_bench.core.errors import ConfigError
    from dfad_bench.core.record import FILE, read_record
    from dfad_bench.report.figures.sweep import draw_sweep
    from dfad_bench.report.run_tables import TABLES as MAKE
    from dfad_bench.report.table import render

    format_ = "json" if as_json else format_
    if len(set(runs)) < len(runs):
        raise click.UsageError("a --run is given twice")
    if format_ in ("csv", "json") and len(runs) > 1:
        raise click.UsageError(f"{format_} holds one run; give one --run")
    if absent := [str(run) for run in runs if not (run / FILE).is_file()]:
        raise ConfigError(f"{absent[0]}: no {FILE}; not the folder of a finished run (`dfad train` makes one)")
    records = [read_record(run / FILE) for run in runs]
    if figure is not None and figure.suffix not in (".png", ".svg", ".pdf"):
        raise click.UsageError(f"--figure {figure}: the name must end in .png, .svg or .pdf")
    for record in records:
        click.echo(render(MAKE[table](record), format_), nl=False)
    if figure is not None:
        named = {name: record.sweep for name, record in zip(options.run_labels(runs), records, strict=True)}
        drawn = {name: sweep for name, sweep in named.items() if sweep is not None}
        if not drawn:
            raise ConfigError(f"--figure {figure}: no run has a sweep; the attribution expert was not trained")
        draw_sweep(figure, drawn)
        for name in sorted(named.keys() - drawn.keys()):
            click.echo(f"Warning: {name} is not drawn: its attribution expert was not trained", err=True)
        click.echo(f"{figure}", err=True)
