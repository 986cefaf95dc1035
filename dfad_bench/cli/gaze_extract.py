"""`dfad gaze-extract`: estimate the gaze of every face of a manifest, and store it in a side table."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo, echo_table


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
    stopped. Of several estimators, those that cannot be used are skipped and named. Ends
    with exit code 3 where no face of a manifest has a gaze.
    """
    from dfad_bench.api.gaze_tables import extract_gaze_tables
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.core.errors import DFADError, RefusedInputsError

    named, progress = options.weights_of_each(weights, estimators), make_progress(quiet)
    found = extract_gaze_tables(manifests, named, device=device, progress=progress, report=partial(echo, err=True))
    if found.table.rows or not found.failed:
        echo_table(found.table, "json" if as_json else "rich")
    if found.failed:
        raise DFADError("; ".join(f"estimator {name} left out: {why}" for name, why in found.failed.items()))
    if found.without:
        raise RefusedInputsError("; ".join(found.without))
