"""`dfad share-manifest`: which faces a manifest holds, without pictures."""

from __future__ import annotations

from pathlib import Path

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_json


@click.command(
    "share-manifest",
    epilog="Example: dfad share-manifest --manifest quickstart/manifests/synthetic --out shared/synthetic",
)
@click.option(
    "--manifest", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the manifest."
)
@options.out("Folder to write: new, empty, or such a list that is replaced.")
@options.as_json
def command(manifest: Path, out: Path, as_json: bool) -> None:
    """Write a list of a manifest's faces to share where the pictures may not be.

    It holds names, places in the release, labels, and hashes of files and crops; no pixels. Whoever has the release
    builds the same manifest by `dfad rebuild-manifest`, and is told face by face what differs.
    """
    from dfad_bench.api.hash_manifests import share_manifest

    made = share_manifest(manifest, out)
    if as_json:
        echo_json({"out": str(out), **vars(made)})
        return
    echo(
        f"{out}: {made.rows:,} rows of {made.dataset['name']}, no pictures; manifest sha256 {made.content_sha256[:16]}…"
    )
