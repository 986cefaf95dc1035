"""`dfad build-manifest`: the faces of a dataset, cropped into a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from dfad_bench.cli import options
from dfad_bench.core.cores import usable_cores

if TYPE_CHECKING:
    from dfad_bench.ingest.build import BuildReport
    from dfad_bench.report.table import Table

_MOST_WORKERS = 8


@click.command(
    "build-manifest",
    epilog="Example: dfad build-manifest --dataset synthetic --root faces --out manifests/synthetic",
)
@click.option(
    "--dataset",
    type=options.DATASET,
    default=None,
    help="Dataset name, or your own YAML file (default with --from-deepfakebench: deepfakebench).",
)
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder with the dataset as released.",
)
@options.out("Manifest folder; an interrupted run continues here.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=None,
    help="Worker processes (default: one per core, at most 8; with Ray one per CPU); 0: no worker process.",
)
@click.option(
    "--engine",
    type=click.Choice(["serial", "processes", "ray"]),
    default="processes",
    show_default=True,
    help="Where parts are made. ray: on the cluster RAY_ADDRESS names, else on a local one; needs the extra `ray`.",
)
@click.option(
    "--shard",
    default=None,
    metavar="I/N",
    help="Make only every N-th part from the I-th on (I from 0): one of N jobs, on hosts that share --out.",
)
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    help="Device of the face detector: cpu, cuda or cuda:N. Results differ in the last digits: use one only.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=None, help="Most images or videos of each generator and split."
)
@click.option("--crop", default=None, help="Crop profile by name or YAML path (default: the dataset's).")
@click.option("--generator", default=None, help="Generator of all files, for --dataset images and videos.")
@click.option(
    "--frames",
    type=click.IntRange(min=1),
    default=None,
    help="Frames of each video, evenly spaced (default: 32).",
)
@click.option("--stride", type=click.IntRange(min=1), default=None, help="Instead of --frames: take every N-th frame.")
@options.only
@options.from_deepfakebench
@click.option("--shard-size", type=click.IntRange(min=1), default=256, show_default=True, help="Images per part.")
@click.option(
    "--max-refused",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="Exit with code 3 if a larger share of the images was refused.",
)
@options.as_json
@options.quiet
def command(
    dataset: str | None,
    root: Path,
    out: Path,
    workers: int | None,
    engine: Literal["serial", "processes", "ray"],
    shard: str | None,
    device: str,
    limit: int | None,
    crop: str | None,
    generator: str | None,
    frames: int | None,
    stride: int | None,
    only: dict[str, str],
    from_deepfakebench: Path | None,
    shard_size: int,
    max_refused: float,
    as_json: bool,
    quiet: bool,
) -> None:
    """Crop the faces of a dataset into a manifest.

    Finds the biggest face of every image, crops it to a square of 256 pixels and keeps box, landmarks and labels.
    An image that cannot be used becomes a row with a reason. After an interruption, run the same command again.
    """
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.ingest.build import build_manifest
    from dfad_bench.ingest.media.base import Sampling
    from dfad_bench.ingest.plan import parse_shard
    from dfad_bench.report.table import render

    if frames is not None and stride is not None:
        raise click.UsageError("Give --frames or --stride, not both.")
    if dataset is None and from_deepfakebench is None:
        raise click.UsageError("Missing option '--dataset'.")
    report = build_manifest(
        dataset or "deepfakebench",
        root,
        out,
        crop=crop,
        engine=engine,
        workers=workers if workers is not None else 0 if engine == "ray" else min(usable_cores(), _MOST_WORKERS),
        shard=parse_shard(shard) if shard else None,
        device=device,
        limit=limit,
        generator=generator,
        only=only,
        sampling=Sampling(frames=None if stride else frames or 32, stride=stride),
        from_deepfakebench=from_deepfakebench,
        shard_size=shard_size,
        progress=make_progress(quiet),
    )
    click.echo(_json(report) if as_json else render(_table(report), "rich"), nl=False)
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


def _json(report: BuildReport) -> str:
    import json
    from dataclasses import asdict

    return json.dumps({**asdict(report), "out": str(report.out)}, indent=2, ensure_ascii=False) + "\n"
