"""`dfad push`: a run as a folder for a repository, with a card, and its upload."""

from __future__ import annotations

from pathlib import Path

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_json


@click.command("push", epilog="Example: dfad push quickstart/runs/xception --out shared/xception")
@click.argument("run", type=options.RUN)
@options.out("Folder to write: new, empty, or a shared run that is replaced.")
@click.option("--to", metavar="OWNER/NAME", help="Upload the folder to this repository of the Hugging Face hub.")
@click.option("--public", is_flag=True, help="With --to: a repository that is made is public; private otherwise.")
@click.option("--onnx", is_flag=True, help="Add the network as ONNX (`dfad export`), checked against torch.")
@click.option(
    "--allow-restricted",
    is_flag=True,
    help="State that the terms of data and weights allow it, where these forbid passing on or are not known.",
)
@options.quiet
@options.as_json
def command(
    run: Path, out: Path, to: str | None, public: bool, onnx: bool, allow_restricted: bool, quiet: bool, as_json: bool
) -> None:
    """Write a run as the folder of a repository, with a model card; name the command that uploads it, or run it.

    The folder opens as a run (--run FOLDER), from a repository as --run hf://OWNER/NAME. It holds weights as
    safetensors, settings, record, predictions and operating points; no pictures, and no paths of this machine.
    """
    from dfad_bench.api.shared_runs import push_run
    from dfad_bench.cli.progress import make_progress

    made = push_run(
        run, out, to=to, public=public, onnx=onnx, allow_restricted=allow_restricted, progress=make_progress(quiet)
    )
    for warning in made.warnings:
        echo(f"Warning: {warning}", err=True)
    if as_json:
        echo_json({**vars(made), "folder": str(made.folder), "licences": [vars(line) for line in made.licences]})
        return
    echo(made.folder)
    for name, size in made.files.items():
        echo(f"  {name}  {size:,} bytes")
    for place in made.changed:
        echo(f"A path of this machine was cut: {place}", err=True)
    echo(f"Uploaded: {made.uploaded}" if made.uploaded else f"Upload it: {made.command}", err=True)
