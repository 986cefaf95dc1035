"""`dfad list`: what there is, by kind."""

from __future__ import annotations

import click

from dfad_bench.api.names import KINDS, list_names
from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_table


@click.command("list", epilog="Example: dfad list models --long")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.option("--long", "detailed", is_flag=True, help="What each one is and where it comes from, not its name alone.")
@options.as_json
def command(kind: str, detailed: bool, as_json: bool) -> None:
    """List what there is of a kind: shipped, from included folders, and models of other distributions.

    Plain names, one a line; --long shows cards, and where each comes from.
    """
    table = list_names(kind, described=detailed)
    if detailed or as_json:
        echo_table(table, "json" if as_json else "rich")
    else:
        echo("\n".join(row["name"] for row in table.rows))
