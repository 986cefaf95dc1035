"""`dfad weights`: weight files of others, listed, fetched, checked, found."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_json, echo_table

if TYPE_CHECKING:
    from dfad_bench.core.weights import WeightFile


@click.group("weights", epilog="Example: dfad weights list")
def command() -> None:
    """Weight files of others: list, fetch, check, where.

    They lie under $DFAD_WEIGHTS. Nothing is fetched unless `fetch` is called, and no code in a file is ever run.
    """


@command.command("list", epilog="\b\nExample: dfad weights list --json")
@options.as_json
def list_weights(as_json: bool) -> None:
    """Show every named file: licence, size, hash, whether it is there. The same as `dfad list weights --long`."""
    from dfad_bench.api.names import list_names

    echo_table(list_names("weights", described=True), "json" if as_json else "rich")


@command.command("fetch", epilog="\b\nExample: dfad weights fetch openai_clip_vit_b32")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--accept-licence",
    "accept",
    multiple=True,
    metavar="NAME",
    help="Accept the licence of this file, where it is not a plain open one; repeatable. Without it a terminal asks.",
)
@click.option("--repin", is_flag=True, help="Take another file than the one that was fetched by this name before.")
@options.quiet
@options.as_json
def fetch(names: tuple[str, ...], accept: tuple[str, ...], repin: bool, quiet: bool, as_json: bool) -> None:
    """Fetch weight files by name into $DFAD_WEIGHTS.

    NAME is one of `dfad weights list`, timm:NETWORK.TAG, open_clip:ARCHITECTURE/TAG or hf://OWNER/NAME/FILE. What was
    cut goes on; what came is compared with every hash that is known and opened without running code; a hash that nobody
    published is kept in weights.lock.json beside the files. Without a network, a line says which file to put where.
    """
    from dfad_bench.api.weights import fetch_weights
    from dfad_bench.cli.progress import make_progress

    ask = _ask_licence if sys.stdin.isatty() and not as_json else None
    found = fetch_weights(names, accept=accept, ask=ask, repin=repin, progress=make_progress(quiet))
    if as_json:
        files = [{**vars(file), "path": str(file.path)} for file in found.files]
        echo_json({"files": files, "errors": {name: str(error) for name, error in found.errors.items()}})
    else:
        for file in found.files:
            echo(f"{file.path}  {file.size:,} bytes  sha256 {file.sha256}  {file.state}")
            for note in file.notes:
                echo(f"Note: {file.name}: {note}", err=True)
    errors = list(found.errors.values())
    for error in errors[:-1]:
        echo(f"Error: {error}", err=True)
    if errors:
        raise errors[-1]


def _ask_licence(row: WeightFile) -> bool:
    return click.confirm(f"{row.name}: licence {row.licence} ({row.origin}). Do you accept it?", err=True)


@command.command("check", epilog="\b\nExample: dfad weights check")
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...")
@options.as_json
def check(names: tuple[str, ...], as_json: bool) -> None:
    """Open weight files without running code, and compare them with their hashes; all that are there without NAME.

    Exit code 4 where a file is not the one its name stands for, or holds something else than weights.
    """
    from dfad_bench.api.weights import check_weights
    from dfad_bench.core.errors import IntegrityError, listed

    table, findings = check_weights(names)
    echo_table(table, "json" if as_json else "rich")
    if wrong := [found.name for found in findings if found.is_wrong]:
        raise IntegrityError(f"not to be used: {listed(wrong)}")


@command.command("where", epilog="\b\nExample: dfad weights where openai_clip_vit_b32")
@click.argument("name")
@options.as_json
def where(name: str, as_json: bool) -> None:
    """Print where a file is; where it is not there, where to get it and where to put it (exit code 1)."""
    from dfad_bench.api.weights import find_weight_place
    from dfad_bench.core.errors import AbsentWeightsError, quoted

    found = find_weight_place(name)
    if as_json:
        echo_json({**vars(found), "path": None if found.path is None else str(found.path)})
    elif found.present:
        echo(found.path)
    if not found.present:
        raise AbsentWeightsError(f"weights {quoted(name)} are not there; {found.how}")
