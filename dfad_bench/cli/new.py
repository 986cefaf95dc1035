"""`dfad new`: skeletons of a model, a dataset or a protocol of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo

_NEXT = {
    "model": "Next: pip install -e {out} && dfad check-model {name}",
    "dataset": "Next: dfad --include {out} doctor --dataset {name} --root ROOT",
    "protocol": "Next: dfad --include {out} list protocols --long",
}


@click.command("new", epilog="Example: dfad new dataset my_faces")
@click.argument("kind", type=click.Choice(list(_NEXT)))
@click.argument("name")
@options.out("Folder to write into (default: NAME here).", required=False)
def command(kind: str, name: str, out: Path | None) -> None:
    """Write the skeleton of a model, dataset or protocol: commented files that work before you change them.

    A model is a distribution to install, found by its entry point; a dataset (with a generator) and a protocol are
    files of a folder for --include. Nothing is overwritten. CONTRIBUTING.md says how to go on.
    """
    from dfad_bench.core.skeleton import new_skeleton

    for path in new_skeleton(kind, name, out):
        echo(path)
    echo(_NEXT[kind].format(out=out or name, name=name), err=True)
