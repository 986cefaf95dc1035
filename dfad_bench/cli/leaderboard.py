"""`dfad leaderboard`: measured, trivial and reported rows of a protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_json, echo_tables

if TYPE_CHECKING:
    from dfad_bench.report.table import Table

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
    "--shipped/--no-shipped",
    "with_shipped",
    default=None,
    help="Show the shipped entries beside --runs; without --runs they are shown anyway.",
)
@click.option(
    "--records",
    "entries",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of entries that stands for the shipped ones (`dfad submit` writes it).",
)
@click.option(
    "--verify",
    is_flag=True,
    help="Compute every number of every entry again from its predictions; ends with 4 where one does not follow.",
)
@click.option(
    "--boards",
    type=click.Path(path_type=Path, file_okay=False),
    help="After --verify, write the board of each protocol with entries to this folder: Markdown, CSV, JSON.",
)
@options.quiet
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write to this file (html: to this folder) instead of printing."
)
def command(
    protocol: str | None,
    runs: tuple[Path, ...],
    format_: str,
    columns: str | None,
    seeds: str,
    by_group: bool,
    verify: bool,
    boards: Path | None,
    quiet: bool,
    out: Path | None,
    **options: Any,
) -> None:
    """Render the leaderboard of one protocol, or of every protocol that has records.

    Every record under --runs is read, or without it the shipped entries; what papers reported stands beneath. Each row
    says what was checked of it on this machine: `dfad verify-record --repredict` checks most. Records whose numbers do
    not follow from their predictions are struck out, not ranked; of several records of one run the best checked one is
    shown. The best value of a column is bold and the second underlined, on terminals, in Markdown and in LaTeX.
    """
    if boards is not None and (protocol or runs or not verify):
        raise click.UsageError("--boards is for all entries: with --verify, without --protocol and --runs")
    if verify:
        _verify(options["entries"], protocol, format_ == "json", quiet, boards)
        return
    options["columns"] = [name.strip() for name in columns.split(",")] if columns is not None else []
    options["every_seed"] = seeds == "all"
    if format_ == "html":
        _write_site(out, runs, protocol, **options)
        return
    if out is not None and out.is_dir():
        raise click.BadParameter(f"File '{out}' is a directory.", param_hint="'--out'")
    from dfad_bench.api.runs import leaderboards

    detailed = format_ in ("csv", "json")
    tables = leaderboards(runs, protocol, per_group=detailed, by_group=by_group, **options)
    if detailed and len(tables) > 1:
        names = ", ".join(tables)
        raise click.UsageError(f"{format_} holds one protocol; choose with --protocol one of {names}")
    _show(list(tables.values()), format_, out)


def _show(tables: list[Table], format: str, out: Path | None) -> None:
    """Print the boards, or write them to a file."""
    from dfad_bench.core.escape import json_text
    from dfad_bench.core.files import write_text
    from dfad_bench.report.board_json import board_values

    values = board_values(tables[0]) if format == "json" else {}
    if out is not None:
        text = json_text(values) + "\n" if values else "\n".join(table.render(format) for table in tables)
        write_text(out, text)
        echo(f"{out}", err=True)
    elif values:
        echo_json(values)
    else:
        echo_tables(tables, format)


def _write_site(out: Path | None, runs: tuple[Path, ...], protocol: str | None, **options: Any) -> None:
    from dfad_bench.api.site import leaderboard_site

    if out is None:
        raise click.UsageError("--format html writes a folder of pages; name it by --out")
    echo(f"{leaderboard_site(runs, out, protocol, **options)}", err=True)


def _verify(entries: Path | None, protocol: str | None, as_json: bool, quiet: bool, boards: Path | None) -> None:
    """A line for each entry that says what was checked, and one for each thing that does not hold."""
    from dfad_bench.api.entries import verify_entries, write_boards
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.core.errors import IntegrityError

    progress = make_progress(quiet)
    if boards is None:
        found = verify_entries(entries, protocol, progress=progress)
    else:
        found = write_boards(boards, entries, progress=progress)
    if as_json:
        rows = [
            {"entry": c.place, "compared": c.compared, "faces": c.faces, "faults": c.faults, "notes": c.notes}
            for c in found.checks
        ]
        echo_json({"records": str(found.root), "entries": rows, "faults": found.faults})
    else:
        for check in found.checks:
            agree = f"{check.compared:,} numbers and hashes follow, {check.faces:,} predictions"
            echo(f"{check.place}: {'WRONG' if check.faults else agree}")
        for fault in found.faults:
            echo(f"  {fault}")
    if found.faults:
        wrong = sum(bool(check.faults) for check in found.checks)
        raise IntegrityError(f"{found.root}: {wrong} of {len(found.checks)} entries wrong, {len(found.faults)} faults")
    echo(f"{found.root}: all {len(found.checks)} entries follow from their predictions", err=True)
