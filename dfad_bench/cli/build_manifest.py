"""`dfad build-manifest`: the faces of a dataset, cropped into a manifest."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfad_bench.cli import options
from dfad_bench.cli.output import echo_json, echo_table
from dfad_bench.ingest.settings import BuildSettings

if TYPE_CHECKING:
    from dfad_bench.ingest.build import BuildReport
    from dfad_bench.report.table import Table

_setting = partial(options.setting, BuildSettings)
MOST_REFUSED = 0.05


def _parse_shard(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, int] | None:
    from dfad_bench.ingest.plan import parse_shard

    return parse_shard(text) if text else None


@click.command(
    "build-manifest",
    epilog="Example: dfad build-manifest --dataset synthetic --root faces --out manifests/synthetic",
)
@options.dataset
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder with the dataset as released.",
)
@options.out("Manifest folder; an interrupted run continues here.")
@_setting("workers")
@_setting("engine")
@_setting("shard", type=str, callback=_parse_shard)
@_setting("device")
@_setting("limit")
@_setting("crop")
@_setting("generator")
@_setting("frames")
@_setting("stride")
@options.only
@options.from_deepfakebench
@options.map_prefix
@options.labels
@options.follow_links
@_setting("shard_size")
@click.option(
    "--max-refused",
    type=options.Real(0, 1),
    default=MOST_REFUSED,
    show_default=True,
    help="Exit with code 3 if a larger share of the images was refused, or of the files left out.",
)
@options.as_json
@options.quiet
def command(
    dataset: str | None, root: Path, out: Path, max_refused: float, as_json: bool, quiet: bool, **asked: Any
) -> None:
    """Crop the faces of a dataset into a manifest.

    Finds the biggest face of every image, crops it to a square of 256 pixels and keeps box, landmarks and labels.
    An image that cannot be used becomes a row with a reason. After an interruption, run the same command again.
    """
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.ingest.build import build_manifest

    if asked["frames"] is not None and asked["stride"] is not None:
        raise click.UsageError("Give --frames or --stride, not both.")
    if dataset is None and asked["from_deepfakebench"] is None:
        raise click.UsageError("Missing option '--dataset'.")
    settings = BuildSettings(**asked)
    report = build_manifest(dataset or "deepfakebench", root, out, settings, progress=make_progress(quiet))
    show(report, as_json=as_json, max_refused=max_refused)


def show(report: BuildReport, *, as_json: bool = False, max_refused: float = MOST_REFUSED) -> None:
    """Print a report, and refuse one with too many refused faces."""
    if as_json:
        echo_json({**asdict(report), "out": str(report.out)})
    else:
        echo_table(_table(report))
    report.check_refused(max_refused)


def _table(report: BuildReport) -> Table:
    from dfad_bench.cli.check_manifest import counts_table, refusal_notes, shorten

    notes = refusal_notes(report.reasons, report.refused)
    notes += [
        f"{count:,} files left out: {why} ({shorten(report.ignored_examples.get(why, []))})"
        for why, count in report.ignored.items()
    ]
    notes += [*report.notes, f"{report.out}: {report.parts_built} parts made, {report.parts_kept} kept"]
    return counts_table(f"{report.dataset}: {report.rows:,} images", report.counts, tuple(notes))
