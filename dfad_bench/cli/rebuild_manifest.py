"""`dfad rebuild-manifest`: a manifest built again from a list of hashes, and compared face by face."""

from __future__ import annotations

from pathlib import Path

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo_json, echo_table
from dfad_bench.ingest.settings import BuildSettings

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(
    "rebuild-manifest",
    epilog="Example: dfad rebuild-manifest --hashes shared/synthetic --root quickstart/faces --out manifests/again",
)
@click.option("--hashes", type=_FOLDER, required=True, help="Folder that `dfad share-manifest` wrote.")
@click.option("--root", type=_FOLDER, help="The release; without it, the manifest of --out is compared only.")
@options.out("Folder of the manifest.")
@options.setting(BuildSettings, "workers")
@options.setting(BuildSettings, "device")
@options.quiet
@options.as_json
def command(
    hashes: Path, root: Path | None, out: Path, workers: int | None, device: str, quiet: bool, as_json: bool
) -> None:
    """Build a manifest of a list without pictures from the release, and compare it face by face.

    Ends with exit code 4 where a face is missing, further, of another file, or has other labels or another crop.
    """
    from dfad_bench.api.hash_manifests import rebuild_manifest
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.core.errors import IntegrityError

    found = rebuild_manifest(hashes, out, root, workers=workers, device=device, progress=make_progress(quiet))
    comparison = found.comparison
    if as_json:
        rows = [vars(finding) for finding in comparison.findings if finding.verdict != "same"]
        echo_json({"out": str(out), "counts": comparison.counts, "differing": rows, "notes": list(comparison.notes)})
    else:
        echo_table(found.table)
    if comparison.differs:
        counts = ", ".join(f"{number:,} {verdict}" for verdict, number in comparison.counts.items())
        raise IntegrityError(f"{out}: not the manifest of the list ({counts})")
