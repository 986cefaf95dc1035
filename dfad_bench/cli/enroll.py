"""`dfad enroll`: new generators from a few faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_table
from dfad_bench.engine.settings import EvaluateSettings

_SHOWN = 5  # refused files named one by one


@click.command("enroll", epilog="Example: dfad enroll --run runs/gazeclip --faces new-faces --name flux")
@options.run_and_faces
@click.option("--name", required=True, help="What the generator is called.")
@options.classifier
@options.setting(EvaluateSettings, "device")
@options.setting(EvaluateSettings, "views", multiple=True)
@options.quiet
@options.as_json
def command(
    run: Path, faces: Path, name: str, classifier: Any, device: str, views: tuple[str, ...], quiet: bool, as_json: bool
) -> None:
    """Learn a generator from a few of its faces, without training: `dfad identify` knows it then.

    The run's weights embed the faces; they are kept in the run under that name. A manifest gives crops and views as
    in training; pictures of a folder are taken for face crops as they are. Five faces of different people are
    a start: `dfad scores --enrol 1,2,5,10` shows what that is worth for generators the run has not seen.
    """
    from dfad_bench.api.galleries import enroll
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.views.options import view_settings

    found = enroll(
        run,
        faces,
        name,
        classifier=classifier,
        device=device,
        views=view_settings(views),
        progress=make_progress(quiet),
    )
    echo_table(found.table, "json" if as_json else "rich")
    for file, why in list(found.refused.items())[:_SHOWN]:
        echo(f"Left out: {file} ({why})", err=True)
    if len(found.refused) > _SHOWN:
        echo(f"Left out: {len(found.refused) - _SHOWN} more", err=True)
    for line in found.warnings:
        echo(f"Warning: {line}", err=True)
    if found.path is not None:
        echo(f"Gallery: {found.path}", err=True)
