"""`dfad gaze-extract`: gaze vectors of a manifest, once, in a side table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from dfad_bench.cli import options


@click.command(
    "gaze-extract", epilog="Example: dfad gaze-extract --manifest quickstart/manifests/synthetic --estimator geometric"
)
@options.manifest()
@options.estimators
@options.each_weights
@options.device
@options.as_json
@options.quiet
def command(
    manifests: tuple[Path, ...],
    estimators: tuple[str, ...],
    weights: tuple[str, ...],
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Estimate the gaze of every face of a manifest, once.

    Vectors are stored beside the manifest and found again by every command that needs them. A run that was
    stopped goes on where it stopped.
    """
    import numpy as np

    from dfad_bench.cli.progress import make_progress
    from dfad_bench.data.manifest import Manifest
    from dfad_bench.gaze.estimators.base import GazeFlag, build_estimator
    from dfad_bench.gaze.table import extract, stored_remarks, table_path
    from dfad_bench.report.table import Column, Table, render

    progress = make_progress(quiet)
    flags = [flag for flag in GazeFlag if flag]
    rows: list[Mapping[str, Any]] = []
    opened = [Manifest.open(folder) for folder in manifests]
    for estimator, file in options.weights_of_each(weights, estimators).items():
        for manifest in opened:
            table = extract(manifest, estimator, weights=file, device=device, progress=progress)
            counts = {str(flag.name).lower(): int((table["flags"] & flag.value != 0).sum()) for flag in flags}
            known = int(np.isfinite(table["yaw_rad"]).sum())
            built = build_estimator(estimator, file)
            facts = {"estimator": built.name, "dataset": manifest.name, "faces": len(table), "known": known}
            rows.append({**facts, **counts, "file": str(table_path(manifest, built))})
            for remark in stored_remarks(manifest, built):
                click.echo(f"{built.name}, {manifest.name}: {remark}", err=True)
    columns = (
        Column("estimator", "Estimator", "text"),
        Column("dataset", "Dataset", "text"),
        Column("faces", "Faces", "count"),
        Column("known", "With a gaze", "count"),
        *(Column(str(flag.name).lower(), str(flag.name).replace("_", " ").lower(), "count") for flag in flags),
        Column("file", "Table", "text"),
    )
    click.echo(render(Table("Gaze vectors", columns, rows, names=2), "json" if as_json else "rich"), nl=False)
