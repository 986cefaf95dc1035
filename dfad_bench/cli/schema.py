"""`dfad schema`: the JSON Schema of a file."""

from __future__ import annotations

from pathlib import Path

import click

from dfad_bench.cli.options import SCHEMA
from dfad_bench.cli.output import echo, echo_json


@click.command("schema", epilog="Example: dfad schema board --out board.schema.json")
@click.argument("name", type=SCHEMA)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file instead of printing.")
def command(name: str, out: Path | None) -> None:
    """Print the JSON Schema (draft 2020-12) of a file that this toolkit reads or writes, for programs of others.

    `dfad list schemas --long` says which there are. YAML files are checked likewise: their values are those of JSON.
    What no schema can say, such as that hashes fit, is checked when a file is read.
    """
    from dfad_bench.core.files import write_json
    from dfad_bench.core.json_schema import schema

    found = schema(name)
    if out is None:
        echo_json(found)
    else:
        write_json(out, found)
        echo(f"{out}", err=True)
