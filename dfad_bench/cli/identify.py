"""`dfad identify`: faces named by what a run knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_table
from dfad_bench.engine.settings import EvaluateSettings

_SHOWN = 5  # refused files named one by one


@click.command("identify", epilog="Example: dfad identify --run runs/gazeclip --faces strange-faces")
@options.run_and_faces
@options.classifier
@options.setting(EvaluateSettings, "device")
@options.setting(EvaluateSettings, "views", multiple=True)
@options.quiet
@options.as_json
def command(
    run: Path, faces: Path, classifier: Any, device: str, views: tuple[str, ...], quiet: bool, as_json: bool
) -> None:
    """Name faces by what a run knows: a seen class, an enrolled generator, or unseen.

    Prototypes are mean embeddings of training faces and of enrolled ones (`dfad enroll`); `--classifier knn` asks the
    nearest of these faces instead. A face is called unseen where
    it is as strange to the training faces as one in ten validation sources, or stranger, and no enrolled generator is
    nearest.
    """
    from dfad_bench.api.galleries import identify
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.views.options import view_settings

    found = identify(
        run, faces, classifier=classifier, device=device, views=view_settings(views), progress=make_progress(quiet)
    )
    echo_table(found.table, "json" if as_json else "rich")
    for file, why in list(found.refused.items())[:_SHOWN]:
        echo(f"Left out: {file} ({why})", err=True)
    if len(found.refused) > _SHOWN:
        echo(f"Left out: {len(found.refused) - _SHOWN} more", err=True)
    for line in found.warnings:
        echo(f"Warning: {line}", err=True)
