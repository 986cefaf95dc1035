"""`dfad verify-record`: compute every number of a record again."""

from __future__ import annotations

from pathlib import Path

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_json, echo_table


@click.command("verify-record", epilog="Example: dfad verify-record --run quickstart/runs/xception")
@click.option(
    "--run", type=click.Path(path_type=Path, file_okay=False), help="Folder of a finished run, or of several seeds."
)
@click.option("--record", type=click.Path(path_type=Path, dir_okay=False), help="A record beside its predictions.")
@click.option("--strict", is_flag=True, help="Exit with code 4 where something could not be checked, too.")
@options.as_json
def command(run: Path | None, record: Path | None, strict: bool, as_json: bool) -> None:
    """Compute every number of a record again from its predictions, and compare every hash.

    Names what differs and ends with exit code 4, or says how many numbers and hashes agree. What the folder does not
    hold (a checkpoint that was not kept, say) cannot be checked, and is said; --strict refuses it. Nothing here tells
    whether a record with its predictions was made up as a whole: for that, train again.
    """
    from dataclasses import asdict

    from dfad_bench.api.runs import verify_record
    from dfad_bench.core.errors import IntegrityError, listed
    from dfad_bench.report.table import Column, Table

    if (run is None) == (record is None):
        raise click.UsageError("give --run or --record, one of the two")

    found = verify_record(run or record or Path())
    if as_json:
        values = {"record": str(found.record), "compared": found.compared, "notes": list(found.notes)}
        values["unchecked"] = list(found.unchecked)
        values["differences"] = [asdict(difference) for difference in found.differences]
        echo_json(values)
    elif found.differences:
        columns = (
            Column("name", "Differs", "text"),
            Column("stated", "Stated", "text"),
            Column("found", "Found", "text"),
        )
        rows = [{"name": d.name, "stated": d.stated, "found": d.found} for d in found.differences]
        echo_table(Table(str(found.record), columns, rows, found.notes))
    else:
        echo(f"{found.record}: all {found.compared} numbers and hashes agree")
        for note in found.notes:
            echo(f"  {note}")
    if found.differences:
        differences = listed(found.differences, 3, "; ")
        raise IntegrityError(f"{found.record}: does not follow from its predictions: {differences}")
    if strict and found.unchecked:
        raise IntegrityError(f"{found.record}: not all could be checked: {'; '.join(found.unchecked)}")
