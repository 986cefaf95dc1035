"""`dfad list`: what there is, by kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.listed_kinds import KINDS


@click.command("list", epilog="Example: dfad list models --long")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.option("--long", "detailed", is_flag=True, help="What each one is and where it comes from, not its name alone.")
@options.as_json
def command(kind: str, detailed: bool, as_json: bool) -> None:
    """List what there is of a kind: shipped, from included folders, and models of other distributions.

    Plain names, one a line; --long shows cards, and where each comes from.
    """
    from dfad_bench.report.table import Column, Table, render

    listed = KINDS[kind]
    if not detailed and not as_json:
        click.echo("\n".join(listed.names()))
        return
    rows: list[Mapping[str, Any]] = [
        {"name": name, **(listed.describe(name) if detailed else {})} for name in listed.names()
    ]
    columns = [Column("name", "Name", "text")]
    columns += [Column(key, title, "text") for key, title in (listed.titles if detailed else {}).items()]
    click.echo(render(Table(kind.capitalize(), tuple(columns), rows), "json" if as_json else "rich"), nl=False)
