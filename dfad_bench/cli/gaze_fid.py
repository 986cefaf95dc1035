"""`dfad gaze-fid`: gaze of real against forged faces, generator by generator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfad_bench.cli import options

if TYPE_CHECKING:
    import pandas as pd

    from dfad_bench.core.progress import Progress


@click.command(
    "gaze-fid", epilog="Example: dfad gaze-fid --manifest quickstart/manifests/synthetic --estimator geometric"
)
@options.manifest()
@options.estimator
@options.gaze_weights
@click.option(
    "--samples",
    type=click.IntRange(min=2),
    default=10_000,
    show_default=True,
    help="At most so many real and so many forged faces a generator; all get the same number.",
)
@options.device
@options.seed
@options.as_json
@options.out("Folder for gaze.json, gaze.csv, gaze.md and the figure.", required=False)
@options.quiet
def command(
    manifests: tuple[Path, ...],
    estimator: str,
    weights: str | None,
    samples: int,
    device: str,
    seed: int,
    as_json: bool,
    out: Path | None,
    quiet: bool,
) -> None:
    """Compare the gaze of real and forged faces: FID and paired cosine a generator.

    Distances come with a 95 % interval and with the floor that real faces reach against real faces. Gaze is
    estimated first where it is not there yet.
    """
    from dfad_bench.cli.progress import make_progress
    from dfad_bench.core.files import write_json, write_text
    from dfad_bench.gaze.analysis import analyse
    from dfad_bench.gaze.estimators.base import build_estimator
    from dfad_bench.report.figures.gaze import save_gaze_figure
    from dfad_bench.report.gaze import fid_table, flat_table, pair_table
    from dfad_bench.report.table import render

    built = build_estimator(estimator, weights)
    frame, hashes = _gaze(manifests, estimator, weights, device, make_progress(quiet))
    report = analyse(frame, samples=samples, seed=seed)
    rows = report.flat()
    tables = [fid_table(rows, estimator, report.notes), pair_table(rows, estimator)]
    facts: dict[str, Any] = {
        "estimator": {"name": estimator, "fingerprint": built.fingerprint, "limits": built.card.limits},
        "manifests": hashes,
        "samples": samples,
        "seed": seed,
        "rows": rows,
        "notes": list(report.notes),
    }
    if out is not None:
        write_json(out / "gaze.json", facts)
        write_text(out / "gaze.csv", render(flat_table(rows, estimator), "csv"))
        write_text(out / "gaze.md", "\n".join(render(table, "markdown") for table in tables))
        save_gaze_figure(rows, report.points, estimator, out)
    if as_json:
        import json

        click.echo(json.dumps(facts, indent=2, allow_nan=False, ensure_ascii=False))
        return
    click.echo("\n".join(render(table, "rich") for table in tables), nl=False)
    if out is not None and not quiet:
        click.echo(f"Written to {out}: gaze.json, gaze.csv, gaze.md, gaze.png, gaze.svg", err=True)


def _gaze(
    folders: tuple[Path, ...], estimator: str, weights: str | None, device: str, progress: Progress
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Rows of all manifests with their gaze, and each manifest's hash by name."""
    import pandas as pd

    from dfad_bench.data.manifest import Manifest
    from dfad_bench.data.pairs import with_pairs
    from dfad_bench.gaze.table import extract

    columns = ["sample_id", "dataset", "generator", "forgery", "family", "detection_label", "target_id"]
    frames, hashes = [], {}
    for folder in folders:
        manifest = Manifest.open(folder)
        gaze = extract(manifest, estimator, weights=weights, device=device, progress=progress)
        rows = with_pairs(manifest, manifest.frame(columns))
        frames.append(rows.merge(gaze, on="sample_id", how="left", validate="one_to_one"))
        hashes[manifest.name] = manifest.sha256
    return pd.concat(frames, ignore_index=True), hashes
