"""`dfad gaze-extract`: estimate the gaze of every face of a manifest, and store it in a side table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfad_bench.cli import options

if TYPE_CHECKING:
    import pandas as pd

    from dfad_bench.report.table import Column


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
    """Estimate the gaze of every face of a manifest, and store it.

    The table beside the manifest is used by every command that needs gaze. An interrupted run continues where it
    stopped. Of several estimators, those that cannot be used are skipped and named.
    """
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.core.errors import DFADError, UnknownNameError
    from dfad_bench.data.manifest import Manifest
    from dfad_bench.gaze.estimators.build import build_estimator
    from dfad_bench.gaze.table import extract, stored_remarks, table_path
    from dfad_bench.report.table import Table, render

    progress = make_progress(quiet)
    rows: list[Mapping[str, Any]] = []
    failed: dict[str, DFADError] = {}
    opened = [Manifest.open(folder) for folder in manifests]
    named = options.weights_of_each(weights, estimators)
    for estimator, file in named.items():
        try:
            built = build_estimator(estimator, file)
            for manifest in opened:
                table = extract(manifest, estimator, weights=file, device=device, progress=progress)
                rows.append(_row(built.name, manifest.name, table, str(table_path(manifest, built))))
                for remark in stored_remarks(manifest, built):
                    click.echo(f"{built.name}, {manifest.name}: {remark}", err=True)
        except UnknownNameError:
            raise
        except DFADError as error:
            failed[estimator] = error
    if rows or not failed:
        shown = Table("Gaze vectors", _columns(), rows, names=2)
        click.echo(render(shown, "json" if as_json else "rich"), nl=False)
    if len(failed) == len(named) == 1:
        raise next(iter(failed.values()))
    if failed:
        raise DFADError("; ".join(f"estimator {name} left out: {why}" for name, why in failed.items()))


def _row(estimator: str, dataset: str, table: pd.DataFrame, file: str) -> dict[str, Any]:
    import numpy as np

    from dfad_bench.gaze.estimators.base import GazeFlag

    counts = {str(flag.name).lower(): int((table["flags"] & flag.value != 0).sum()) for flag in GazeFlag if flag}
    known = int(np.isfinite(table["yaw_rad"]).sum())
    return {"estimator": estimator, "dataset": dataset, "faces": len(table), "known": known, **counts, "file": file}


def _columns() -> tuple[Column, ...]:
    from dfad_bench.gaze.estimators.base import GazeFlag
    from dfad_bench.report.table import Column

    return (
        Column("estimator", "Estimator", "text"),
        Column("dataset", "Dataset", "text"),
        Column("faces", "Faces", "count"),
        Column("known", "With a gaze", "count"),
        *(
            Column(str(flag.name).lower(), str(flag.name).replace("_", " ").lower(), "count")
            for flag in GazeFlag
            if flag
        ),
        Column("file", "Table", "text"),
    )
