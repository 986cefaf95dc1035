"""`dfad leaderboard`: measured, trivial and reported rows of a protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_tables

FORMATS = ("rich", "markdown", "csv", "json", "latex", "html")


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
    help="CSV and JSON carry raw numbers and a column a group; html is a folder of pages, given by --out.",
)
@click.option(
    "--columns",
    metavar="NAME,...",
    help="Number columns in place of the default ones, in this order: names of metrics (`dfad list metrics`).",
)
@click.option(
    "--sort",
    metavar="COLUMN",
    default="",
    help="Order rows by this number column, better values first; places stay those of OSCR.",
)
@click.option(
    "--seeds",
    type=click.Choice(("mean", "all")),
    default="mean",
    show_default=True,
    help="Means over seeds, or a row a seed.",
)
@click.option("--reported/--no-reported", default=True, show_default=True, help="Show what papers reported, too.")
@click.option("--by-group", is_flag=True, help="A column for each unseen group, in every format.")
@click.option(
    "--check/--no-check",
    default=True,
    show_default=True,
    help="Compute the numbers of records not checked here before again from their predictions.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write to this file (html: to this folder) instead of printing."
)
def command(
    protocol: str | None,
    runs: tuple[Path, ...],
    format_: str,
    columns: str | None,
    sort: str,
    seeds: str,
    reported: bool,
    by_group: bool,
    check: bool,
    out: Path | None,
) -> None:
    """Render the leaderboard of one protocol, or of every protocol that has records.

    Shipped records and every record.json under --runs are read; what papers reported stands beneath, unranked. Each row
    says what was checked of it on this machine: `dfad verify-record --repredict` checks most. Records whose numbers do
    not follow from their predictions are struck out, not ranked; of several records of one run the best checked one is
    shown. The best value of a column is bold and the second underlined, on terminals, in Markdown and in LaTeX.
    """
    chosen = [name.strip() for name in columns.split(",")] if columns is not None else []
    if format_ == "html":
        _write_site(
            out, runs, protocol, columns=chosen, sort=sort, every_seed=seeds == "all", reported=reported, check=check
        )
        return
    if out is not None and out.is_dir():
        raise click.BadParameter(f"File '{out}' is a directory.", param_hint="'--out'")
    from dfad_bench.api.runs import leaderboards
    from dfad_bench.core.files import write_text

    detailed = format_ in ("csv", "json")
    tables = leaderboards(
        runs, protocol, per_group=detailed, by_group=by_group, columns=chosen, sort=sort, every_seed=seeds == "all",
        reported=reported, check=check,
    )  # fmt: skip
    if detailed and len(tables) > 1:
        names = ", ".join(tables)
        raise click.UsageError(f"{format_} holds one protocol; choose with --protocol one of {names}")
    if out is None:
        echo_tables(tables.values(), format_)
    else:
        write_text(out, "\n".join(table.render(format_) for table in tables.values()))
        echo(f"{out}", err=True)


def _write_site(out: Path | None, runs: tuple[Path, ...], protocol: str | None, **options: Any) -> None:
    from dfad_bench.api.site import leaderboard_site

    if out is None:
        raise click.UsageError("--format html writes a folder of pages; name it by --out")
    echo(f"{leaderboard_site(runs, out, protocol, **options)}", err=True)
