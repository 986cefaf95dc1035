"""`dfad merge-manifests`: finish a manifest built in shards, or join finished manifests."""

from __future__ import annotations

from pathlib import Path

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo_json, echo_table


@click.command(
    "merge-manifests",
    epilog="Example: dfad merge-manifests --manifest manifests/a --manifest manifests/b --out manifests/joined",
)
@options.manifest(required=False)
@options.out("Without --manifest: the folder of the shards; else the folder of the joined manifest.")
@options.as_json
@options.quiet
def command(manifests: tuple[Path, ...], out: Path, as_json: bool, quiet: bool) -> None:
    """Finish a manifest built in shards, or join finished manifests.

    Without --manifest, finishes the folder that `dfad build-manifest --shard I/N` runs wrote to; the last of them
    does this itself unless it was interrupted. With --manifest, joins manifests of the same dataset and settings
    that were built from different source folders: parts are verified, then linked or copied.
    """
    from dataclasses import asdict

    from dfad_bench.cli.check_manifest import counts_table
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.ingest.merge import merge_manifests

    report = merge_manifests(manifests, out, progress=make_progress(quiet))
    if as_json:
        echo_json({**asdict(report), "out": str(out)})
        return
    note = f"{out}: {report.parts:,} parts; content sha256 {report.manifest_sha256[:16]}…"
    rows = sum(sum(row.values()) for row in report.counts.values())
    echo_table(counts_table(f"{report.dataset}: {rows:,} images", report.counts, (note,)))
