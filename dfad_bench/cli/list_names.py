"""`dfad list`: what there is, by kind."""

from __future__ import annotations

from pathlib import Path

import click

from dfad_bench.api.names import KINDS, GeneratorFilter, list_names
from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_table


@click.command("list", epilog="Example: dfad list generators --type TF --released 2025-01.. --long")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.option("--long", "detailed", is_flag=True, help="What each one is and where it comes from, not its name alone.")
@click.option(
    "--family", "families", multiple=True, metavar="NAME", help="Generators of this family only (gan, ...); repeatable."
)
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="KIND",
    help="Generators of this kind only: EFS, FS, AM, FR, TF, GR, processed (real faces), personalised; repeatable.",
)
@click.option(
    "--released", metavar="FROM..TO", help="Generators of these months only: 2025-01.., ..2024-06, 2025-01..2025-06."
)
@click.option(
    "--in-manifest",
    "manifests",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Generators with faces in this manifest only (its folder or its manifest.json); repeatable.",
)
@options.as_json
def command(
    kind: str,
    detailed: bool,
    families: tuple[str, ...],
    types: tuple[str, ...],
    released: str | None,
    manifests: tuple[Path, ...],
    as_json: bool,
) -> None:
    """List what there is of a kind: shipped, from included folders, and models of other distributions.

    Plain names, one a line; --long shows cards, and where each comes from.
    """
    table = list_names(kind, described=detailed, only=GeneratorFilter(families, types, released, manifests))
    if detailed or as_json:
        echo_table(table, "json" if as_json else "rich")
        return
    if table.rows:
        echo("\n".join(row["name"] for row in table.rows))
    for note in table.notes:
        echo(note, err=True)
