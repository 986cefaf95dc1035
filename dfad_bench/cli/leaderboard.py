"""`dfad leaderboard`: measured, trivial and reported rows of a protocol."""

from __future__ import annotations

from pathlib import Path

import click

from dfad_bench.cli import options

FORMATS = ("rich", "markdown", "csv", "json", "latex")


@click.command("leaderboard", epilog="Example: dfad leaderboard --protocol synthetic --runs quickstart/runs")
@options.protocol(required=False)
@click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    multiple=True,
    help="Folder with runs at any depth; repeatable.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="rich",
    show_default=True,
    help="CSV and JSON carry raw numbers and a column a group.",
)
@click.option(
    "--columns",
    metavar="NAME,...",
    help="Number columns in place of the default ones, in this order: names of metrics (`dfad list metrics`).",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file instead of printing.")
def command(protocol: str | None, runs: tuple[Path, ...], format_: str, columns: str | None, out: Path | None) -> None:
    """Render the leaderboard of one protocol, or of every protocol that has records.

    Shipped records and every record.json under --runs are read; what papers reported stands beneath, unranked.
    """
    from dfad_bench.core.errors import ConfigError
    from dfad_bench.core.files import write_text
    from dfad_bench.core.protocol import load_protocol
    from dfad_bench.report.leaderboard import board, find_records
    from dfad_bench.report.reported import reported_scores
    from dfad_bench.report.run_record import protocol_of
    from dfad_bench.report.table import render

    if absent := [str(folder) for folder in runs if not folder.is_dir()]:
        raise ConfigError(f"--runs {', '.join(absent)}: no such folder; `dfad train --out` makes runs")
    records, problems = find_records(runs)
    if protocol is not None:
        protocols = [load_protocol(protocol)]
    else:
        latest = {record.protocol.name: record for record in records}
        protocols = [protocol_of({"protocol": {"config": r.protocol.config}}, name) for name, r in latest.items()]
        if not protocols:
            raise ConfigError("no records found; name a --protocol, or a folder with finished runs with --runs")
    detailed = format_ in ("csv", "json")
    if detailed and len(protocols) > 1:
        names = ", ".join(p.name for p in protocols)
        raise click.UsageError(f"{format_} holds one protocol; choose with --protocol one of {names}")
    chosen = [name.strip() for name in columns.split(",")] if columns is not None else []
    tables = [
        board(p, records, reported_scores(p.name), per_group=detailed, problems=problems, columns=chosen)
        for p in protocols
    ]
    text = "\n".join(render(table, format_) for table in tables)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_text(out, text)
        click.echo(f"{out}", err=True)
