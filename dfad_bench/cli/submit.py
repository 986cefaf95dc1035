"""`dfad submit`: finished runs to entries of the leaderboards."""

from __future__ import annotations

from pathlib import Path

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_json

_WORDS = {"written": "written", "unchanged": "there already, the same", "replaced": "in the place of an earlier one"}


@click.command("submit", epilog="Example: dfad submit quickstart/runs/xception --out quickstart/records")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=options.RUN)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("leaderboards/records"),
    show_default=True,
    help="Folder of all entries.",
)
@click.option("--replace", is_flag=True, help="Take the place of another entry of the same settings and seed.")
@click.option(
    "--licence",
    "licences",
    multiple=True,
    metavar="FILE=TEXT",
    help="Licence of a file of weights that weights.yaml does not know; repeatable.",
)
@options.quiet
@options.as_json
def command(
    runs: tuple[Path, ...], out: Path, replace: bool, licences: tuple[str, ...], quiet: bool, as_json: bool
) -> None:
    """Check finished runs and write their entries for the leaderboards.

    A run must be complete, under a shipped protocol, its numbers must follow from its predictions, its model needs a
    card, and pre-trained weights a licence. Every reason against it is a line, and the exit code is 1; runs that pass
    are written all the same. An entry holds the record, the predictions and nothing else: no faces, and no paths, host
    or user names, which are left out of the record with a line that says where (leaderboards/README.md).
    """
    from dataclasses import asdict

    from dfad_bench.api.entries import submit
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.core.errors import ConfigError

    if bad := [text for text in licences if not all(text.partition("=")[::2])]:
        raise click.BadParameter(f"{bad[0]} is not FILE=TEXT", param_hint="'--licence'")
    named = {text.partition("=")[0]: text.partition("=")[2] for text in licences}
    found = submit(runs, out, replace=replace, licences=named, progress=make_progress(quiet))
    if as_json:
        echo_json([{**asdict(one), "run": str(one.run)} for one in found])
    else:
        for one in found:
            if one.outcome == "refused":
                for reason in one.reasons:
                    echo(f"{one.run}: {reason}", err=True)
                continue
            echo(f"{one.run}: {one.place}: {_WORDS[one.outcome]}")
            for line in one.left_out if one.outcome != "unchanged" else ():
                echo(f"  left out of the record: {line}")
    if refused := sum(one.outcome == "refused" for one in found):
        raise ConfigError(f"{refused} of {len(found)} runs refused; nothing of them was written to {out}")
